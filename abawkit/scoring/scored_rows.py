"""Which rows of a truth count for each task."""

import warnings
from collections.abc import Collection

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning
from abawkit.labels import TASKS, Task
from abawkit.tables import Annotations, Array, Submission


def select_scored_rows(truth: Annotations, protocol: Protocol = "official") -> dict[Task, Array]:
    """The rows on which each task is scored.

    Args:
        truth: The annotations.
        protocol: Which rows count.

    Returns:
        For each task a mask of rows, bool, shape (n,).
    """
    everywhere = truth.all_valid if protocol == "strict" else np.ones(len(truth), dtype=bool)
    return {task: mask & everywhere for task, mask in truth.valid.items()}


def select_answered_rows(truth: Annotations, submission: Submission, protocol: Protocol) -> dict[Task, Array]:
    """The rows on which each task of a submission is scored, bool, shape (n,) each.

    Raises:
        DataError: If the rows of the two are not the same, if no row counts, or if the submission holds no task.
    """
    if not truth.images.equals(submission.images):
        raise DataError("the submission's rows are not those of the annotations; abawkit check names each difference")
    masks = {task: mask for task, mask in select_scored_rows(truth, protocol).items() if task in submission.tasks}
    if not masks:
        raise DataError(
            "the submission holds no task of the annotations; compound expressions have a truth of their own"
        )
    if not any(mask.any() for mask in masks.values()):
        raise DataError(f"no row counts under the {protocol} protocol: no annotation is valid; nothing to score")
    return masks


def warn_of_unannotated(truth: Annotations, tasks: Collection[Task], protocol: Protocol = "official") -> None:
    """Warns of scored tasks without an annotated row: their part of every score is 0, whatever was predicted."""
    rows = select_scored_rows(truth, protocol)
    if any(mask.any() for mask in rows.values()):  # else nothing can be scored, which is an error of its own
        for task in (task for task in TASKS if task in tasks and not rows[task].any()):
            warnings.warn(f"no annotated row for {task}; it scores 0", DataWarning, stacklevel=3)
