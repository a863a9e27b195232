from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.tables import Annotations, Submission


def make_truth(count: int = 8, **columns: Any) -> Annotations:
    """Annotations in which everything is valid, every class and unit occurs, and nothing is constant."""
    names = columns.pop("images", [f"v/{row}.jpg" for row in range(count)])
    usual: dict[str, Any] = {
        "va": np.column_stack([np.linspace(-0.5, 0.5, count), np.linspace(0.7, -0.7, count)]),
        "expression": (np.arange(count) % 8).astype(np.int8),
        "au": (np.arange(count)[:, None] % 2 == np.arange(12) % 2).astype(np.int8),
        **{name: np.ones(count, bool) for name in ("va_valid", "expression_valid", "au_valid")},
        **{name: np.zeros(count, bool) for name in ("va_partial", "au_partial")},
    }
    return Annotations(images=pa.array(names, pa.string()), lines=np.arange(count) + 2, **usual | columns)


def make_answer(truth: Annotations, **columns: Any) -> Submission:
    """A perfect answer, but for the columns given."""
    usual: dict[str, Any] = {"images": truth.images, "va": truth.va, "expression": truth.expression, "au": truth.au}
    return Submission(**usual | columns)


@pytest.fixture
def truth() -> Callable[..., Annotations]:
    return make_truth


@pytest.fixture
def answer() -> Callable[..., Submission]:
    return make_answer
