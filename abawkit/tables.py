"""The tables that the stages exchange: columnar, checked when built, never changed afterwards.

A row's identity is its row number. The image name is not: the official files name some frames twice.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abawkit.frame_columns import find_videos
from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, EXPRESSIONS, TASKS, VA_MAX, VA_MIN, Answer, Task
from abawkit.system.files import sha256

Array = npt.NDArray[Any]

DECIMALS = 6
"""Decimals of valence and arousal in a submission.

No rule was published. Six survive float32: in -1..1 its rounding error is at most 3e-8, so text, float32 and text again
is the identity, while the rounding to 1e-6 is far below what any annotator, network or score can tell apart.
"""


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of equal length, of which the first is the image name.

    Attributes:
        images: Image names as the file has them, Arrow strings, length n.
    """

    images: pa.StringArray

    def __post_init__(self) -> None:
        for name, column in self._columns().items():
            if len(column) != len(self.images):
                raise ValueError(f"{name} has {len(column)} rows, images has {len(self.images)}")
            if isinstance(column, np.ndarray):
                column.setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def videos(self) -> pa.StringArray:
        """The video of each row."""
        return find_videos(self.images)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the image names, one a line: equal for two lists that name the same frames in the same order."""
        return sha256("\n".join(self.images.to_pylist()).encode())

    def select(self, rows: Array) -> Self:
        """The table with these rows alone, given by their numbers or by a mask."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        chosen = {
            name: column[index] if isinstance(column, np.ndarray) else column.take(pa.array(index))
            for name, column in self._columns().items()
        }
        return replace(self, **chosen)

    def _columns(self) -> dict[str, Any]:
        """The fields that have a value for each row."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray | pa.StringArray)}


@dataclass(frozen=True, eq=False)
class FrameList(_Table):
    """The frames that a submission must answer, in order.

    Attributes:
        lines: Line of each row in the file, counted from 1, int64, shape (n,).
        examples: The text behind each name, as the dummy values of some editions' lists: Arrow strings, length n;
            None where it is not known.
    """

    lines: Array
    examples: pa.StringArray | None = None


@dataclass(frozen=True, eq=False)
class VideoList(FrameList):
    """The videos that a submission must answer, where a list names videos and no frames.

    A row is a video, ``images`` its first frame; such a list does not give the number of frames.
    """


class FrameCount(NamedTuple):
    """How many frames a video has.

    Attributes:
        frames: The count, from 1.
        exact: False for a lower bound: the last crop of a video of which some frames have no crop.
    """

    frames: int
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Annotations(_Table):
    """Annotated frames. Where a mask is false, the value is 0 and has no meaning.

    Attributes:
        lines: Line of each row in the file, counted from 1, int64, shape (n,).
        va: Valence and arousal in [-1, 1], float64, shape (n, 2).
        expression: Class index 0..7, int8, shape (n,).
        au: Action units, 0 or 1, int8, shape (n, 12).
        va_valid: True where valence and arousal are both annotated, shape (n,).
        expression_valid: True where the expression is annotated, shape (n,).
        au_valid: True where all twelve action units are annotated, shape (n,).
        va_partial: True where just one of valence and arousal is annotated (VA counts as missing), shape (n,).
        au_partial: True where some, but not all, action units are annotated (AU counts as missing), shape (n,).
    """

    lines: Array
    va: Array
    expression: Array
    au: Array
    va_valid: Array
    expression_valid: Array
    au_valid: Array
    va_partial: Array
    au_partial: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_decisions(self.va, self.expression, self.au)

    @property
    def valid(self) -> dict[Task, Array]:
        """For each task the mask of the rows where it is annotated, shape (n,)."""
        return {"va": self.va_valid, "expression": self.expression_valid, "au": self.au_valid}

    @property
    def all_valid(self) -> Array:
        """True where every task is annotated, shape (n,)."""
        return np.asarray(self.va_valid & self.expression_valid & self.au_valid)

    @property
    def any_valid(self) -> Array:
        """True where at least one task is annotated, shape (n,)."""
        return np.asarray(self.va_valid | self.expression_valid | self.au_valid)


def join_annotations(first: Annotations, second: Annotations) -> Annotations:
    """The rows of one table, and below them those of another."""
    columns = {
        name: pa.concat_arrays([column, other]) if isinstance(column, pa.Array) else np.concatenate([column, other])
        for (name, column), other in zip(first._columns().items(), second._columns().values(), strict=True)
    }
    return Annotations(**columns)


@dataclass(frozen=True, eq=False)
class Predictions(_Table):
    """Probabilities and values that networks predict for each frame.

    Attributes:
        va: Valence and arousal in [-1, 1], float32, shape (n, 2).
        expression: Probabilities of the eight expressions, rows sum to 1, float32, shape (n, 8).
        au: Probability of each action unit, float32, shape (n, 12).
    """

    va: Array
    expression: Array
    au: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = {"va": 2, "expression": len(EXPRESSIONS), "au": len(ACTION_UNITS)}
        for name, width in shapes.items():
            column = getattr(self, name)
            if column.shape != (len(self), width) or column.dtype != np.float32:
                raise ValueError(f"{name}: got {column.dtype} {column.shape}, expected float32 {(len(self), width)}")
            if not np.isfinite(column).all():
                raise ValueError(f"{name}: holds values that are not finite")

    def decide(self) -> "Submission":
        """The decisions that score best without tuning: the likeliest expression, action units from probability 0.5.

        Returns:
            The submission; valence and arousal are rounded to the `DECIMALS` that its file holds.
        """
        return Submission(
            images=self.images,
            va=np.round(np.clip(self.va.astype(np.float64), VA_MIN, VA_MAX), DECIMALS) + 0.0,  # + 0.0: no -0.000000
            expression=self.expression.argmax(axis=1).astype(np.int8),
            au=(self.au >= 0.5).astype(np.int8),
            compound=self._compound(),
        )

    def _compound(self) -> Array:
        """Index of the compound expression whose two expressions have the highest product, int8, shape (n,).

        With independent draws from the eight probabilities, the product is half the chance that two draws are the pair.
        Of equal products the first class is taken.
        """
        p = self.expression.astype(np.float64)
        pairs = [[EXPRESSIONS.index(name) for name in pair] for pair in COMPOUND_EXPRESSIONS.values()]
        together = np.stack([p[:, a] * p[:, b] for a, b in pairs], axis=1)
        return np.asarray(together.argmax(axis=1), dtype=np.int8)


@dataclass(frozen=True, eq=False)
class Submission(_Table):
    """One decision for each row of the list.

    Some editions ask for one task alone. The columns of other tasks are 0 and have no meaning.

    Attributes:
        va: Valence and arousal in [-1, 1], float64, shape (n, 2).
        expression: Class index 0..7, int8, shape (n,).
        au: Action units, 0 or 1, int8, shape (n, 12).
        compound: Index of a compound expression, 0..6, int8, shape (n,); None where it was neither derived nor read.
        tasks: The answers that it has.
    """

    va: Array
    expression: Array
    au: Array
    compound: Array | None = None
    tasks: tuple[Answer, ...] = TASKS

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_decisions(self.va, self.expression, self.au)
        if self.compound is not None and not ((self.compound >= 0) & (self.compound < len(COMPOUND_EXPRESSIONS))).all():
            raise ValueError(f"compound holds values outside 0..{len(COMPOUND_EXPRESSIONS) - 1}")

    @classmethod
    def of(cls, images: pa.StringArray, **columns: Array) -> Self:
        """A submission that holds these columns alone, as ``Submission.of(images, va=va)``."""
        n = len(images)
        nothing: dict[str, Any] = {
            "va": np.zeros((n, 2)),
            "expression": np.zeros(n, dtype=np.int8),
            "au": np.zeros((n, len(ACTION_UNITS)), dtype=np.int8),
        }
        held: Any = tuple(columns)
        return cls(images=images, tasks=held, **(nothing | columns))


def _check_decisions(va: Array, expression: Array, au: Array) -> None:
    """Raises ValueError for a value that no task can have: a bug of the caller, as readers refuse it with its line."""
    if va.shape[1:] != (2,) or au.shape[1:] != (len(ACTION_UNITS),):
        raise ValueError(f"got va {va.shape} and au {au.shape}, expected (n, 2) and (n, {len(ACTION_UNITS)})")
    if not ((va >= VA_MIN) & (va <= VA_MAX)).all():  # false for NaN too
        raise ValueError("va holds values outside [-1, 1]")
    if not ((expression >= 0) & (expression < len(EXPRESSIONS))).all():
        raise ValueError(f"expression holds values outside 0..{len(EXPRESSIONS) - 1}")
    if not ((au == 0) | (au == 1)).all():
        raise ValueError("au holds values other than 0 and 1")
