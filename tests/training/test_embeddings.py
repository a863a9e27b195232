"""A first stage without augmentation: each frame passes the frozen network once, and the run is the same."""

import json
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.errors import DataError, StoppedError
from abawkit.frames.augmentation_config import Augmentation
from abawkit.models.config import NETWORKS
from abawkit.models.inference import classify_embeddings, embed_frames, infer
from abawkit.models.network import DDAMFN
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training import embeddings, learner
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.data import read_evaluation_rows
from abawkit.training.distributed import ALONE
from abawkit.training.dry_run import dry_run
from abawkit.training.embeddings import describe_first_stage, embed_rows, stores_embeddings
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume

Make = Callable[..., Recipe]
CPU = torch.device("cpu")
VARIED = Augmentation(flip=0.5, brightness=0.2)
STORED = {"heads": Stage(epochs=3, learning_rate=1e-2, augment=False), "augmentation": VARIED, "ema": 0.9}


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def digests_of(out: Path) -> list[str]:
    return [sha256_of(out / f"{name}.safetensors") for name in ("best", "last")]


@pytest.fixture(scope="module")
def stored(recipe: Make, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three epochs of heads on stored embeddings, one of everything on augmented frames."""
    return train(recipe(**STORED), Inputs(curated), tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def network() -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return DDAMFN(NETWORKS["ddamfn-nano"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"heads": Stage(epochs=2)}, True),
        ({"heads": Stage(epochs=2), "augmentation": VARIED}, False),
        ({"heads": Stage(epochs=2, augment=False), "augmentation": VARIED}, True),
        ({"heads": Stage(epochs=1)}, False),
        ({"heads": Stage(epochs=2), "augmentation": Augmentation(angle=9, shift=0.1, erase_area=(0.1, 0.2))}, True),
    ],
    ids=["no augmentation", "augmented", "not in this stage", "one epoch", "nothing that varies"],
)
def test_embeddings_are_stored_where_frames_are_the_same_in_each_of_several_epochs(
    recipe: Make, changes: dict[str, Any], expected: bool
) -> None:
    assert stores_embeddings(recipe(**changes)) is expected


@pytest.mark.parametrize(
    ("precision", "tolerance"), [pytest.param("float64", 1e-10, marks=pytest.mark.slow), ("float32", 2e-5)]
)
def test_the_losses_and_the_scores_are_those_without_stored_embeddings(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, tolerance: float
) -> None:
    chosen = recipe(**STORED, precision=precision, optimizer={"name": "sam"})
    folders = [tmp_path / name for name in ("stored", "passed")]
    for folder in folders:
        folder.mkdir()
        train(chosen, Inputs(curated), folder)
        monkeypatch.setattr(learner, "stores_embeddings", lambda _: False)
        monkeypatch.setattr(learner, "embed_rows", None)
    stored, passed = map(lines_of, folders)
    assert [line["stage"] for line in stored] == ["heads", "heads", "heads", "all"]
    for own, expected in list(zip(stored, passed, strict=True))[: 4 if precision == "float64" else 3]:
        assert own["losses"] == pytest.approx(expected["losses"], rel=tolerance)
        if precision == "float64":
            assert own["strict"] == pytest.approx(expected["strict"], rel=tolerance)
            assert own["official"] == pytest.approx(expected["official"], rel=tolerance)
    assert json.loads((folders[0] / "manifest.json").read_text())["stored_embeddings"] is True


def test_each_frame_passes_the_frozen_network_once_and_the_first_batch_is_still_shown(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    shown: list[tuple[int, ...]] = []

    def count(network: DDAMFN, pixels: np.ndarray, *others: Any) -> np.ndarray:
        seen.append(len(pixels))
        return embed_frames(network, pixels, *others)

    monkeypatch.setattr(embeddings, "embed_frames", count)
    monkeypatch.setattr(DDAMFN, "forward", None)
    callbacks = Callbacks(on_batch=lambda frames: shown.append(frames.pixels.shape))
    train(recipe(**STORED, all=Stage(epochs=0)), Inputs(curated), tmp_path, callbacks=callbacks)
    assert seen == [179, 50]
    assert shown == [(32, 112, 112, 3)]


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(
    stored: Trained, recipe: Make, curated: Path, tmp_path: Path
) -> None:
    stop = Stop()

    def on_step(info: StepInfo) -> None:
        stop.signal = 15 if info.steps in (2, 6, 13) else 0  # in the first, the second and the last epoch

    for _ in range(3):
        stop.signal = 0
        with pytest.raises(StoppedError):
            train(
                recipe(**STORED),
                Inputs(curated),
                tmp_path,
                resume=Resume(),
                stopping=nullcontext(stop),
                callbacks=Callbacks(on_step),
            )
    train(recipe(**STORED), Inputs(curated), tmp_path, resume=Resume())
    assert digests_of(tmp_path) == digests_of(stored.out)


def test_a_run_can_be_stopped_before_its_first_step(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_to_stop(*given: Any) -> np.ndarray:
        (tmp_path / "STOP").touch()
        return embed_frames(*given)

    monkeypatch.setattr(embeddings, "embed_frames", ask_to_stop)
    with pytest.raises(StoppedError, match="after step 0"):
        train(recipe(**STORED), Inputs(curated), tmp_path)
    assert (tmp_path / "checkpoints").is_dir()


def test_embeddings_answer_as_frames_do_in_every_precision(network: DDAMFN, curated: Path) -> None:
    rows = read_evaluation_rows(open_curated(curated), "validation")
    pixels = rows.pixels(np.arange(len(rows)))
    found = embed_rows(network, rows, CPU, "float32", processes=ALONE)
    assert found.values.shape == (50, 128)
    assert found.values.dtype == np.float32
    assert isinstance(found.values, np.memmap)
    for own, expected in zip(
        classify_embeddings(network, found.take(slice(None)), CPU), infer(network, pixels, CPU), strict=True
    ):
        np.testing.assert_allclose(own, expected, atol=1e-6)
    rounded = embed_rows(network, rows, CPU, "bfloat16", processes=ALONE).values
    assert 0 < np.abs(rounded - found.values).max() < 0.1
    assert embed_frames(network, pixels[:0], CPU).shape == (0, 128)


def test_a_full_disk_says_how_much_is_needed_and_where(
    network: DDAMFN, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, *_: Any) -> int:
            raise OSError(28, "No space left on device")

    rows = read_evaluation_rows(open_curated(curated), "validation")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(
        DataError, match=r"embeddings there, 0 MB \(No space left on device\); make room, or set TMPDIR"
    ):
        embed_rows(network, rows, CPU, "float32", processes=ALONE)


def test_a_dry_run_says_how_frames_pass_the_frozen_network(recipe: Make, curated: Path) -> None:
    once = dry_run(recipe(**STORED), Inputs(curated))
    assert once.first_stage == "each frame passes the frozen network once, for all 3 epochs"
    augmented = recipe(**STORED | {"heads": Stage(epochs=3)})
    assert describe_first_stage(augmented) == (
        "frames are augmented: each of 3 epochs passes them through the frozen network; "
        "--set heads.augment=false passes each once"
    )
    assert describe_first_stage(recipe()) == "one epoch: each frame passes the frozen network once"
    assert describe_first_stage(recipe(heads=Stage(epochs=0))) == ""
    heads_alone = dry_run(recipe(**STORED, all=Stage(epochs=0)), Inputs(curated))
    passes = (heads_alone.rows + heads_alone.validation_rows) / heads_alone.validation_images_per_second
    assert heads_alone.seconds == pytest.approx(passes)
