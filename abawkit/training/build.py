"""Builds everything that a training run needs before its first step: rows, network, learner and loop."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from abawkit.curation.curated_set import CuratedSet
from abawkit.errors import ConfigError, DataError, DataWarning, OpWarning, format_count
from abawkit.features.store import FeatureStore
from abawkit.frames.paths import make_frame_folders
from abawkit.models.attention import (
    describe_operators,
    list_convolution_calls,
    list_evaluation_calls,
    make_attention_call,
)
from abawkit.models.config import NETWORKS, NetworkConfig
from abawkit.models.devices import choose_training_precision, explain_slow_bfloat16
from abawkit.models.inference import pick_device, place_network
from abawkit.models.network import DDAMFN
from abawkit.models.sequence import AnyNetwork, SequenceNetwork, build_network
from abawkit.models.sequence_config import SEQUENCE, AnyConfig
from abawkit.models.starting_weights import start_from, start_sequence_from
from abawkit.models.weight_files import find_weights
from abawkit.ops.registry import find_request
from abawkit.system.files import sha256, sha256_of
from abawkit.training.callbacks import Callbacks
from abawkit.training.data import FramedRows, TrainingRows, read_evaluation_rows, read_training_rows
from abawkit.training.distributed import Distributed
from abawkit.training.embeddings import (
    EmbeddedRows,
    check_embeddings,
    read_evaluation_embeddings,
    read_training_embeddings,
)
from abawkit.training.folds import ALL_ROWS
from abawkit.training.learner import BaseLearner, Learner, explain_out_of_memory
from abawkit.training.loop import Loop
from abawkit.training.recipe import Recipe
from abawkit.training.run_folder import describe_environment
from abawkit.training.sequence_data import (
    SequenceRows,
    describe_input,
    open_stores,
    read_evaluation_sequences,
    read_training_sequences,
)
from abawkit.training.sequence_learner import SequenceLearner
from abawkit.training.start import Inputs
from abawkit.training.supervision import find_weighted_tasks, select_scored_tasks, select_trainable_tasks
from abawkit.training.validation import check_protocol


def find_operators(recipe: Recipe, processes: Distributed) -> dict[str, str]:
    """The implementations that a run will use, by operator; quick, so that a run checks them first.

    Raises:
        ConfigError: If the network or the device is not available.
        OpUnavailableError: If an implementation was requested by name and can't run here.
    """
    device = pick_device(recipe.device)
    if recipe.is_sequence:
        return {}
    config = _find_config(recipe)
    precision = choose_training_precision(recipe.precision, device)
    calls = list_evaluation_calls(config, device, "float64" if precision == "float64" else "float32")  # validation
    if recipe.heads.epochs:
        calls.append(make_attention_call(config, device, precision, training=False))  # its backbone is frozen
    if recipe.all.epochs:
        trained = [make_attention_call(config, device, precision, training=True)]
        if device.type == "cpu":
            trained += list_convolution_calls(config, device, precision, training=True)
        synchronised = recipe.sync_batchnorm and processes.world_size > 1
        calls += [call._replace(synchronised=synchronised) for call in trained]
    return describe_operators(calls)


def build_loop(
    recipe: Recipe,
    inputs: Inputs,
    curated: CuratedSet,
    out: Path,
    *,
    processes: Distributed,
    callbacks: Callbacks,
) -> Loop:
    """Builds everything that a run needs before its first step; nothing is written."""
    request, used = find_request(), find_operators(recipe, processes)
    if recipe.sync_batchnorm:  # implementations add up other sums, and would wait for each other
        processes.refuse_differences(used, "implementations of operators (`abawkit ops`)")
    rows, validation, content = _read_rows(recipe, inputs, curated)
    seen = sha256(rows.rows.tobytes() + validation.rows.tobytes() + content.encode())
    mine = [int(seen[:15], 16)]
    if processes.any_rank(processes.broadcast_numbers(mine) != mine):  # all raise, before anything is replaced
        raise DataError("the processes find different frames; give all of them the same --frames")
    check_protocol(validation, recipe.select)
    if recipe.batch_size > len(rows) and processes.is_main:
        text = f"batch_size is {recipe.batch_size:,}, and there are {len(rows):,} training rows: an epoch is one step"
        warnings.warn(f"{text}; set a smaller batch_size", DataWarning, stacklevel=3)
    with warnings.catch_warnings():
        if not processes.is_main:
            warnings.simplefilter("ignore", DataWarning)
        recipe = select_trainable_tasks(recipe, rows.annotations)
        scored = select_scored_tasks(recipe.tasks, validation.annotations, recipe.select)
    _refuse_small_batches(recipe, rows, processes)
    device = pick_device(recipe.device)
    precision = choose_training_precision(recipe.precision, device)
    if precision == "bfloat16" and (reason := _explain_precision(recipe, device)):
        warnings.warn(f'precision = "bfloat16": {reason}', OpWarning, stacklevel=2)
    weights = find_weights(inputs.weights) if inputs.weights else None
    network = _make_network(recipe, rows, weights, device)
    start = {"path": str(weights), "sha256": sha256_of(weights)} if weights else None
    frames = make_frame_folders(inputs.frames).resolve() if inputs.frames else None
    data: dict[str, Any] = {"folder": str(inputs.data.resolve()), "table_digest": curated.digest, "rows": seen}
    if inputs.features:
        data["features"] = [str(folder.resolve()) for folder in inputs.features]
    if inputs.fold:
        data["fold"] = inputs.fold.as_dict()
    notes = {
        "recipe": recipe.to_toml(),
        "data": {**data, "frames": frames and frames.as_json(), "follow_links": bool(frames and frames.follow_links)},
        "weights": start,
        "asked_ops": request.name if request else None,
        "launcher": processes.launcher,
        "environment": {**describe_environment(device, used, precision), "processes": processes.world_size},
    }
    learner = _make_learner(recipe, network, rows, device, bfloat16=precision == "bfloat16", processes=processes)
    if isinstance(learner, Learner) and inputs.features:
        store = FeatureStore.open(inputs.features[0])
        if weights:
            check_embeddings(store, weights)
        learner.read_embeddings(store)
    keep_last = inputs.fold is not None and inputs.fold.number == ALL_ROWS
    return Loop(learner, validation, out, notes=notes, callbacks=callbacks, scored=scored, keep_last=keep_last)


def _refuse_small_batches(recipe: Recipe, rows: TrainingRows, processes: Distributed) -> None:
    """Refuses batches of which a process would have less than two frames, or no window.

    Raises:
        ConfigError: If there are such.
    """
    count = processes.world_size
    if isinstance(rows, SequenceRows):
        window = recipe.sequence.training_window
        plan = rows.plan_epoch(window, recipe.batch_size, seed=recipe.seed, epoch=0)
        if (fewest := min(map(len, plan))) < count:
            raise ConfigError(
                f"{count} processes and batches of {recipe.batch_size} rows in windows of {window} frames: a batch has "
                f"{format_count(fewest, 'window')}, expected one for each process; set a larger batch_size, which "
                "counts the rows of all processes, or a smaller sequence.window"
            )
        return
    smallest = len(rows) // -(-len(rows) // recipe.batch_size) // count
    if smallest < 2:
        raise ConfigError(
            f"{count} processes and batches of {recipe.batch_size} rows: one would have {smallest} "
            "rows, expected at least 2; set a larger batch_size, which counts the rows of all processes"
        )


def _explain_precision(recipe: Recipe, device: torch.device) -> str:
    """Why bfloat16 gains nothing in this run; empty where it does."""
    if device.type == "cpu" and recipe.is_sequence:
        return "has no effect on a CPU, where sequence networks compute in float32"
    return explain_slow_bfloat16(device)


def _read_rows(recipe: Recipe, inputs: Inputs, curated: CuratedSet) -> tuple[TrainingRows, TrainingRows, str]:
    """The rows of training and of validation, and a digest of what is read for them beside the table."""
    tasks = find_weighted_tasks(recipe)
    stores = open_stores(inputs.features)
    validation = read_validation_rows(recipe, inputs, curated, stores)
    digests = [store.digest for store in stores]
    if recipe.is_sequence:
        flip = recipe.augmentation.flip > 0
        return read_training_sequences(curated, tasks, stores, flip=flip), validation, "".join(digests)
    if isinstance(validation, EmbeddedRows):
        return read_training_embeddings(curated, tasks, stores[0]), validation, "".join(digests)
    rows = read_training_rows(curated, tasks, inputs.frames)
    framed = [split for split in (rows, validation) if isinstance(split, FramedRows)]
    digests += [split.counts.digest for split in framed if split.counts]  # packed: the table's digest
    return rows, validation, "".join(digests)


def read_validation_rows(
    recipe: Recipe, inputs: Inputs, curated: CuratedSet, stores: Sequence[FeatureStore]
) -> TrainingRows:
    """The validation rows of a curated set as the network of a recipe reads them.

    Args:
        recipe: The recipe.
        inputs: For the frames.
        curated: The curated set.
        stores: The opened features of `inputs`.

    Raises:
        DataError: If there are no rows, or frames or features of them are absent.
    """
    if recipe.is_sequence:
        return read_evaluation_sequences(curated, "validation", stores)
    if stores and not recipe.all.epochs:
        return read_evaluation_embeddings(curated, "validation", stores[0])
    return read_evaluation_rows(curated, "validation", inputs.frames)


def _make_learner(
    recipe: Recipe,
    network: AnyNetwork,
    rows: TrainingRows,
    device: torch.device,
    *,
    bfloat16: bool,
    processes: Distributed,
) -> BaseLearner[Any]:
    kind: type[BaseLearner[Any]] = SequenceLearner if recipe.is_sequence else Learner
    return kind(recipe, network, rows, device, bfloat16=bfloat16, processes=processes)


def _find_config(recipe: Recipe) -> NetworkConfig:
    if recipe.network not in NETWORKS:
        names = ", ".join([*NETWORKS, SEQUENCE])
        raise ConfigError(f"network: got '{recipe.network}', expected one of {names}")
    config = NETWORKS[recipe.network]
    if config.attention_heads < 2 and recipe.all.epochs and recipe.losses.attention:
        raise ConfigError(
            f"losses.attention: got {recipe.losses.attention:g}, expected 0, as {recipe.network} has one attention "
            "head and the attention loss compares several; --set losses.attention=0"
        )
    return config


def _make_network(recipe: Recipe, rows: TrainingRows, weights: Path | None, device: torch.device) -> AnyNetwork:
    config: AnyConfig
    if isinstance(rows, SequenceRows):
        config = recipe.sequence.make_config([describe_input(store.manifest) for store in rows.features.stores])
    else:
        config = _find_config(recipe)
    # Weights are initialised on the CPU; torch warns where it would have to restore the generators of several GPUs.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        network = build_network(config)
    if isinstance(network, SequenceNetwork) and isinstance(rows, SequenceRows):
        _fit_normalisation(network, rows)
    if weights and isinstance(network, SequenceNetwork):
        start_sequence_from(network, weights)
    elif weights and isinstance(network, DDAMFN):
        start_from(network, weights, frozen_epochs=recipe.heads.epochs)
    if recipe.precision == "float64":
        network.double()
    with explain_out_of_memory("the network"):
        place_network(network, device)
    return network


def _fit_normalisation(network: SequenceNetwork, rows: SequenceRows) -> None:
    mean, deviation = rows.compute_statistics()
    network.normalise.mean.copy_(torch.from_numpy(mean))
    network.normalise.deviation.copy_(torch.from_numpy(deviation))
