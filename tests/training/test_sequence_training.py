"""Training of sequence networks: what they find, that runs are reproducible and resumed, and what is refused."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import abawkit
from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError, DataWarning, OpWarning, StoppedError
from abawkit.features.store import FeatureStore, StoredType
from abawkit.frames.augmentation_config import Augmentation
from abawkit.inspection.runs import inspect_run
from abawkit.labels import TASKS
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import FeatureInput
from abawkit.models.weights import load_any_weights
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training.build import _refuse_small_batches
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.distributed import Distributed
from abawkit.training.dry_run import dry_run
from abawkit.training.recipe import Optimizer, Recipe, Stage, parse_recipe
from abawkit.training.recipe_warnings import find_recipe_warnings
from abawkit.training.run import Trained, train
from abawkit.training.sequence_data import (
    describe_input,
    open_stores,
    read_evaluation_sequences,
    read_training_sequences,
)
from abawkit.training.sequence_learner import SequenceLearner
from abawkit.training.start import Inputs, Resume, prepare_start
from tests.sequence_features import list_rows, write_random_store, write_store

Make = Callable[..., Recipe]
CPU = torch.device("cpu")
WEIGHTS = ("best.safetensors", "last.safetensors")


def digests(out: Path) -> list[str]:
    return [sha256_of(out / name) for name in WEIGHTS]


@pytest.fixture(scope="module")
def whole(sequence_recipe: Make, curated: Path, features: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs of four steps, with dropout and a moving average."""
    inputs = Inputs(curated, features=(features,))
    return train(sequence_recipe(ema=0.9), inputs, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("kind", "found"), [("frame", False), ("bigru", True), ("tcn", True)])
def test_what_the_neighbours_tell_is_found_by_a_network_over_time_and_by_no_other(
    planted: Path, tmp_path: Path, kind: str, found: bool
) -> None:
    changes = {"sequence.kind": kind, "batch_size": 64, "all.epochs": 30, "all.learning_rate": 1e-2, "ema": 0}
    changes |= {"sequence.dropout": 0, "sequence.width": 32, "losses.expression": 0.01, "losses.au": 0.01}
    changes |= {"sequence.window": 16} if kind != "frame" else {}
    given: dict[str, Any] = {"data": planted / "curated", "features": planted / "features"}
    run = abawkit.train("sequence-bigru", out=tmp_path / "run", changes=changes, **given)
    written = abawkit.predict(run.out, tmp_path / "answers.txt", split="validation", **given)
    with pytest.warns(DataWarning, match=r"^(no annotated Anger, Fear|never active)"):
        score = abawkit.score(written.submission, planted / "curated")
    assert score.score == pytest.approx(run.best_score, abs=1e-4)
    assert (score.ccc_va > 0.7) if found else (score.ccc_va < 0.3)


def test_a_stopped_run_goes_on_to_the_same_weights(
    whole: Trained, sequence_recipe: Make, curated: Path, features: Path, tmp_path: Path
) -> None:
    recipe, inputs, stop = sequence_recipe(ema=0.9), Inputs(curated, features=(features,)), Stop()

    def on_step(info: StepInfo) -> None:
        stop.signal = 15 if info.steps in (2, 6) else 0

    for _ in range(2):  # in the middle of either epoch
        stop.signal = 0
        with pytest.raises(StoppedError):
            train(recipe, inputs, tmp_path, resume=Resume(), stopping=nullcontext(stop), callbacks=Callbacks(on_step))
        torch.rand(3)  # what others draw changes nothing
    again = train(recipe, inputs, tmp_path, resume=Resume())
    assert digests(tmp_path) == digests(whole.out)
    assert again.scores == whole.scores


