"""Releases that several tests read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.synth import write_release

Rows = list[list[str]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    write_release(out, size="tiny", workers=2)
    return out


@pytest.fixture(scope="session")
def large_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("large")
    write_release(out, size="large", labels_only=True)
    return out


@pytest.fixture(scope="session")
def rows() -> Callable[[Path], Rows]:
    """Reads the rows of an annotation file below its header."""

    def read(path: Path) -> Rows:
        return [line.split(",") for line in path.read_text().splitlines()[1:]]

    return read
