from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.features.store import FeatureStore
from abawkit.features.store_writer import StoreWriter
from abawkit.tables import Array

NAMES = ["b/00002.jpg", "b/00001.jpg", "a/00007.jpg", "b/00001.jpg", "a/00008.jpg"]
"""Five rows of four images: one is repeated."""

Begin = Callable[..., StoreWriter]


def make_values(rows: int, dimension: int = 3) -> Array:
    return np.arange(rows * dimension, dtype=np.float32).reshape(rows, dimension) / 8


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    def make(names: list[str] = NAMES, dimension: int = 3, **changes: Any) -> StoreWriter:
        notes: dict[str, Any] = {"source": {"kind": "test"}, "frames": {}, "preprocessing": {}, "versions": {}}
        return StoreWriter(tmp_path / "out", names, dimension, **{**notes, **changes})

    return make


@pytest.fixture
def store(begin: Begin) -> FeatureStore:
    writer = begin(dtype="float32", mirrored=True)
    writer.append(make_values(5), -make_values(5))
    return writer.finish()
