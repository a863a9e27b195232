"""P = mean CCC of valence and arousal + mean F1 of the 8 expressions + mean F1 of the 12 action units.

Of a submission that holds one task alone, P is that task's part, which is the measure of the single-task tracks; that
of compound expressions is the mean F1 of the 7 classes.

Source: https://arxiv.org/abs/2407.03835, section 4; of the single-task tracks, https://arxiv.org/abs/2303.01498. No
official scorer is public.
"""

import warnings
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning
from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, EXPRESSIONS, TASKS, Answer, Task
from abawkit.scoring.metrics import ccc, f1_per_class, f1_per_unit
from abawkit.scoring.scored_rows import select_answered_rows
from abawkit.tables import Annotations, Array, Submission

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from abawkit.scoring.details import Details
    from abawkit.scoring.forecast import Forecast

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)


@dataclass(frozen=True)
class Score:
    """A score and what it is made of.

    Attributes:
        protocol: ``official``: each task on the rows where it is annotated. ``strict``: all tasks on the rows where
            every task is, as in the tables of https://arxiv.org/abs/2407.12390.
        rows: Rows on which at least one task was scored.
        ccc_valence: In [-1, 1]; 0 where it is not scored, as in all that follow.
        ccc_arousal: In [-1, 1].
        ccc_va: Mean of the two.
        expression_f1: Mean over all eight classes, those without truth and prediction counted as 0.
        au_f1: Mean over all twelve units, likewise.
        score: The sum of the parts that are scored; of all three tasks in [-1, 3].
        expression_f1_per_class: Eight values in [0, 1].
        au_f1_per_unit: Twelve values in [0, 1].
        tasks: What is scored: what the submission holds.
        compound_f1: Mean over all seven compound expressions, likewise.
        compound_f1_per_class: Seven values in [0, 1]; empty where they are not scored.
        forecast: Where a test of other videos is expected to score, if it was requested.
        details: The measures that are usual beside these, if they were requested.
        other: The score of the same answers under the other protocol, if it was requested and has a row.
    """

    protocol: Protocol
    rows: int
    ccc_valence: float
    ccc_arousal: float
    ccc_va: float
    expression_f1: float
    au_f1: float
    score: float
    expression_f1_per_class: list[float]
    au_f1_per_unit: list[float]
    tasks: tuple[Answer, ...] = TASKS
    compound_f1: float = 0.0
    compound_f1_per_class: list[float] = field(default_factory=list)
    forecast: "Forecast | None" = None
    details: "Details | None" = None
    other: "Score | None" = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of the multi-task score, for the records of runs: `Score(**...)` of it is the score again."""
        later = ("compound_f1", "compound_f1_per_class", "forecast", "details", "other")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in later}

    def report(self) -> dict[str, Any]:
        """For JSON: all fields, None for what is not scored; the compound expressions only where they are.

        What has a value for each class or unit is an object with their names.
        """
        content = self.as_dict()
        content["expression_f1_per_class"] = dict(zip(EXPRESSIONS, self.expression_f1_per_class, strict=True))
        content["au_f1_per_unit"] = dict(zip(ACTION_UNITS, self.au_f1_per_unit, strict=True))
        for task, names in _TASK_FIELDS.items():
            if task not in self.tasks:
                content |= dict.fromkeys(names)
        if "compound" in self.tasks:
            named = dict(zip(COMPOUND_EXPRESSIONS, self.compound_f1_per_class, strict=True))
            content |= {"compound_f1": self.compound_f1, "compound_f1_per_class": named}
        return {**content, "tasks": list(self.tasks)}

    def to_frame(self) -> "pd.DataFrame":
        """A table, for notebooks: a row for each measure that is scored, by the name of its attribute.

        Returns:
            A column with the values, called as the protocol; with a forecast ``low`` and ``high``, its ends; and the
            values under the other protocol, where there are any.
        """
        import pandas as pd

        values = self.report()
        rows = [
            name
            for name in ("ccc_valence", "ccc_arousal", "ccc_va", "expression_f1", "au_f1", "compound_f1", "score")
            if values.get(name) is not None
        ]
        columns: dict[str, list[float | None]] = {self.protocol: [values[name] for name in rows]}
        if self.forecast:
            found = [self.forecast.parts.get(name) for name in rows]
            columns["low"] = [each.low if each else None for each in found]
            columns["high"] = [each.high if each else None for each in found]
        if self.other:
            columns[self.other.protocol] = [getattr(self.other, name) for name in rows]
        return pd.DataFrame(columns, index=rows)

    def to_figure(self) -> "Figure":
        """A figure of matplotlib, without pyplot: the parts, with ranges of a forecast, and F1 of classes and units."""
        from abawkit.scoring.figures import draw_panels

        parts = self.to_frame()[self.protocol].drop("score")
        expected = self.forecast.parts.items() if self.forecast else ()
        ranges = {name: (each.low, each.high) for name, each in expected}
        panels = {"Parts of the score": {str(name): float(value) for name, value in parts.items()}}
        for task, title, names, values in (
            ("expression", "F1 of expressions", EXPRESSIONS, self.expression_f1_per_class),
            ("au", "F1 of action units", ACTION_UNITS, self.au_f1_per_unit),
            ("compound", "F1 of compound expressions", COMPOUND_EXPRESSIONS, self.compound_f1_per_class),
        ):
            if task in self.tasks:
                panels[title] = dict(zip(names, values, strict=True))
        return draw_panels(f"Score {self.score:.4f}, {self.protocol} protocol, {self.rows:,} rows", panels, ranges)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        return str(self.to_frame().to_html(float_format="{:.4f}".format, na_rep=""))


_TASK_FIELDS: Final[dict[Task, tuple[str, ...]]] = {
    "va": ("ccc_valence", "ccc_arousal", "ccc_va"),
    "expression": ("expression_f1", "expression_f1_per_class"),
    "au": ("au_f1", "au_f1_per_unit"),
}


def score(truth: Annotations, submission: Submission, protocol: Protocol = "official") -> Score:
    """Scores decisions against annotations.

    Args:
        truth: The annotations.
        submission: One row for each row of `truth`, in its order; rows are joined by row, never by image name. Only the
            tasks that it holds are scored.
        protocol: Which rows count; a submission of one task is scored by ``strict`` on the rows where all three are
            annotated.

    Raises:
        DataError: If the rows of the two are not the same, if no row counts, or if the submission holds no task.

    Warns:
        DataWarning: If a task has no annotated row, an expression or a unit no truth, or an answer does not vary.
    """
    masks = select_answered_rows(truth, submission, protocol)
    _warn_of_zero_parts(truth, submission, masks)
    nowhere = np.zeros(len(truth), dtype=bool)
    va, expression, au = (masks.get(task, nowhere) for task in TASKS)
    valence, arousal = (ccc(truth.va[va, i], submission.va[va, i]) for i in range(2))
    per_class = f1_per_class(truth.expression[expression], submission.expression[expression], len(EXPRESSIONS))
    per_unit = f1_per_unit(truth.au[au], submission.au[au])
    parts = (valence + arousal) / 2, float(per_class.mean()), float(per_unit.mean())
    return Score(
        protocol=protocol,
        rows=int(np.logical_or.reduce(list(masks.values())).sum()),
        ccc_valence=valence,
        ccc_arousal=arousal,
        ccc_va=parts[0],
        expression_f1=parts[1],
        au_f1=parts[2],
        score=sum(parts),
        expression_f1_per_class=per_class.tolist(),
        au_f1_per_unit=per_unit.tolist(),
        tasks=tuple(masks),
    )


def score_compound(truth: Submission, submission: Submission) -> Score:
    """Scores compound expressions: the mean F1 of the seven classes, 0 for one that neither truth nor submission has.

    Source: the second track of the 7th ABAW competition, https://arxiv.org/abs/2407.03835, section 4.

    Args:
        truth: The right answers.
        submission: One row for each row of `truth`, in its order.

    Returns:
        A score of ``compound`` alone; every row counts under either protocol.

    Raises:
        DataError: If the rows of the two are not the same, or if one of them holds no compound expressions.

    Warns:
        DataWarning: If a class is in no row of the truth.
    """
    if not truth.images.equals(submission.images):
        raise DataError("the submission's rows are not those of the truth; abawkit check names each difference")
    if truth.compound is None or submission.compound is None:
        raise DataError("no compound expressions to score; give two files of a format that holds them")
    counts = np.bincount(truth.compound, minlength=len(COMPOUND_EXPRESSIONS))
    absent = [name for name, count in zip(COMPOUND_EXPRESSIONS, counts, strict=True) if not count]
    if absent:
        text = f"no {', '.join(absent)} in the truth; their F1 is 0, and the mean is still over seven"
        warnings.warn(text, DataWarning, stacklevel=2)
    per_class = f1_per_class(truth.compound, submission.compound, len(COMPOUND_EXPRESSIONS))
    unscored: dict[str, Any] = dict.fromkeys(("ccc_valence", "ccc_arousal", "ccc_va", "expression_f1", "au_f1"), 0.0)
    return Score(
        protocol="official",
        rows=len(truth),
        **unscored,
        score=float(per_class.mean()),
        expression_f1_per_class=[0.0] * len(EXPRESSIONS),
        au_f1_per_unit=[0.0] * len(ACTION_UNITS),
        tasks=("compound",),
        compound_f1=float(per_class.mean()),
        compound_f1_per_class=per_class.tolist(),
    )


def _warn_of_zero_parts(truth: Annotations, submission: Submission, masks: dict[Task, Array]) -> None:
    """Warns of everything that makes a part of the score 0, whatever was predicted."""
    found = [f"no annotated row for {task}; it scores 0" for task, mask in masks.items() if not mask.any()]
    nowhere = np.zeros(len(truth), dtype=bool)
    va, expression, au = (masks.get(task, nowhere) for task in TASKS)
    for i, name in enumerate(("valence", "arousal")):
        for whose, values in (("annotated", truth.va[va, i]), ("predicted", submission.va[va, i])):
            if values.size and np.ptp(values) == 0:
                found.append(f"{name} as {whose} is constant; its CCC is 0")
    if expression.any():
        counts = np.bincount(truth.expression[expression], minlength=len(EXPRESSIONS))
        absent = [name for name, count in zip(EXPRESSIONS, counts, strict=True) if not count]
        if absent:
            found.append(f"no annotated {', '.join(absent)}; their F1 is 0, and the mean is still over eight")
    if au.any():
        idle = [name for name, active in zip(ACTION_UNITS, np.any(truth.au[au], axis=0), strict=True) if not active]
        if idle:
            found.append(f"never active: {', '.join(idle)}; their F1 is 0, and the mean is still over twelve")
    for text in found:
        warnings.warn(text, DataWarning, stacklevel=3)
