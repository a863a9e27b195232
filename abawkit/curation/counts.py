"""What a split holds before and after curation: the figures of table 2 of https://arxiv.org/abs/2407.12390 and more."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from abawkit.curation.rules import REASONS, RepeatedRows, reason_bit
from abawkit.labels import EXPRESSIONS
from abawkit.tables import Annotations, Array


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split.

    Attributes:
        rows: Rows of the file.
        repeated: Rows whose image stood in a row before.
        conflicting: Images whose rows have different labels.
        videos: Videos.
        valid: Rows with valid ``va``, ``expression``, ``au``, ``all`` of them, ``any`` of them.
        va_partial: Rows with just one of valence and arousal.
        au_partial: Rows with some, but not all, action units.
        kept: Rows that the policy keeps.
        expressions: Rows of each class, all valid ones.
        expressions_kept: Rows of each class among those kept.
        action_units: Rows with each unit active, all valid ones.
        action_units_kept: Rows with each unit active among those kept.
        reasons: Rows dropped, by reason; a row can have several.
    """

    rows: int
    repeated: int
    conflicting: int
    videos: int
    valid: dict[str, int]
    va_partial: int
    au_partial: int
    kept: int
    expressions: list[int]
    expressions_kept: list[int]
    action_units: list[int]
    action_units_kept: list[int]
    reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def count(annotations: Annotations, repeated: RepeatedRows, reasons: Array) -> SplitCounts:
    """Counts a split.

    Args:
        annotations: The split.
        repeated: Its repeated rows.
        reasons: Why each row is dropped (bits of `REASONS`), 0 where it is kept.
    """
    a = annotations
    kept = reasons == 0
    per_reason = {reason: int(((reasons & reason_bit(reason)) != 0).sum()) for reason in REASONS}
    return SplitCounts(
        rows=len(a),
        repeated=int(repeated.later.sum()),
        conflicting=int((repeated.conflicting & ~repeated.later).sum()),
        videos=len(pc.unique(a.videos)),
        valid={
            "va": int(a.va_valid.sum()),
            "expression": int(a.expression_valid.sum()),
            "au": int(a.au_valid.sum()),
            "all": int(a.all_valid.sum()),
            "any": int(a.any_valid.sum()),
        },
        va_partial=int(a.va_partial.sum()),
        au_partial=int(a.au_partial.sum()),
        kept=int(kept.sum()),
        expressions=_classes(a.expression[a.expression_valid]),
        expressions_kept=_classes(a.expression[a.expression_valid & kept]),
        action_units=a.au[a.au_valid].sum(axis=0, dtype=np.int64).tolist(),
        action_units_kept=a.au[a.au_valid & kept].sum(axis=0, dtype=np.int64).tolist(),
        reasons={reason: rows for reason, rows in per_reason.items() if rows},
    )


def _classes(expression: Array) -> list[int]:
    counts: list[int] = np.bincount(expression, minlength=len(EXPRESSIONS)).tolist()
    return counts
