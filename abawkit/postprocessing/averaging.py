"""Ensembles of stored probabilities: the weighted mean of the members, or of their logits.

The linear pool of probabilities p_m, with weights w_m that sum to 1, is the sum of w_m p_m. The logarithmic pool is in
proportion to the product of p_m^w_m: the softmax of the mean of log-probabilities, and of an action unit the logistic
function of the mean of logits. It is sharper, as a label needs the support of all members, where the mean keeps what
any of them supports; which of the two scores better depends on the members. Valence and arousal are averaged in either.

Source: C. Genest, J. Zidek, Combining probability distributions: a critique and an annotated bibliography, Statistical
Science 1 (1986) 114-148.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from abawkit.choices import Pooling
from abawkit.errors import DataError, printable
from abawkit.labels import TASKS, Task
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember
from abawkit.tables import Array, Predictions

MemberWeights = Mapping[Task, Mapping[str, float]]
"""For each task the weight of each member that has it, by the member's key."""

NO_WEIGHTS: Final[MemberWeights] = {}
"""The mean."""

Pools = Mapping[Task, Pooling]
"""How expressions and action units are pooled; ``linear`` where a task has no entry."""

LINEAR: Final[Pools] = {}

POOLED: Final[tuple[Task, ...]] = ("expression", "au")
"""The tasks that can be pooled by their logits."""

MIN_PROBABILITY: Final = 1e-6
"""Lowest probability in a logarithm; that of an action unit is at most 1 less this. Else a member whose probability
rounds to 0 or 1 would outvote all others together."""


def average_members(
    members: Sequence[StoredMember],
    weights: MemberWeights = NO_WEIGHTS,
    tasks: Sequence[Task] = TASKS,
    pools: Pools = LINEAR,
) -> Predictions:
    """Pools probabilities, each task over the members that have it.

    An ensemble of one gives that one, and the order of the members makes no difference, both bit for bit.

    Args:
        members: Members of one list.
        weights: Not negative; they need not sum to 1. A task without an entry takes the mean.
        tasks: The requested tasks; the columns of others are neutral.
        pools: How expressions and action units are pooled.

    Returns:
        float32 columns.

    Raises:
        DataError: If no member has a requested task, or the weights of a task are not those of the members with it.
    """
    columns = {}
    for task in tasks:
        knowing = find_knowing_members(members, task)
        if not knowing:
            raise DataError(f"no member knows {task}; add one that does")
        each = _select_weights(knowing, task, weights[task]) if task in weights else np.ones(len(knowing))
        parts = [getattr(member.predictions, task) for member in knowing]
        columns[task] = _pool_logs(task, parts, each) if pools.get(task) == "log" else _pool_linearly(parts, each)
    return assemble(members[0].predictions.images, columns)


def _pool_linearly(parts: Sequence[Array], weights: Array) -> Array:
    total = sum(w * columns.astype(np.float64) for columns, w in zip(parts, weights, strict=True))
    return np.asarray(total / weights.sum(), dtype=np.float32)


def _pool_logs(task: Task, parts: Sequence[Array], weights: Array) -> Array:
    """The logarithmic pool of expressions, (n, 8), or of action units, (n, 12)."""
    if task not in POOLED:
        raise ValueError(f"{task} is averaged linearly; only {', '.join(POOLED)} have logits")
    having = np.flatnonzero(weights)
    if len(having) == 1:
        return parts[int(having[0])]  # as it is: nothing is pooled
    logs = sum(w * take_logs(task, columns) for columns, w in zip(parts, weights / weights.sum(), strict=True))
    if task == "au":
        return np.asarray(1 / (1 + np.exp(-logs)), dtype=np.float32)
    odds = np.exp(logs - np.max(logs, axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


def take_logs(task: Task, columns: Array) -> Array:
    """Log-probabilities of expressions, (n, 8), or logits of action units, (n, 12): finite, float64."""
    p = columns.astype(np.float64)
    if task == "expression":
        return np.asarray(np.log(np.maximum(p, MIN_PROBABILITY)))
    p = np.clip(p, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.asarray(np.log(p) - np.log1p(-p))


def find_knowing_members(members: Sequence[StoredMember], task: Task) -> list[StoredMember]:
    """The members that have a task, in the order of their digests: sums in this order have the same bits."""
    return sorted((member for member in members if task in member.tasks), key=lambda member: member.digest)


def find_known_tasks(members: Sequence[StoredMember]) -> tuple[Task, ...]:
    """The tasks that at least one member has."""
    return tuple(task for task in TASKS if any(task in member.tasks for member in members))


def _select_weights(knowing: Sequence[StoredMember], task: Task, given: Mapping[str, float]) -> Array:
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