def test_another_seed_gives_other_weights_and_the_same_one_the_same(
    whole: Trained, sequence_recipe: Make, curated: Path, features: Path, tmp_path: Path
) -> None:
    inputs = Inputs(curated, features=(features,))
    torch.manual_seed(5)
    for seed, same in ((0, True), (1, False)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        train(sequence_recipe(ema=0.9, seed=seed), inputs, folder)
        assert (digests(folder) == digests(whole.out)) is same


def test_a_run_records_its_features_and_goes_on_without_naming_them(
    whole: Trained, features: Path, curated: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole.out, tmp_path / "run"))
    start = prepare_start(None, None, run, resume=True)
    assert start.inputs.features == (features.resolve(),)
    other = write_random_store(tmp_path / "other", list_rows(curated), dimension=4)
    (run / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"begun on other features.*give the --features that it was"):
        train(start.recipe, Inputs(curated, features=(other.folder,)), run, resume=Resume())
    manifest = json.loads((whole.out / "manifest.json").read_text())
    assert manifest["data"]["features"] == [
        {"folder": str(features.resolve()), "digest": FeatureStore.open(features).digest}
    ]
    assert manifest["environment"]["ops"] == {}


def test_a_run_is_inspected_as_any_other(whole: Trained, features: Path) -> None:
    found = inspect_run(whole.out)
    assert found.problems == []
    assert found.facts["data"]["features"] == [{"folder": str(features.resolve()), "state": "unchanged"}]
    assert found.summary.startswith("a run of sequence, finished, 2 of 2 epochs done, the best is epoch")


def test_features_are_normalised_by_the_training_rows_alone(whole: Trained, features: Path, curated: Path) -> None:
    split, store = open_curated(curated).splits["train"], FeatureStore.open(features)
    kept = split.annotations.select(split.kept).images.unique()
    values = store.values[store.select(kept.to_pylist())].astype(np.float64)
    state = load_any_weights(whole.out / "last.safetensors").state
    np.testing.assert_allclose(state["normalise.mean"].numpy(), values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(state["normalise.deviation"].numpy(), values.std(axis=0), rtol=1e-6)


def test_stores_side_by_side_make_one_input(
    sequence_recipe: Make, features: Path, curated: Path, tmp_path: Path
) -> None:
    other = write_random_store(tmp_path / "other", list_rows(curated), dimension=3)
    (tmp_path / "run").mkdir()
    run = train(sequence_recipe(), Inputs(curated, features=(features, other.folder)), tmp_path / "run")
    config = load_any_weights(run.out / "best.safetensors").config
    assert config.inputs == tuple(describe_input(s.manifest) for s in open_stores([features, other.folder]))  # type: ignore[union-attr]
    assert [each.dimension for each in config.inputs] == [5, 3]  # type: ignore[union-attr]
    assert [bool(each.source) for each in config.inputs] == [True, False]  # type: ignore[union-attr]


def test_a_run_starts_from_the_weights_of_another_one_of_the_same_network(
    whole: Trained, sequence_recipe: Make, features: Path, curated: Path, tmp_path: Path
) -> None:
    start = whole.out / "last.safetensors"
    recipe = sequence_recipe(all=Stage(epochs=1, learning_rate=1e-12), sequence_dropout=0.0)
    run = train(recipe, Inputs(curated, start, features=(features,)), tmp_path)
    before, after = load_any_weights(start).state, load_any_weights(run.out / "last.safetensors").state
    assert all(torch.allclose(value, after[name], atol=1e-6) for name, value in before.items())
    with pytest.raises(
        DataError, match=r"they are those of sequence \(bigru\), .* recipe's network is sequence \(tcn\)"
    ):
        train(sequence_recipe(sequence_kind="tcn"), Inputs(curated, start, features=(features,)), tmp_path)


@pytest.mark.parametrize("kind", ["frame", "transformer"])
def test_a_dry_run_estimates_and_writes_nothing(
    sequence_recipe: Make, features: Path, curated: Path, kind: str
) -> None:
    found = dry_run(sequence_recipe(sequence_kind=kind), Inputs(curated, features=(features,)))
    assert (found.rows, found.validation_rows, found.steps) == (179, 50, 8)
    assert found.losses.keys() == {"total", "va", "expression", "au"}
    assert found.images_per_second > 0
    assert found.validation_images_per_second > 0


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
@pytest.mark.parametrize("kind", ["bigru", "lstm", "tcn", "transformer"])
def test_every_precision_trains_every_kind(
    sequence_recipe: Make, features: Path, curated: Path, tmp_path: Path, kind: str, precision: str
) -> None:
    recipe = sequence_recipe(
        all=Stage(epochs=1), sequence_kind=kind, precision=precision, optimizer=Optimizer(name="sam"), batch_size=179
    )
    wide = precision == "float64"
    with nullcontext() if wide else pytest.warns(OpWarning, match="no effect on a CPU, where sequence networks"):
        assert np.isfinite(train(recipe, Inputs(curated, features=(features,)), tmp_path).best_score)


def test_what_does_not_fit_together_is_refused(curated: Path, features: Path, tmp_path: Path) -> None:
    for recipe, given, expected in (
        ("sequence-bigru", {}, 'network = "sequence" trains on features: give what `abawkit features` wrote with'),
        ("demo", {"features": [features]}, "--features: ddamfn-nano sees frames; --set network=sequence trains on"),
        ("sequence-tcn", {"features": [features], "frames": [tmp_path]}, "reads features in place of frames"),
        ("sequence-tcn", {"features": [features, features]}, "a store is given twice"),
    ):
        with pytest.raises(ConfigError) as caught:
            prepare_start(recipe, curated, tmp_path / "run", **given)  # type: ignore[arg-type]
        assert expected in str(caught.value)
    with pytest.raises(DataError, match="holds no features"):
        prepare_start("sequence-tcn", curated, tmp_path / "run", features=[tmp_path / "store"])


def test_frames_without_features_are_named(sequence_recipe: Make, curated: Path, tmp_path: Path) -> None:
    names = list_rows(curated)
    store = write_random_store(tmp_path / "store", names[5:])
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=f"store: has no features for . of .*: {names[0]}"):
        train(sequence_recipe(), Inputs(curated, features=(store.folder,)), tmp_path / "run")


