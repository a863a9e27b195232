"""Labels that differ between frames which are nearly the same, as doubtful labels."""

from collections.abc import Collection

import numpy as np

from abawkit.curation.label_drops import format_label
from abawkit.errors import printable
from abawkit.labels import ACTION_UNITS, DIMENSIONS, Task
from abawkit.review.doubtful_labels import DoubtfulLabel
from abawkit.review.near_duplicates import SAME_MEAN, SimilarRows
from abawkit.tables import Annotations

VA_DIFFERS = 0.2
"""Valence or arousal of nearly equal frames differs if it does by more than this."""


def find_different_labels(truth: Annotations, similar: SimilarRows, tasks: Collection[Task]) -> list[DoubtfulLabel]:
    """Rows of nearly the same frame whose labels differ: both rows of each pair, and of several pairs the most alike.

    The strength is 1 for frames that are equal, and falls to 0 where they are just too different.
    """
    found: dict[tuple[int, Task], DoubtfulLabel] = {}
    for a, b, difference in zip(
        similar.first.tolist(), similar.second.tolist(), similar.difference.tolist(), strict=True
    ):
        strength = 1 - difference / SAME_MEAN
        for task in tasks:
            fields = _find_different_fields(truth, a, b, task)
            for row, other in ((a, b), (b, a)) if fields else ():
                if (row, task) not in found or found[row, task].strength < strength:
                    image = printable(truth.images[other].as_py())
                    found[row, task] = DoubtfulLabel(
                        row,
                        task,
                        format_label(truth, row, task, fields),
                        format_label(truth, other, task, fields),
                        "near-duplicate",
                        strength,
                        f"as {image}, line {truth.lines[other]}; mean difference {difference:.2f} of 255",
                    )
    return list(found.values())


def _find_different_fields(truth: Annotations, a: int, b: int, task: Task) -> list[str]:
    """The fields of a task in which two rows differ; none where one of them is not annotated with it."""
    if not (truth.valid[task][a] and truth.valid[task][b]):
        return []
    if task == "expression":
        return ["expression"] if truth.expression[a] != truth.expression[b] else []
    if task == "au":
        return [ACTION_UNITS[i] for i in np.flatnonzero(truth.au[a] != truth.au[b])]
    return [DIMENSIONS[i] for i in np.flatnonzero(np.abs(truth.va[a] - truth.va[b]) > VA_DIFFERS)]
