"""The weighted mean of members: what an ensemble of stored probabilities says."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from abawkit.errors import DataError, printable
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.columns import assembled
from abawkit.postprocessing.members import StoredMember
from abawkit.tables import Array, Predictions

Weights = Mapping[Task, Mapping[str, float]]
"""For each task the weight of each member that knows it, by its key."""

NO_WEIGHTS: Final[Weights] = {}
"""The mean."""


def combined(
    members: Sequence[StoredMember], weights: Weights = NO_WEIGHTS, tasks: Sequence[Task] = TASKS
) -> Predictions:
    """Adds up what members say, each task over the members that know it.

    An ensemble of one is that one, and the order of the members is irrelevant, both bit for bit.

    Args:
        members: Members of one list.
        weights: Not negative; they need not sum to 1. A task without an entry takes the mean.
        tasks: The tasks that are asked for; the columns of others are neutral.

    Returns:
        float32 columns.

    Raises:
        DataError: If no member knows a task that is asked for, or the weights of a task are not those of the members
            that know it.
    """
    columns = {}
    for task in tasks:
        knowing = knowing_members(members, task)
        if not knowing:
            raise DataError(f"no member knows {task}; add one that does")
        each = _weights(knowing, task, weights[task]) if task in weights else np.ones(len(knowing))
        total = sum(w * getattr(m.predictions, task).astype(np.float64) for m, w in zip(knowing, each, strict=True))
        columns[task] = (total / each.sum()).astype(np.float32)
    return assembled(members[0].predictions.images, columns)


def knowing_members(members: Sequence[StoredMember], task: Task) -> list[StoredMember]:
    """The members that know a task, in the order of their digests: sums in this order have the same bits."""
    return sorted((member for member in members if task in member.tasks), key=lambda member: member.digest)


def known_tasks(members: Sequence[StoredMember]) -> tuple[Task, ...]:
    """The tasks that at least one member knows."""
    return tuple(task for task in TASKS if any(task in member.tasks for member in members))


def _weights(knowing: Sequence[StoredMember], task: Task, given: Mapping[str, float]) -> Array:
    paths = {member.key: str(member.path) for member in knowing}
    missing = [f"{key} ({paths[key]})" for key in sorted(set(paths) - set(given))]
    parts = {"has no weight for": missing, "weighs what is no member:": sorted(set(given) - set(paths))}
    wrong = [f"{words} {', '.join(map(printable, found))}" for words, found in parts.items() if found]
    if wrong:
        raise DataError(
            f"the rule for {task} {' and '.join(wrong)}; a rule fits the members that it was made for: the same "
            "networks, or files of the same names where no manifest lies beside them"
        )
    weights = np.array([given[member.key] for member in knowing], dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise DataError(f"got the weights {weights.tolist()} for {task}, expected none negative and one above 0")
    return weights