def test_rows_that_have_no_frame_need_no_features(curated: Path, tmp_path: Path) -> None:
    opened = open_curated(curated)
    split = opened.splits["validation"]
    image = split.annotations.images[3].as_py()
    lost = np.array([name == image for name in split.annotations.images.to_pylist()])
    opened.splits["validation"] = replace(split, frames=np.where(lost, -1, split.frames))
    store = write_random_store(tmp_path / "store", [name for name in list_rows(curated) if name != image])
    rows = read_evaluation_sequences(opened, "validation", [store])
    assert len(rows) == 50 - lost.sum()
    found = rows.features.take(rows.frames)
    expected = store.values[store.select(rows.annotations.images.unique().to_pylist())]
    codes = rows.annotations.images.dictionary_encode().indices.to_numpy()
    np.testing.assert_array_equal(found, expected[codes])


@pytest.mark.parametrize("beside", [(), ("float32",)], ids=["alone", "beside float32"])
def test_features_in_half_precision_train_as_the_same_numbers_in_single_precision(
    sequence_recipe: Make, curated: Path, tmp_path: Path, beside: tuple[StoredType, ...]
) -> None:
    names = list_rows(curated)
    values = np.random.default_rng(0).standard_normal((len(names), 4)).astype(np.float16).astype(np.float32)
    kinds: tuple[StoredType, ...] = ("float16", "float32", *beside)
    half, single, *rest = (
        write_store(tmp_path / f"{kind}-{i}", names, values[:, : 4 - i], -values[:, : 4 - i], dtype=kind).folder
        for i, kind in zip((0, 0, 1), kinds, strict=False)
    )
    recipe = sequence_recipe(augmentation=Augmentation(flip=0.5), sequence_dropout=0.0)
    for store in (half, single):
        (tmp_path / f"run-{store.name}").mkdir()
        train(recipe, Inputs(curated, features=(store, *rest)), tmp_path / f"run-{store.name}")
    assert digests(tmp_path / f"run-{half.name}") == digests(tmp_path / f"run-{single.name}")


def test_mirrored_frames_are_read_only_where_they_are_asked_for(
    whole: Trained, sequence_recipe: Make, features: Path, curated: Path, tmp_path: Path
) -> None:
    flipped = sequence_recipe(ema=0.9, augmentation=Augmentation(flip=0.5))
    train(flipped, Inputs(curated, features=(features,)), tmp_path)
    assert digests(tmp_path) != digests(whole.out)
    plain = Path(shutil.copytree(features, tmp_path / "plain"))
    content = json.loads((plain / "manifest.json").read_text())
    (plain / "manifest.json").write_text(json.dumps({**content, "mirrored": False, "mirrored_sha256": None}))
    with pytest.raises(ConfigError, match=r"no features of mirrored frames.*augmentation\.flip=0, or extract them"):
        train(flipped, Inputs(curated, features=(plain,)), tmp_path)


