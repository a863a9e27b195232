"""What the recipe of a submission has fitted on validation: by `abawkit tune`, by `abawkit calibrate`, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abawkit.labels import Task
from abawkit.postprocessing.members import StoredMember
from abawkit.postprocessing.rule import Rule, apply_rule
from abawkit.submissions.prepared import Prepared
from abawkit.submissions.recipe import Decisions
from abawkit.tables import Annotations, Predictions


@dataclass(frozen=True, eq=False)
class Fitted:
    """A rule, and what it makes of validation.

    Attributes:
        rule: The rule.
        held_out: Probabilities that decisions are made of, each row by a rule that was fitted without its video.
        in_sample: The same by `rule`, which was fitted on all of them.
        folds: Folds of videos; 0 where nothing was fitted.
        notes: What was left alone, and why.
        evidence: For the file of the rule, JSON.
    """

    rule: Rule
    held_out: Predictions
    in_sample: Predictions
    folds: int = 0
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


def calibrated(decisions: Decisions, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The scored tasks that are calibrated; a recipe may name others, which its format does not hold."""
    return tuple(task for task in tasks if task in decisions.calibration)


def fits(decisions: Decisions, tasks: Sequence[Task]) -> bool:
    """Whether anything is fitted on validation, for these scored tasks."""
    return decisions.searched or bool(calibrated(decisions, tasks))


def fit(members: Sequence[StoredMember], truth: Annotations, decisions: Decisions, tasks: Sequence[Task]) -> Fitted:
    """Fits what a recipe asks for.

    Args:
        members: Stored probabilities of the validation rows.
        truth: The validation rows.
        decisions: As of the recipe.
        tasks: The tasks that are scored; calibration of others is left out.

    Raises:
        DataError: If the members' rows are not those of the truth, or there are too few videos for two folds.
    """
    if not fits(decisions, tasks):
        plain = apply_rule(Rule(), members, tasks)
        return Fitted(Rule(), plain, plain)
    from abawkit.postprocessing.search import calibrate, tune

    shared: dict[str, Any] = {
        "tasks": tuple(tasks),
        "calibration": calibrated(decisions, tasks),
        "protocol": decisions.protocol,
        "folds": decisions.folds,
    }
    if decisions.searched:
        smoothing, weights = decisions.smoothing == "tuned", decisions.weights == "fitted"
        pool = decisions.pool == "tuned"
        found = tune(members, truth, smoothing=smoothing, weights=weights, pool=pool, **shared)
    else:
        found = calibrate(members, truth, **shared)
    evidence = found.evidence()
    return Fitted(found.rule, found.held_out, found.found.predictions, evidence["folds"], found.notes, evidence)


def command(made: Prepared, probabilities: Sequence[Path], rule: Path) -> list[str]:
    """The command that fits the same rule by hand."""
    decisions = made.recipe.decisions
    chosen = calibrated(decisions, made.tasks)
    options = []
    if decisions.searched:
        options += ["--no-smoothing"] if decisions.smoothing == "none" else []
        options += ["--no-weights"] if decisions.weights == "mean" else []
        options += ["--no-pool"] if decisions.pool == "linear" else []
        options += ["--no-calibration"] if not chosen else []
    if chosen != made.tasks:
        options += [part for task in chosen for part in ("--tasks", task)]
    options += ["--folds", str(decisions.folds), "--protocol", decisions.protocol]
    name = "tune" if decisions.searched else "calibrate"
    truth = str(made.opened.inputs.data)
    return [name, *map(str, probabilities), "--truth", truth, *options, "--out", str(rule)]
