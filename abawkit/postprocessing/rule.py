"""A rule: all post-processing of stored probabilities before decisions are made, kept as a small JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import abawkit
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.averaging import Pools, average_members, find_knowing_members, find_known_tasks
from abawkit.postprocessing.calibration import Calibration, apply_calibration, list_calibrated
from abawkit.postprocessing.smoothing import Smoothing, smooth_predictions
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.system.files import sha256, write_json
from abawkit.tables import Predictions

VERSION: Final = 2
"""Version of the file's form. Version 1 had no ``pool``: all was averaged; it is read."""

MAX_WEIGHT: Final = 1e6


@dataclass(frozen=True)
class Rule:
    """How probabilities become those that decisions are made of: weigh and add up, smooth, calibrate, in this order.

    Attributes:
        weights: For each task the weight of each member by its key; a task without an entry takes the mean of the
            members that have it.
        smoothing: For each task how it is smoothed; a task without an entry is not.
        calibration: The calibration that follows.
        pool: For expressions and action units, how members are pooled; a task without an entry by ``linear``.
    """

    weights: Mapping[Task, Mapping[str, float]] = field(default_factory=dict)
    smoothing: Mapping[Task, Smoothing] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    pool: Pools = field(default_factory=dict)


def apply_rule(rule: Rule, members: Sequence[StoredMember], tasks: Sequence[Task] = TASKS) -> Predictions:
    """Applies a rule to the probabilities of members.

    Where the rule weighs ``A+B``, the mean of two networks, and these are members of their own, their mean is taken
    first.

    Args:
        rule: The rule.
        members: Members of one list; for each task that has weights, those that the rule has weights for.
        tasks: The requested tasks; others are neutral.

    Raises:
        DataError: If no member has a requested task, the rule weighs other members, or frames to smooth have no number.
    """
    predictions = average_members(group_members(rule, members), rule.weights, tasks, rule.pool)
    smoothing = {task: rule.smoothing[task] for task in tasks if task in rule.smoothing}
    if smoothing:
        predictions = smooth_predictions(predictions, smoothing)
    return predictions if is_neutral(rule.calibration) else apply_calibration(predictions, rule.calibration)


def refuse_other_members(rule: Rule, members: Sequence[StoredMember], tasks: Sequence[Task]) -> None:
    """Refuses members that a rule was not made for; they may still have no rows.

    What is fitted has weights for all its tasks, see `check_made_for`; a rule without weights is for any members.

    Raises:
        DataError: If a task has no member, or the rule weighs other members.
    """
    average_members(group_members(rule, members), rule.weights, tasks, rule.pool)


def check_made_for(rule: Rule, members: Sequence[StoredMember], tasks: Sequence[Task]) -> Rule:
    """Binds a rule to members and tasks, so that it is refused for others.

    Returns:
        The rule with equal weights for those of the tasks that it had none for: bit for bit the same mean.
    """
    weighed = group_members(rule, members)
    equal = {task: {member.key: 1.0 for member in find_knowing_members(weighed, task)} for task in tasks}
    return replace(rule, weights={**equal, **rule.weights})


def group_members(rule: Rule, members: Sequence[StoredMember]) -> list[StoredMember]:
    """The members that a rule weighs: those whose mean it knows as one member, as that one."""
    apart = {member.key: member for member in members}
    for key in sorted({key for weights in rule.weights.values() for key in weights} - set(apart)):
        parts = [apart[part] for part in key.split("+") if part in apart]
        if len(parts) > 1 and len(parts) == key.count("+") + 1:
            tasks = find_known_tasks(parts)
            mean = average_members(parts, tasks=tasks)
            apart = {name: member for name, member in apart.items() if member not in parts}
            apart[key] = StoredMember(parts[0].path, mean, tasks, digest_columns(mean, tasks), key)
    return list(apart.values())


def is_neutral(calibration: Calibration) -> bool:
    """Whether a calibration changes nothing."""
    return not list_calibrated(calibration)


def make_rule_content(rule: Rule) -> dict[str, Any]:
    """What a rule does, as JSON: the part of its file that decides."""
    calibration = rule.calibration
    scaled = zip(DIMENSIONS, calibration.scale.tolist(), calibration.shift.tolist(), strict=True)
    return {
        "weights": {task: dict(rule.weights[task]) for task in TASKS if task in rule.weights},
        "pool": {task: rule.pool[task] for task in TASKS if task in rule.pool},
        "smoothing": {
            task: {"kind": smoothing.kind, "radius": smoothing.radius, "scale": smoothing.scale}
            for task, smoothing in sorted(rule.smoothing.items(), key=lambda entry: TASKS.index(entry[0]))
        },
        "calibration": {
            **{name: {"scale": scale, "shift": shift} for name, scale, shift in scaled},
            "bias": dict(zip(EXPRESSIONS, calibration.bias.tolist(), strict=True)),
            "thresholds": dict(zip(ACTION_UNITS, calibration.threshold.tolist(), strict=True)),
        },
    }


def digest_rule(rule: Rule) -> str:
    """SHA-256 of what a rule does, whatever else its file has."""
    return sha256(json.dumps(make_rule_content(rule), sort_keys=True).encode())


def write_rule(path: Path, rule: Rule, evidence: Mapping[str, Any]) -> None:
    """Writes a rule, with free JSON about what it was fitted on and what it gains."""
    write_json(path, {"abawkit": abawkit.__version__, "rule": VERSION, **make_rule_content(rule), "evidence": evidence})
