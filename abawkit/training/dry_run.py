"""A dry run: builds a training run and takes one batch, to estimate time and memory."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abawkit.models.devices import use_deterministic_algorithms, use_exact_float32
from abawkit.models.inference import BATCH, infer
from abawkit.models.network import DDAMFN
from abawkit.run_names import NETWORK
from abawkit.training.build import build_loop
from abawkit.training.callbacks import Callbacks
from abawkit.training.data import FramedRows
from abawkit.training.distributed import ALONE
from abawkit.training.embeddings import describe_first_stage, stores_embeddings
from abawkit.training.folds import open_training_set
from abawkit.training.loop import Loop
from abawkit.training.recipe import Recipe
from abawkit.training.start import Inputs
from abawkit.training.validation import predict_rows


@dataclass(frozen=True)
class DryRun:
    """Estimates from one batch.

    Attributes:
        parameters: Of the network.
        trainable: Parameters that the last stage trains.
        rows: Training rows.
        validation_rows: Validation rows.
        steps: Steps of the run.
        losses: Of the batch.
        peak_memory: Bytes that torch reserved on the GPU; on a CPU, those of this process.
        images_per_second: Of a training step, with reading and augmentation.
        validation_images_per_second: Of the forward pass.
        checkpoint_bytes: Size of a checkpoint; a run keeps ``checkpoints.keep`` of them.
        first_stage: How frames pass the frozen network of the first stage; empty where there is none.
        seconds: Estimate for all epochs of the recipe, with their validation.
        environment: Versions, hardware, the operator's implementation.
    """

    parameters: int
    trainable: int
    rows: int
    validation_rows: int
    steps: int
    losses: dict[str, float]
    peak_memory: int
    images_per_second: float
    validation_images_per_second: float
    checkpoint_bytes: int
    first_stage: str
    seconds: float
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def dry_run(recipe: Recipe, inputs: Inputs) -> DryRun:
    """Builds a run as `train` does, takes two steps on its first batch, and leaves no file.

    The second step is measured, as the first one allocates and chooses kernels. Both are of the last stage, the slower
    one. A checkpoint is written to a temporary folder.

    Raises:
        AbawkitError: As `train` would up to its first step.
    """
    recipe.check_start(inputs.weights)
    with use_deterministic_algorithms(recipe.device), use_exact_float32():
        return _run_dry(recipe, inputs)


def _run_dry(recipe: Recipe, inputs: Inputs) -> DryRun:
    curated = open_training_set(inputs.data, inputs.fold)
    with tempfile.TemporaryDirectory(prefix="abawkit-") as folder:
        loop = build_loop(recipe, inputs, curated, Path(folder), processes=ALONE, callbacks=Callbacks())
        losses, seconds, batch = _measure_step(loop)
        size = _measure_checkpoint(loop, Path(folder))
    network, device = loop.learner.network, loop.learner.device
    validation_speed = _measure_validation(loop)
    batches = [len(loop.batches(epoch)) for epoch in range(len(loop.plan))]
    # steps on stored embeddings take no time beside the one pass over all frames
    stored = loop.learner.store is not None
    embeds = stored or stores_embeddings(loop.recipe)
    passed = [
        number
        for scheduled, number in zip(loop.plan, batches, strict=True)
        if not (embeds and scheduled.name == "heads")
    ]
    validated = len(passed) * len(loop.validation) + (embeds and not stored) * (len(loop.rows) + len(loop.validation))
    return DryRun(
        parameters=sum(p.numel() for p in network.parameters()),
        trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        rows=len(loop.rows),
        validation_rows=len(loop.validation),
        steps=sum(batches),
        losses=losses,
        peak_memory=_measure_peak_memory(device),
        images_per_second=batch / seconds,
        validation_images_per_second=validation_speed,
        checkpoint_bytes=size,
        first_stage=describe_first_stage(loop.recipe, stored=stored),
        seconds=sum(passed) * seconds + validated / validation_speed,
        environment=loop.notes["environment"],
    )


def _measure_step(loop: Loop) -> tuple[dict[str, float], float, int]:
    """The losses of the first batch, the seconds of its second step, and its rows."""
    scheduled = loop.plan[-1]
    if loop.learner.store is None:
        loop.learner.embeds = False  # all rows would pass the network before the first step
    loop.learner.begin_epoch(scheduled, fresh=True)
    batch = loop.batches(0)[0]
    losses: dict[str, float] = {}
    seconds, rows = 0.0, 0
    for _ in range(2):
        began = time.perf_counter()
        collected = loop.learner.collect(0, batch, batch)
        found = loop.learner.step(scheduled.stage.learning_rate, collected).read()
        seconds, rows = time.perf_counter() - began, len(collected.rows)
        losses = losses or found
    return losses, seconds, rows


def _measure_validation(loop: Loop) -> float:
    """Rows a second of the forward pass over a batch of frames, or over all windows of a sequence network."""
    network, rows, device = loop.learner.network, loop.validation, loop.learner.device
    run: Callable[[], object]
    if isinstance(rows, FramedRows) and isinstance(network, DDAMFN):
        count = min(BATCH[device.type], len(rows))
        run = partial(infer, network, rows.pixels(np.arange(count)), device)
    else:
        count = len(rows)
        run = partial(predict_rows, network, rows, device)
    run()
    began = time.perf_counter()
    run()
    return count / (time.perf_counter() - began)


def _measure_checkpoint(loop: Loop, folder: Path) -> int:
    loop.save()
    loop.finish_save()
    files = [path for path in folder.rglob("*") if path.is_file()]
    # and the best weights so far, which every checkpoint after the first epoch holds
    return sum(path.stat().st_size for path in files) + sum(p.stat().st_size for p in files if p.name == NETWORK)


def _measure_peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    unit = 1 if sys.platform == "darwin" else 1024  # Source: getrusage(2) of each system
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
