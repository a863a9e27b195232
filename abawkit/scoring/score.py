"""P = mean CCC of valence and arousal + mean F1 of the 8 expressions + mean F1 of the 12 action units.

Source: https://arxiv.org/abs/2407.03835, section 4. No official scorer is public.
"""

import warnings
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning
from abawkit.labels import ACTION_UNITS, EXPRESSIONS
from abawkit.metrics import ccc, f1_per_class, f1_per_unit
from abawkit.tables import Annotations, Array, Submission

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)


@dataclass(frozen=True)
class Score:
    """A score and what it is made of.

    Attributes:
        protocol: ``official``: each task on the rows where it is annotated. ``strict``: all tasks on the rows where
            every task is, as in the tables of https://arxiv.org/abs/2407.12390.
        rows: Rows on which at least one task was scored.
        ccc_valence: In [-1, 1].
        ccc_arousal: In [-1, 1].
        ccc_va: Mean of the two.
        expression_f1: Mean over all eight classes, those without truth and prediction counted as 0.
        au_f1: Mean over all twelve units, likewise.
        score: The sum of the last three, in [-1, 3].
        expression_f1_per_class: Eight values in [0, 1].
        au_f1_per_unit: Twelve values in [0, 1].
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def score(truth: Annotations, submission: Submission, protocol: Protocol = "official") -> Score:
    """Scores decisions against annotations.

    Args:
        truth: The annotations.
        submission: One row for each row of `truth`, in its order; rows are joined by row, never by image name.
        protocol: Which rows count.

    Raises:
        DataError: If the rows of the two are not the same, or if no row counts.

    Warns:
        DataWarning: If a task has no annotated row, an expression or a unit no truth, or an answer does not vary.
    """
    if not truth.images.equals(submission.images):
        raise DataError("the submission's rows are not those of the annotations; abawkit check names each difference")
    everywhere = truth.all_valid if protocol == "strict" else np.ones(len(truth), dtype=bool)
    masks = {
        "va": truth.va_valid & everywhere,
        "expression": truth.expression_valid & everywhere,
        "au": truth.au_valid & everywhere,
    }
    rows = int(np.logical_or.reduce(list(masks.values())).sum())
    if not rows:
        raise DataError(f"no row counts under the {protocol} protocol: no annotation is valid; nothing to score")
    _warn(truth, submission, masks)
    va, expression, au = masks["va"], masks["expression"], masks["au"]
    valence, arousal = (ccc(truth.va[va, i], submission.va[va, i]) for i in range(2))
    per_class = f1_per_class(truth.expression[expression], submission.expression[expression], len(EXPRESSIONS))
    per_unit = f1_per_unit(truth.au[au], submission.au[au])
    parts = (valence + arousal) / 2, float(per_class.mean()), float(per_unit.mean())
    return Score(
        protocol=protocol,
        rows=rows,
        ccc_valence=valence,
        ccc_arousal=arousal,
        ccc_va=parts[0],
        expression_f1=parts[1],
        au_f1=parts[2],
        score=sum(parts),
        expression_f1_per_class=per_class.tolist(),
        au_f1_per_unit=per_unit.tolist(),
    )


def _warn(truth: Annotations, submission: Submission, masks: dict[str, Array]) -> None:
    """Warns of everything that makes a part of the score 0 whatever the networks do."""
    found = [f"no annotated row for {task}; it scores 0" for task, mask in masks.items() if not mask.any()]
    va, expression, au = masks["va"], masks["expression"], masks["au"]
    for i, name in enumerate(("valence", "arousal")):
        for whose, values in (("annotated", truth.va[va, i]), ("predicted", submission.va[va, i])):
            if values.size and np.ptp(values) == 0:
                found.append(f"{name} as {whose} is constant; its CCC is 0")
    if expression.any():
        counts = np.bincount(truth.expression[expression], minlength=len(EXPRESSIONS))
        absent = [name for name, count in zip(EXPRESSIONS, counts, strict=True) if not count]
        if absent:
            found.append(f"no annotated {', '.join(absent)}; F1 0 each, and the mean is over eight all the same")
    if au.any():
        idle = [name for name, active in zip(ACTION_UNITS, np.any(truth.au[au], axis=0), strict=True) if not active]
        if idle:
            found.append(f"never active: {', '.join(idle)}; F1 0 each, and the mean is over twelve all the same")
    for text in found:
        warnings.warn(text, DataWarning, stacklevel=3)
