"""Annotated videos, and networks that see them more or less well."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.tables import Annotations, Array


def annotate(images: list[str], **columns: Array) -> Annotations:
    """Rows in which a task is annotated where it is given; any column of `Annotations` can be given."""
    n = len(images)
    everything: dict[str, Any] = {
        "lines": np.arange(n, dtype=np.int64) + 2,
        "va": np.zeros((n, 2)),
        "expression": np.zeros(n, dtype=np.int8),
        "au": np.zeros((n, 12), dtype=np.int8),
        **{f"{task}_valid": np.full(n, task in columns) for task in ("va", "expression", "au")},
        **{f"{task}_partial": np.zeros(n, dtype=bool) for task in ("va", "au")},
    }
    return Annotations(images=pa.array(images, pa.string()), **{**everything, **columns})


@pytest.fixture
def rows() -> Callable[..., Annotations]:
    return annotate
