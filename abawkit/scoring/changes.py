"""How two submissions of one list differ: rows, videos, classes and action units."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from abawkit.errors import DataError, printable
from abawkit.frame_columns import find_first_difference
from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, DIMENSIONS, EXPRESSIONS, TASKS, Answer
from abawkit.scoring.bootstrap import number_videos
from abawkit.tables import Array, Submission

ANSWERS: tuple[Answer, ...] = (*TASKS, "compound")


@dataclass(frozen=True)
class ValueChange:
    """How valence or arousal differ.

    Attributes:
        rows: Rows in which they differ at all.
        mean: Mean absolute difference over all rows, in [0, 2].
        largest: Largest absolute difference, in [0, 2].
        correlation: Pearson's, over all rows; None where either does not vary.
    """

    rows: int
    mean: float
    largest: float
    correlation: float | None


@dataclass(frozen=True)
class ClassChange:
    """How decisions for one of several classes differ.

    Attributes:
        rows: Rows in which they differ.
        pairs: Class in the first, class in the second, and rows that went that way; the most rows first.
    """

    rows: int
    pairs: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class UnitChange:
    """How decisions for one action unit differ.

    Attributes:
        on: Rows in which it is active in the second alone.
        off: Rows in which it is active in the first alone.
    """

    on: int
    off: int


@dataclass(frozen=True)
class Changes:
    """How a second submission differs from a first one.

    Attributes:
        rows: Rows of the list.
        rows_changed: Rows in which anything differs.
        videos: Videos of the list.
        videos_changed: Name, rows that differ and rows of each video in which any does; the most rows that differ
            first.
        values: For valence and arousal; empty where neither is held.
        classes: For ``expression`` and ``compound``, those of them that are held.
        units: For each action unit; empty where none is held.
        rows_by_answer: For each answer that is held, the rows in which it differs.
    """

    rows: int
    rows_changed: int
    videos: int
    videos_changed: tuple[tuple[str, int, int], ...]
    values: dict[str, ValueChange]
    classes: dict[str, ClassChange]
    units: dict[str, UnitChange]
    rows_by_answer: dict[str, int]

    def summarise(self) -> dict[str, float]:
        """How far apart the two are, by answer, of those that are held.

        Returns:
            Under ``va`` the mean absolute difference of valence and arousal, in [0, 2]; under ``expression`` and
            ``compound`` the share of rows, under ``au`` the share of decisions that differ, in [0, 1].
        """
        values, units = list(self.values.values()), list(self.units.values())
        found: dict[str, float] = {}
        if values:
            found["va"] = sum(value.mean for value in values) / len(values)
        found |= {name: change.rows / self.rows for name, change in self.classes.items()}
        if units:
            found["au"] = sum(unit.on + unit.off for unit in units) / (len(units) * self.rows)
        return found

    def describe(self) -> dict[str, str]:
        """`summarise` as headings and cells of a table."""
        headings = {"expression": "other expressions", "compound": "other expressions", "au": "other action units"}
        return {
            headings.get(answer, "V and A apart"): f"{value:.4f}" if answer == "va" else f"{100 * value:.1f} %"
            for answer, value in self.summarise().items()
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = {
            "videos_changed": [{"video": v, "rows_changed": c, "rows": n} for v, c, n in self.videos_changed],
            "classes": {
                name: {"rows": change.rows, "pairs": [{"from": a, "to": b, "rows": n} for a, b, n in change.pairs]}
                for name, change in self.classes.items()
            },
        }
        return asdict(self) | named


def compare_submissions(first: Submission, second: Submission) -> Changes:
    """Compares two submissions row by row.

    Raises:
        DataError: If their rows are not the same, in the same order, or if they do not hold the same answers.
    """
    _refuse_other_list(first, second)
    if set(first.tasks) != set(second.tasks):
        held = [", ".join(answer for answer in ANSWERS if answer in one.tasks) for one in (first, second)]
        raise DataError(f"the first holds {held[0]}, the second {held[1]}; only submissions to one track are compared")
    differs = {answer: _find_differing_rows(first, second, answer) for answer in ANSWERS if answer in first.tasks}
    any_differs = np.logical_or.reduce(list(differs.values()))
    names, codes = number_videos(first.videos)
    in_all = np.bincount(codes, minlength=len(names)).tolist()
    changed = np.bincount(codes[any_differs], minlength=len(names)).tolist()
    videos = [entry for entry in zip(names, changed, in_all, strict=True) if entry[1]]
    classes = {}
    if "expression" in differs:
        classes["expression"] = _compare_classes(first.expression, second.expression, EXPRESSIONS)
    if "compound" in differs and first.compound is not None and second.compound is not None:
        classes["compound"] = _compare_classes(first.compound, second.compound, tuple(COMPOUND_EXPRESSIONS))
    return Changes(
        rows=len(first),
        rows_changed=int(any_differs.sum()),
        videos=len(names),
        videos_changed=tuple(sorted(videos, key=lambda entry: (-entry[1], entry[0]))),
        values={name: _compare_values(first.va[:, i], second.va[:, i]) for i, name in enumerate(DIMENSIONS)}
        if "va" in differs
        else {},
        classes=classes,
        units={
            name: UnitChange(
                on=int((first.au[:, i] < second.au[:, i]).sum()), off=int((first.au[:, i] > second.au[:, i]).sum())
            )
            for i, name in enumerate(ACTION_UNITS)
        }
        if "au" in differs
        else {},
        rows_by_answer={answer: int(mask.sum()) for answer, mask in differs.items()},
    )


def _refuse_other_list(first: Submission, second: Submission) -> None:
    row = find_first_difference(first.images, second.images)
    if row is None:
        return
    found = [f"'{printable(one.images[row].as_py())}'" if row < len(one) else "no row" for one in (first, second)]
    raise DataError(
        f"the two answer different lists: row {row + 1:,} is {found[0]} in the first and {found[1]} in the second; "
        "give submissions for one list"
    )


def _find_differing_rows(first: Submission, second: Submission, answer: Answer) -> Array:
    """True where an answer is not the same, shape (n,)."""
    different: Array = np.asarray(getattr(first, answer) != getattr(second, answer))
    return np.any(different, axis=1) if different.ndim == 2 else different


def _compare_values(first: Array, second: Array) -> ValueChange:
    apart = np.abs(first - second)
    varies = len(apart) > 0 and np.ptp(first) > 0 and np.ptp(second) > 0
    x, y = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return ValueChange(
        rows=int((apart > 0).sum()),
        mean=float(apart.mean()),
        largest=float(apart.max()),
        correlation=float(np.clip(x @ y / scale, -1, 1)) if varies and scale > 0 else None,
    )


def _compare_classes(first: Array, second: Array, names: tuple[str, ...]) -> ClassChange:
    codes = first.astype(np.int64) * len(names) + second
    counts = np.bincount(codes, minlength=len(names) ** 2).reshape(len(names), len(names))
    pairs = [(names[a], names[b], int(counts[a, b])) for a, b in np.argwhere(counts).tolist() if a != b]
    pairs.sort(key=lambda pair: -pair[2])
    return ClassChange(rows=sum(rows for _, _, rows in pairs), pairs=tuple(pairs))
