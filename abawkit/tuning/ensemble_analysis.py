"""What each member contributes to an ensemble: its own score, what it adds and can add, and how its errors correlate.

What a member can add follows from its errors e and those of the others' mean, r, before any weight is fitted: with
weight w, the mean square of w e + (1 - w) r is least at w = (r'r - e'r) / (e'e + r'r - 2 e'r). Of members that are
wrong alike it falls by next to nothing, whatever w is. What the CCC lacks to 1 falls by the same share, if means and
deviations stay as they are: 1 - CCC is the mean square over the sum of both variances and the squared difference of
the means. For F1 that share is a rule of thumb.

Source: the best weights of a mean, J. Bates, C. Granger, The combination of forecasts, Operational Research Quarterly
20 (1969) 451-468; the CCC, L. Lin, A concordance correlation coefficient, Biometrics 45 (1989) 255-268.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from abawkit.choices import Protocol
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import average_members, find_known_tasks
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import Rule, apply_rule, group_members
from abawkit.probabilities.members import StoredMember, refuse_other_rows
from abawkit.scoring.bootstrap import PART_OF, PARTS, sum_by_video
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations, Array, Predictions

ScoreParts = Mapping[str, float]
"""Parts of a score by name, see `abawkit.scoring.bootstrap.PARTS`; the part of a task that is not known is 0."""


LITTLE: Final = 0.005
"""A member that can add no more than this is not worth its training: intervals of P are ten times as wide."""


@dataclass(frozen=True)
class Prospect:
    """What a member can add to the others, by their errors alone.

    Attributes:
        correlations: For each task that it and others know, the correlation of its errors with those of their mean;
            NaN where one of them does not vary.
        removes: For each of these tasks the share of the others' mean squared error that it removes at its best
            weight, 0 to 1.
        expected: What that is worth in the score: an upper bound for valence and arousal, a rule of thumb for F1.
    """

    correlations: Mapping[Task, float]
    removes: Mapping[Task, float]
    expected: float

    @property
    def is_little(self) -> bool:
        """Whether the member is hardly worth having."""
        return self.expected < LITTLE


@dataclass(frozen=True)
class Contribution:
    """One member among the others.

    Attributes:
        member: The member.
        alone: What it scores by itself.
        adds: What all score together, less what they score without it.
        prospect: What it can add at its best weight; None if it is the only one to know its tasks.
    """

    member: StoredMember
    alone: ScoreParts
    adds: ScoreParts
    prospect: Prospect | None


@dataclass(frozen=True)
class Analysis:
    """An ensemble taken apart.

    Attributes:
        contributions: Of each member, in their order; members that the rule weighs as one are one, behind the others.
        together: What they score together.
        correlations: For each task that several members know the correlation of their errors, (m, m), in the order of
            `contributions`; NaN with a member whose error does not vary or that does not know the task.
    """

    contributions: list[Contribution]
    together: ScoreParts
    correlations: Mapping[Task, Array]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; None for the part of a task that is not known."""
        known = {task for one in self.contributions for task in one.member.tasks}
        return {
            "members": [
                {"key": one.member.key, "path": str(one.member.path), "tasks": list(one.member.tasks)}
                | {"alone": _select_known(one.alone, one.member.tasks), "adds": dict(one.adds)}
                | {"can_add": _format_prospect(one.prospect)}
                for one in self.contributions
            ],
            "together": _select_known(self.together, known),
            "correlations": {
                task: [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
                for task, matrix in self.correlations.items()
            },
        }


def _select_known(parts: ScoreParts, tasks: Collection[Task]) -> dict[str, float | None]:
    unknown = {PART_OF[task] for task in TASKS if task not in tasks}
    return {part: None if part in unknown else value for part, value in parts.items()}


def _format_prospect(prospect: Prospect | None) -> dict[str, Any] | None:
    if prospect is None:
        return None
    correlations = {task: None if np.isnan(value) else value for task, value in prospect.correlations.items()}
    return {"correlations": correlations, "removes": dict(prospect.removes), "expected": prospect.expected}


def analyse(
    members: Sequence[StoredMember], truth: Annotations, protocol: Protocol = "official", rule: Rule | None = None
) -> Analysis:
    """Scores members alone, together and all but one.

    Args:
        members: Members of the rows of `truth`.
        truth: The annotations.
        protocol: Which rows count.
        rule: How they are combined, the mean by default; without one member, the others share its weight in proportion.
            A member alone is decided as it is.

    Raises:
        DataError: If the rows of the members are not those of the truth, or no row counts.
    """
    rule = rule or Rule()
    for member in members:
        refuse_other_rows(member, truth)
    members = group_members(rule, members)
    together = _score_predictions(
        apply_rule(rule, members, find_known_tasks(members)), find_known_tasks(members), truth, protocol
    )
    contributions = []
    for member in members:
        alone = _score_predictions(member.predictions, member.tasks, truth, protocol)
        others = [other for other in members if other is not member]
        tasks = find_known_tasks(others)
        rest = apply_rule(_leave_out(rule, member.key), others, tasks) if others else member.predictions
        without = _score_predictions(rest, tasks, truth, protocol)
        prospect = _make_prospect(member, others, rule, truth, protocol, without)
        adds = {part: together[part] - without[part] for part in PARTS}
        contributions.append(Contribution(member, alone, adds, prospect))
    return Analysis(contributions, together, correlate_errors(members, truth, protocol))


def correlate_errors(
    members: Sequence[StoredMember], truth: Annotations, protocol: Protocol = "official"
) -> dict[Task, Array]:
    """Correlates the errors of members' probabilities: near 1, they are wrong alike; near 0, they complete each other.

    Args:
        members: Members of the rows of `truth`.
        truth: The annotations.
        protocol: Which rows count.

    Returns:
        For each task that several members know Pearson's correlation of their errors, float64, shape (m, m), in
        [-1, 1]; NaN with a member whose error does not vary or that does not know the task.
    """
    rows = select_scored_rows(truth, protocol)
    return {
        task: _correlate_task(members, task, truth, rows[task])
        for task in TASKS
        if sum(task in member.tasks for member in members) > 1
    }


def _make_prospect(
    member: StoredMember,
    others: Sequence[StoredMember],
    rule: Rule,
    truth: Annotations,
    protocol: Protocol,
    without: ScoreParts,
) -> Prospect | None:
    """What a member can add to the others, which score `without`; smoothing and calibration come after."""
    rows = select_scored_rows(truth, protocol)
    shared = [task for task in find_known_tasks(others) if task in member.tasks and rows[task].any()]
    if not shared:
        return None
    rest = average_members(others, _leave_out(rule, member.key).weights, shared, rule.pool)
    correlations, removes = {}, {}
    for task in shared:
        own, theirs = (_compute_errors(each, task, truth, rows[task]) for each in (member.predictions, rest))
        correlations[task] = float(_correlate_rows(np.stack([own, theirs]))[0, 1])
        removes[task] = find_removable_error(own, theirs)
    expected = sum(share * (1 - without[PART_OF[task]]) for task, share in removes.items())
    return Prospect(correlations, removes, expected)


def find_removable_error(own: Array, theirs: Array) -> float:
    """The share of a mean square of errors that errors of one more member remove at their best weight from 0 to 1.

    Args:
        own: Errors of the member, (n,).
        theirs: Errors of the others' mean, (n,).

    Returns:
        0 (they are best left alone) to 1.
    """
    square, difference = float(theirs @ theirs), theirs - own
    length = float(difference @ difference)
    if not square or not length:
        return 0.0
    weight = min(max(float(theirs @ difference) / length, 0.0), 1.0)
    best = theirs - weight * difference
    return max(0.0, 1 - float(best @ best) / square)


def _score_predictions(
    predictions: Predictions, tasks: Sequence[Task], truth: Annotations, protocol: Protocol
) -> dict[str, float]:
    if not tasks:
        return dict.fromkeys(PARTS, 0.0)
    statistics = sum_by_video(truth, decide(predictions, tasks), protocol)
    return dict(zip(PARTS, statistics.scores(np.ones((1, len(statistics.names))))[0].tolist(), strict=True))


def _leave_out(rule: Rule, key: str) -> Rule:
    """The rule for all members but one; where that had all the weight, the others have equal ones."""
    weights = {task: {k: w for k, w in given.items() if k != key} for task, given in rule.weights.items()}
    return replace(rule, weights={task: given for task, given in weights.items() if any(given.values())})


def _correlate_task(members: Sequence[StoredMember], task: Task, truth: Annotations, rows: Array) -> Array:
    result = np.full((len(members), len(members)), np.nan)
    knowing = [i for i, member in enumerate(members) if task in member.tasks]
    if not rows.any():
        return result
    errors = np.stack([_compute_errors(members[i].predictions, task, truth, rows) for i in knowing])
    result[np.ix_(knowing, knowing)] = _correlate_rows(errors)
    return result


def _correlate_rows(errors: Array) -> Array:
    """Pearson's correlations of the rows of an array; NaN with one that does not vary."""
    errors = errors - errors.mean(axis=1, keepdims=True)
    length = np.sqrt((errors**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(errors @ errors.T / np.outer(length, length), -1, 1))


def _compute_errors(predictions: Predictions, task: Task, truth: Annotations, rows: Array) -> Array:
    """Predictions less annotations, float64; for expressions, 1 less the probability of the annotated one."""
    found: Array = getattr(predictions, task)[rows].astype(np.float64)
    if task == "expression":
        return np.asarray(1 - found[np.arange(len(found)), truth.expression[rows]])
    annotated: Array = getattr(truth, task)[rows]
    return np.asarray((found - annotated).ravel())
