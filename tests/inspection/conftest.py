"""One finished run, one that was interrupted, and a submission; each test that damages something has its own copy."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from abawkit.errors import StoppedError
from abawkit.formats.editions import ABAW7
from abawkit.prediction.predict import predict
from abawkit.prediction.sources import ListedFrames
from abawkit.system.signals import Stop
from abawkit.training.callbacks import Callbacks
from abawkit.training.recipe import read_recipe
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs

SETTINGS = ["all.epochs=1", "checkpoints.every=1", "seed=3", "device=cpu"]


@pytest.fixture(scope="session")
def trained(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("runs") / "finished"
    out.mkdir()
    return train(read_recipe("demo", SETTINGS), Inputs(curated), out)


@pytest.fixture(scope="session")
def interrupted(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that a signal ended after its second step."""
    out, stop = tmp_path_factory.mktemp("runs") / "interrupted", Stop()
    out.mkdir()

    def on_step(moment: Any) -> None:
        stop.signal = 15 if moment.steps == 2 else 0

    with pytest.raises(StoppedError):
        train(
            read_recipe("demo", SETTINGS),
            Inputs(curated),
            out,
            stopping=nullcontext(stop),
            callbacks=Callbacks(on_step),
        )
    return out


@pytest.fixture(scope="session")
def predicted(trained: Trained, release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission with its manifest and its probabilities."""
    path = release / "test_set_examples/MTL.txt"
    listed = ABAW7().read_list(path)
    frames = ListedFrames(path, release / "test_data/cropped_aligned", listed.images.to_pylist())
    out = tmp_path_factory.mktemp("predictions") / "predictions.txt"
    predict([trained.out], frames, out, ABAW7(), device="cpu")
    return out


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(trained.out, tmp_path / "run"))


@pytest.fixture
def submission(predicted: Path, tmp_path: Path) -> Path:
    """A copy of the submission, with what lies beside it."""
    for path in predicted.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / predicted.name


@pytest.fixture
def dataset(curated: Path, tmp_path: Path) -> Path:
    """A copy of the curated set."""
    return Path(shutil.copytree(curated, tmp_path / "curated"))


def edit_json(path: Path, name: str, value: Any) -> None:
    """Puts a value into a JSON file, by names with dots between them."""
    content = json.loads(path.read_text())
    inner = content
    *outer, last = name.split(".")
    for key in outer:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(content))


def flip_last_byte(path: Path) -> None:
    """Changes one byte and no size; into a new file, as checkpoints share files."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, str, Any], None]:
    return edit_json


@pytest.fixture(scope="session")
def flip() -> Callable[[Path], None]:
    return flip_last_byte
