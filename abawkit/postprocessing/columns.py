"""The columns of stored probabilities, and what stands for those that a system does not have."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, VA_MAX, VA_MIN, Task
from abawkit.tables import Array, Predictions

COLUMNS: Final[Mapping[Task, tuple[str, ...]]] = {"va": DIMENSIONS, "expression": EXPRESSIONS, "au": ACTION_UNITS}
"""The columns of each task's array, in order."""

NEUTRAL: Final[Mapping[Task, float]] = {"va": 0.0, "expression": 1 / len(EXPRESSIONS), "au": 0.5}
"""What fills the columns of a task of which nothing is known."""

RANGES: Final[Mapping[Task, tuple[float, float]]] = {"va": (VA_MIN, VA_MAX), "expression": (0.0, 1.0), "au": (0.0, 1.0)}
"""The least and the greatest value of each task's columns."""


class Cells(NamedTuple):
    """What a file holds, before its values are checked.

    Attributes:
        images: Image names, n.
        columns: Of each task that it holds, in the order of `COLUMNS`, any floating-point type, shape (n, c).
        listed: The digest of the list that it names; None where it names none.
        first_line: Line of the first row, counted from 1; 0 in a file without lines.
    """

    images: Sequence[str]
    columns: Mapping[Task, Array]
    listed: str | None = None
    first_line: int = 0


def assembled(images: pa.StringArray, columns: Mapping[Task, Array]) -> Predictions:
    """Predictions of these columns, float32, with `NEUTRAL` ones for the tasks that are absent."""
    filled = {
        task: columns[task] if task in columns else np.full((len(images), len(names)), NEUTRAL[task], np.float32)
        for task, names in COLUMNS.items()
    }
    return Predictions(images, **filled)
