"""Counts of a split before and after curation, with those of table 2 of https://arxiv.org/abs/2407.12390.

A policy that keeps no or few rows is refused or warned of, with the number of rows that the other one keeps.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import numpy as np
import pyarrow.compute as pc

from abawkit.choices import Policy, Repeats, Split
from abawkit.curation.rules import REASONS, RepeatedRows, find_reasons, get_reason_bit
from abawkit.errors import DataError, DataWarning, format_count
from abawkit.labels import EXPRESSIONS, TASKS, Task
from abawkit.tables import Annotations, Array

MIN_KEPT: Final = 0.25
"""Kept share of a split's rows below which there is a warning. Strict curation keeps .37 of the official release."""

SPLIT_WORDS: Final[Mapping[Split, str]] = {"train": "training", "validation": "validation"}

_TASK_WORDS: Final[Mapping[Task, str]] = {
    "va": "valence and arousal",
    "expression": "an expression",
    "au": "all action units",
}


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split.

    Attributes:
        rows: Rows of the file.
        repeated: Rows whose image is in a row before.
        conflicting: Images whose rows have different labels.
        videos: Videos.
        valid: Rows with valid ``va``, ``expression``, ``au``, ``all`` of them, ``any`` of them.
        va_partial: Rows with just one of valence and arousal.
        au_partial: Rows with some, but not all, action units.
        kept: Rows that the policy keeps.
        kept_by: Rows that each policy would keep, before missing frames are dropped.
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
    kept_by: dict[Policy, int]
    expressions: list[int]
    expressions_kept: list[int]
    action_units: list[int]
    action_units_kept: list[int]
    reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def count_split(annotations: Annotations, repeated: RepeatedRows, reasons: Array, repeats: Repeats) -> SplitCounts:
    """Counts a split whose rows are dropped for `reasons`: bits of `REASONS`, 0 where a row is kept."""
    a = annotations
    kept = reasons == 0
    per_reason = {reason: int(((reasons & get_reason_bit(reason)) != 0).sum()) for reason in REASONS}
    return SplitCounts(
        rows=len(a),
        repeated=int(repeated.later.sum()),
        conflicting=int((repeated.conflicting & ~repeated.later).sum()),
        videos=len(pc.unique(a.videos)),
        valid={
            **{task: int(mask.sum()) for task, mask in a.valid.items()},
            "all": int(a.all_valid.sum()),
            "any": int(a.any_valid.sum()),
        },
        va_partial=int(a.va_partial.sum()),
        au_partial=int(a.au_partial.sum()),
        kept=int(kept.sum()),
        kept_by={
            policy: int((find_reasons(annotations, repeated, policy, repeats) == 0).sum())
            for policy in get_args(Policy)
        },
        expressions=_count_expressions(a.expression[a.expression_valid]),
        expressions_kept=_count_expressions(a.expression[a.expression_valid & kept]),
        action_units=a.au[a.au_valid].sum(axis=0, dtype=np.int64).tolist(),
        action_units_kept=a.au[a.au_valid & kept].sum(axis=0, dtype=np.int64).tolist(),
        reasons={reason: rows for reason, rows in per_reason.items() if rows},
    )


def check_kept(splits: Mapping[Split, SplitCounts], policy: Policy, tasks: Collection[Task] = TASKS) -> None:
    """Refuses a curation that keeps no row of a split, and warns of one that keeps few or lacks a task.

    Args:
        splits: Counts of each split.
        policy: The policy that was applied.
        tasks: The tasks that the sources have columns for; a warning names those of them without labels.

    Raises:
        DataError: If no row of a split is kept. A `DataWarning` names a split of which less than `MIN_KEPT` is.
    """
    empty = {split: counts for split, counts in splits.items() if not counts.kept}
    if empty:
        raise DataError(
            "\n".join(
                [*(_describe_kept(*item, policy) for item in empty.items()), _describe_advice_kept(splits, policy)]
            )
        )
    for split, counts in splits.items():
        if counts.kept < MIN_KEPT * counts.rows:
            warn_of_counts(f"{_describe_kept(split, counts, policy)}; {_describe_other_policies(splits, policy)}")
        for task in tasks:
            if not counts.valid[task]:
                use = "be trained on" if split == "train" else "be validated on"
                warn_of_counts(
                    f"no {SPLIT_WORDS[split]} row is annotated with {_TASK_WORDS[task]}: this set can't {use} it"
                )


def warn_of_counts(text: str) -> None:
    """Gives a `DataWarning` at the line that called curation."""
    warnings.warn(text, DataWarning, stacklevel=4)


def _describe_kept(split: Split, counts: SplitCounts, policy: Policy) -> str:
    """How many rows a policy keeps, and why not more."""
    share = f" ({counts.kept / counts.rows:.1%}, less than {MIN_KEPT:.0%})" if counts.kept else ""
    rows = format_count(counts.rows, f"{SPLIT_WORDS[split]} row")
    absent = [words for task, words in _TASK_WORDS.items() if not counts.valid[task]]
    needed = "any task" if policy == "per-task" else "all three tasks"
    if policy == "strict" and absent:
        why = f"none is annotated with {' or '.join(absent)}"
    elif not counts.valid["any" if policy == "per-task" else "all"]:
        why = f"none is annotated with {needed}"
    else:
        each = ", ".join(f"{counts.valid[task]:,} with {words}" for task, words in _TASK_WORDS.items())
        why = f"{counts.valid['any' if policy == 'per-task' else 'all']:,} are annotated with {needed} ({each})"
    return f"--policy {policy} keeps {counts.kept:,} of {rows}{share}: {why}"


def _describe_other_policies(splits: Mapping[Split, SplitCounts], policy: Policy) -> str:
    """What each other policy keeps."""
    return "; ".join(
        f"--policy {other} keeps "
        + " and ".join(format_count(c.kept_by[other], f"{SPLIT_WORDS[s]} row") for s, c in splits.items())
        for other in get_args(Policy)
        if other != policy
    )


def _describe_advice_kept(splits: Mapping[Split, SplitCounts], policy: Policy) -> str:
    """The next step where nothing is kept: another policy, if one keeps rows of every split."""
    better = [p for p in get_args(Policy) if all(counts.kept_by[p] for counts in splits.values())]
    if better and policy not in better:
        return f"nothing was written; {_describe_other_policies(splits, policy)}"
    return "nothing was written; check that these are the annotations, and that their frames are there"


def _count_expressions(expression: Array) -> list[int]:
    counts: list[int] = np.bincount(expression, minlength=len(EXPRESSIONS)).tolist()
    return counts
