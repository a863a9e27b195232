"""Releases that several tests read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.synth import ReleaseSummary, write_release

Rows = list[list[str]]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReleaseSummary]:
    """The labels of a large release, and what was said of them."""
    out = tmp_path_factory.mktemp("large")
    return out, write_release(out, size="large", labels_only=True)


@pytest.fixture(scope="session")
def large_labels(large: tuple[Path, ReleaseSummary]) -> Path:
    return large[0]


@pytest.fixture(scope="session")
def rows() -> Callable[[Path], Rows]:
    """Reads the rows of an annotation file below its header."""

    def read(path: Path) -> Rows:
        return [line.split(",") for line in path.read_text().splitlines()[1:]]

    return read
