import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abawkit.curation import Sources
from abawkit.frames.paths import FramesRoot

UNITS = ",0" * 11 + ",1"


def annotation(image: str, va: str = "0.5,-0.25", expression: str = "3", au: str = UNITS[1:]) -> str:
    return f"{image},{va},{expression},{au}"


@pytest.fixture
def row() -> Callable[..., str]:
    """One annotation row; every task is annotated unless told."""
    return annotation


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Sources]:
    """Writes the annotation files of both splits, of these rows."""

    def release(train: list[str], validation: list[str] | None = None, *, frames: FramesRoot | None = None) -> Sources:
        paths = [tmp_path / "train.txt", tmp_path / "validation.txt"]
        for path, rows in zip(paths, (train, validation or [annotation("clip/1.jpg")]), strict=True):
            path.write_text("\n".join(["image", *rows]))
        return Sources(train=paths[0], validation=paths[1], frames=frames)

    return release


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Writes small JPEGs under these names and gives their folder."""

    def pictures(*names: str) -> Path:
        for shade, name in enumerate(names):
            path = tmp_path / "frames" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            Image.fromarray(np.full((112, 112, 3), 20 + 10 * shade, np.uint8)).save(file, "JPEG")
            path.write_bytes(file.getvalue())
        return tmp_path / "frames"

    return pictures


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "curated"
    folder.mkdir()
    return folder