def test_a_batch_without_a_window_for_each_process_is_refused(
    sequence_recipe: Make, curated: Path, features: Path
) -> None:
    rows = read_training_sequences(open_curated(curated), TASKS, open_stores([features]), flip=False)
    message = (
        r"9 processes and batches of 48 rows in windows of 48 frames: a batch has \d windows?, expected one for each"
    )
    with pytest.raises(ConfigError, match=message):
        _refuse_small_batches(sequence_recipe(sequence_window=48), rows, Distributed(0, 9))
    _refuse_small_batches(sequence_recipe(), rows, Distributed(0, 2))


@pytest.mark.parametrize("kind", ["bigru", "tcn", "transformer", "lstm"])
@pytest.mark.parametrize("count", [2, 30])
def test_the_parts_of_a_batch_have_the_outputs_of_the_whole_dropout_included(
    sequence_recipe: Make, curated: Path, features: Path, kind: str, count: int
) -> None:
    recipe = sequence_recipe(sequence_kind=kind, precision="float64", augmentation=Augmentation(flip=0.5))
    rows = read_training_sequences(open_curated(curated), TASKS, open_stores([features]), flip=True)
    found = []
    for processes in (Distributed(), *(Distributed(rank, count) for rank in range(count))):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = SequenceNetwork(
                recipe.sequence.make_config([FeatureInput(FeatureStore.open(features).dimension, "")])
            )
        learner = SequenceLearner(recipe, network.double(), rows, CPU, bfloat16=False, processes=processes)
        batch = learner.plan_epoch(0)[0]
        part = learner.collect(0, batch, processes.part(batch))
        assert len(part.part) == (part.sizes or (0,))[processes.rank]
        network.train().dropout.part = part.windows
        inputs, _ = learner._make_inputs(part.frames, part.numbers, len(part.rows), len(part.part))
        with torch.random.fork_rng():
            torch.manual_seed(part.seed)
            outputs = network(inputs)
        found.append((part, torch.cat([outputs.va, outputs.expression, outputs.au], dim=1).detach()))
    (whole, expected), *parts = found
    assert {part.seed for part, _ in parts} == {whole.seed}
    assert np.concatenate([part.part for part, _ in parts]).tolist() == whole.rows.tolist()
    assert all(part.rows.tolist() == whole.rows.tolist() for part, _ in parts)
    assert (min(len(part.part) for part, _ in parts) == 0) is (count == 30)  # more processes than windows
    torch.testing.assert_close(torch.cat([outputs for _, outputs in parts]), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "batch_size = 32\n[sequence]\nwindow = 33",
            "sequence.window: got 33, expected at most batch_size, which is 32",
        ),
        ('[sequence]\nkind = "cnn"', "sequence.kind: Input should be 'frame', 'tcn', 'lstm', 'bigru' or 'transformer'"),
        ("[sequence]\nwidth = 9", "width: got 9, expected an even number"),
        ("[sequence]\nkernel = 4", "a kernel size must be odd"),
        ("[sequence]\nlength = 4", "sequence.length: unknown key; known here: kind, width"),
    ],
)
def test_a_section_with_wrong_values_names_them(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(f'network = "sequence"\n{text}', "r.toml")
    assert expected in str(caught.value)


def test_keys_without_effect_are_named() -> None:
    changes = ["network=sequence", "sequence.kind=frame", "sequence.window=9", "sequence.heads=2", "losses.attention=1"]
    lines = find_recipe_warnings(parse_recipe("", "r", [*changes, "augmentation.erase=1"]), [*changes, "capture=off"])
    assert [line.partition(" has")[0] for line in lines] == [
        "losses.attention", "capture", "sequence.heads", "sequence.window",
    ]  # fmt: skip
    other = ["sequence.kind=frame"]
    assert find_recipe_warnings(parse_recipe("", "r", other), other) == [
        "sequence.kind has no effect: network is ddamfn"
    ]
    assert "[sequence]" not in parse_recipe("", "r").to_toml()
    recipe = parse_recipe('network = "sequence"', "r")
    assert parse_recipe(recipe.to_toml(), "r") == recipe
