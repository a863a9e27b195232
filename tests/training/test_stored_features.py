"""A first stage that reads what the frozen network gives for each frame from a store of features."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abawkit
from abawkit.errors import ConfigError, DataError, StoppedError
from abawkit.models.weights import digest_state, load_weights
from abawkit.probabilities.members import read_member
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training import embeddings
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.dry_run import dry_run
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume, prepare_start
from tests.sequence_features import list_rows, write_random_store

Make = Callable[..., Recipe]
HEADS = {"heads": Stage(epochs=3, learning_rate=1e-2), "all": Stage(epochs=0)}


@pytest.fixture(scope="module")
def weights(full_run: Trained) -> Path:
    return full_run.out / "best.safetensors"


@pytest.fixture(scope="module")
def store(weights: Path, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "store"
    abawkit.extract_features(weights, out, data=curated, dtype="float32", device="cpu")
    return out


@pytest.fixture(scope="module")
def inputs(curated: Path, weights: Path, store: Path) -> Inputs:
    return Inputs(curated, weights, features=(store,))


@pytest.fixture(scope="module")
def whole(recipe: Make, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three epochs of heads on stored features."""
    return train(recipe(**HEADS), inputs, tmp_path_factory.mktemp("whole"))


def read_losses(run: Trained) -> list[dict[str, float]]:
    return [json.loads(line)["losses"] for line in (run.out / "metrics.jsonl").read_text().splitlines()]


def test_the_losses_and_the_scores_are_those_of_frames_and_no_frame_is_read(
    whole: Trained, recipe: Make, inputs: Inputs, labels_only: Path, tmp_path: Path
) -> None:
    for name in ("frames", "labels"):
        (tmp_path / name).mkdir()
    frames = train(recipe(**HEADS), replace(inputs, features=()), tmp_path / "frames")
    for own, expected in zip(read_losses(whole), read_losses(frames), strict=True):
        assert own == pytest.approx(expected, rel=1e-5)
    assert whole.best_score == pytest.approx(frames.best_score, abs=1e-3)
    labels = train(recipe(**HEADS), replace(inputs, data=labels_only), tmp_path / "labels")
    assert read_losses(labels) == read_losses(whole)
    manifest = json.loads((whole.out / "manifest.json").read_text())
    assert manifest["stored_embeddings"] is True
    assert [entry["folder"] for entry in manifest["data"]["features"]] == [str(inputs.features[0].resolve())]


def test_a_second_stage_trains_on_frames(
    recipe: Make, inputs: Inputs, labels_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = recipe(heads=Stage(epochs=1, augment=False), all=Stage(epochs=1, learning_rate=1e-3))
    shown: list[int] = []
    monkeypatch.setattr(embeddings, "embed_frames", None)  # no frame passes the frozen network
    (tmp_path / "run").mkdir()
    callbacks = Callbacks(on_batch=lambda frames: shown.append(len(frames.pixels)))
    run = train(two, inputs, tmp_path / "run", callbacks=callbacks)
    assert ["attention" in losses for losses in read_losses(run)] == [False, True]
    assert shown == [32]
    with pytest.raises(DataError, match="labels only"):
        train(two, replace(inputs, data=labels_only), tmp_path / "run")


def test_half_precision_changes_losses_by_rounding(
    whole: Trained, recipe: Make, inputs: Inputs, weights: Path, curated: Path, tmp_path: Path
) -> None:
    abawkit.extract_features(weights, tmp_path / "half", data=curated, device="cpu")
    (tmp_path / "run").mkdir()
    run = train(recipe(**HEADS), replace(inputs, features=(tmp_path / "half",)), tmp_path / "run")
    for own, expected in zip(read_losses(run), read_losses(whole), strict=True):
        assert own == pytest.approx(expected, rel=1e-3)
        assert own != expected


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(
    whole: Trained, recipe: Make, inputs: Inputs, tmp_path: Path
) -> None:
    stop = Stop()

    def on_step(info: StepInfo) -> None:
        stop.signal = 15 if info.steps == 4 else 0

    with pytest.raises(StoppedError):
        train(recipe(**HEADS), inputs, tmp_path, stopping=nullcontext(stop), callbacks=Callbacks(on_step))
    train(recipe(**HEADS), inputs, tmp_path, resume=Resume())
    for name in ("best.safetensors", "last.safetensors"):
        assert sha256_of(tmp_path / name) == sha256_of(whole.out / name)


@pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")  # of expressions that a small fold lacks
def test_folds_of_heads_have_probabilities_of_every_row_without_frames(
    labels_only: Path, weights: Path, store: Path, tmp_path: Path
) -> None:
    changes = {"network": "ddamfn-nano", "batch_size": 32, "all.epochs": 0, "heads.epochs": 2, "heads.augment": False}
    trained = abawkit.train(
        "baseline",
        labels_only,
        tmp_path / "folds",
        weights=weights,
        features=store,
        changes=changes,
        folds=2,
        device="cpu",
    )
    assert trained.probabilities is not None
    found = read_member(trained.probabilities).predictions
    assert len(found.images) == 179
    assert np.isfinite(found.va).all()


def test_features_of_other_weights_and_missing_rows_are_refused(
    recipe: Make, inputs: Inputs, weights: Path, heads_run: Trained, curated: Path, tmp_path: Path
) -> None:
    other = heads_run.out / "best.safetensors"
    foreign = write_random_store(tmp_path / "foreign", list_rows(curated), 128)
    some = tmp_path / "some"
    source = {"kind": "network", "digest": digest_state(load_weights(weights).state)}
    write_random_store(some, list_rows(curated)[5:], 128, source=source)
    for given, expected in (
        (replace(inputs, weights=other), f"holds other features than those of .* {other}; .*abawkit features"),
        (replace(inputs, features=(foreign.folder,)), "foreign: holds other features than those of the frozen network"),
        (replace(inputs, features=(some,)), r"some: has no features for \d of"),
    ):
        with pytest.raises(DataError, match=expected):
            train(recipe(**HEADS), given, tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["heads.epochs=0"], "ddamfn sees frames; .*first stage"),
        ([], "the frames of the first stage are augmented.*; --set heads.augment=false"),
        (["heads.augment=false", "precision=float64"], "stored features have no more than 32 bits"),
    ],
)
def test_a_recipe_that_can_not_read_features_is_refused(
    inputs: Inputs, tmp_path: Path, changes: list[str], expected: str
) -> None:
    given: dict[str, Any] = {"weights": inputs.weights, "features": inputs.features}
    with pytest.raises(ConfigError, match=f"--features: {expected}"):
        prepare_start("baseline", inputs.data, tmp_path / "run", changes=changes, **given)


def test_one_store_and_the_weights_that_it_is_of_are_needed(inputs: Inputs, features: Path, tmp_path: Path) -> None:
    plain = ["heads.augment=false"]
    with pytest.raises(ConfigError, match="--features: ddamfn has one embedding of a frame; give one store"):
        prepare_start("baseline", inputs.data, tmp_path, changes=plain, features=[*inputs.features, features])
    with pytest.raises(ConfigError, match=r"give the weights that these were extracted with.*--weights"):
        prepare_start("baseline", inputs.data, tmp_path / "run", changes=plain, features=inputs.features)


def test_a_dry_run_counts_no_pass_over_the_frames(recipe: Make, inputs: Inputs, labels_only: Path) -> None:
    found = dry_run(recipe(**HEADS), replace(inputs, data=labels_only))
    assert found.first_stage == "stored features: no frame passes the frozen network"
    assert (found.rows, found.validation_rows) == (179, 50)
    assert found.seconds < 1
