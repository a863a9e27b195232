"""From stored probabilities to the official file: fit on validation, score, apply to the list, write, check."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
from pydantic import ValidationError

import abawkit
from abawkit.choices import Protocol
from abawkit.errors import ProblemsError
from abawkit.formats.base import get_format
from abawkit.formats.writing import digest_submission, read_submission_bytes, write_submission
from abawkit.frame_columns import find_videos
from abawkit.frames.paths import make_frame_folders
from abawkit.labels import TASKS, Task
from abawkit.pipeline.step_cache import Step
from abawkit.postprocessing.outputs import decide, list_outputs, write_outputs
from abawkit.postprocessing.rule import Rule, apply_rule, write_rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.probabilities.members import StoredMember, read_members, write_probabilities
from abawkit.scoring.bootstrap import PARTS, Interval, describe_few_videos, make_difference_interval, sum_by_video
from abawkit.scoring.forecast import forecast_score
from abawkit.submissions.manifest import MemberScores, Range, Scores, Validation
from abawkit.submissions.recipe import Decisions, SubmissionRecipe
from abawkit.submissions.steps import PredictionSteps, read_prediction_manifest
from abawkit.submissions.workspace import Job
from abawkit.system.files import sha256_of, write_json
from abawkit.system.provenance import digest_code
from abawkit.tables import Annotations, Predictions, Submission


@dataclass(frozen=True, eq=False)
class FittedRule:
    """A rule, and the validation probabilities after it.

    Attributes:
        rule: The rule.
        held_out: Validation probabilities after the rule, each row by a rule that was fitted without its video.
        in_sample: The same by `rule`, which was fitted on all rows.
        folds: Folds of videos; 0 if nothing was fitted.
        notes: What was not fitted, and why.
        evidence: For the rule's file, as JSON.
    """

    rule: Rule
    held_out: Predictions
    in_sample: Predictions
    folds: int = 0
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


def select_calibrated_tasks(decisions: Decisions, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The scored tasks that are calibrated; a recipe may name others, which its format lacks."""
    return tuple(task for task in tasks if task in decisions.calibration)


def is_fitted(decisions: Decisions, tasks: Sequence[Task]) -> bool:
    """Whether anything is fitted on validation, for these scored tasks."""
    return decisions.searched or bool(select_calibrated_tasks(decisions, tasks))


def fit_recipe_rule(
    members: Sequence[StoredMember], truth: Annotations, decisions: Decisions, tasks: Sequence[Task]
) -> FittedRule:
    """Fits the rule that a recipe requests.

    Args:
        members: Stored probabilities of the validation rows.
        truth: The validation rows.
        decisions: As of the recipe.
        tasks: The tasks that are scored; calibration of others is left out.

    Raises:
        DataError: If the members' rows are not those of the truth, or there are too few videos for two folds.
    """
    if not is_fitted(decisions, tasks):
        plain = apply_rule(Rule(), members, tasks)
        return FittedRule(Rule(), plain, plain)
    from abawkit.tuning.tune import calibrate, tune

    shared: dict[str, Any] = {
        "tasks": tuple(tasks),
        "calibration": select_calibrated_tasks(decisions, tasks),
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
    return FittedRule(found.rule, found.held_out, found.found.predictions, evidence["folds"], found.notes, evidence)


def format_tune_command(job: Job, probabilities: Sequence[Path], rule: Path) -> list[str]:
    """The command that fits the same rule by hand."""
    decisions = job.recipe.decisions
    chosen = select_calibrated_tasks(decisions, job.tasks)
    options = []
    if decisions.searched:
        options += ["--no-smoothing"] if decisions.smoothing == "none" else []
        options += ["--no-weights"] if decisions.weights == "mean" else []
        options += ["--no-pool"] if decisions.pool == "linear" else []
        options += ["--no-calibration"] if not chosen else []
    if chosen != job.tasks:
        options += [part for task in chosen for part in ("--tasks", task)]
    options += ["--folds", str(decisions.folds), "--protocol", decisions.protocol]
    name = "tune" if decisions.searched else "calibrate"
    truth = str(job.opened.inputs.data)
    return [name, *map(str, probabilities), "--truth", truth, *options, "--out", str(rule)]


_BEST = (
    "the weights of each run are those of the epoch that scored best on the same validation rows: all scores are a "
    "little too good"
)


def evaluate_submission(
    members: Mapping[str, StoredMember],
    fitted: FittedRule,
    truth: Annotations,
    recipe: SubmissionRecipe,
    tasks: Sequence[Task],
    test_videos: int,
) -> Validation:
    """Scores a submission on validation.

    Args:
        members: The members by name.
        fitted: The rule, and the validation probabilities after it.
        truth: The validation rows.
        recipe: Of the submission.
        tasks: The tasks that are scored.
        test_videos: Number of videos in the list.

    Raises:
        DataError: If no row counts, or there are fewer than two videos.
    """
    protocol = recipe.decisions.protocol
    mine = decide(fitted.held_out, tasks)
    alone = {name: decide(member.predictions, tasks) for name, member in members.items()}
    scored = [
        MemberScores(name=name, key=members[name].key, validation=_score_parts(truth, submission, protocol))
        for name, submission in alone.items()
    ]
    best = max(scored, key=lambda member: member.validation.score).name
    few = [note] if (note := describe_few_videos(len(sum_by_video(truth, mine, protocol).names))) else []
    mean = decide(apply_rule(Rule(), list(members.values()), tasks), tasks)
    return Validation(
        protocol=protocol,
        tasks=list(tasks),
        fitted=fitted.folds > 0,
        folds=fitted.folds,
        crossfitted=_score_parts(truth, mine, protocol),
        interval=_make_range(forecast_score(truth, mine, protocol, test_videos=test_videos)),
        test_videos=test_videos,
        in_sample=_score_parts(truth, decide(fitted.in_sample, tasks), protocol),
        untuned=_score_parts(truth, mean, protocol),
        gain=_make_range(make_difference_interval(truth, mine, mean, protocol)),
        members=scored,
        best_member=best,
        difference=_make_range(make_difference_interval(truth, mine, alone[best], protocol)),
        notes=[*fitted.notes, *([_BEST] if recipe.epoch == "best" else []), *few],
    )


def _score_parts(truth: Annotations, submission: Submission, protocol: Protocol) -> Scores:
    statistics = sum_by_video(truth, submission, protocol)
    values = statistics.scores(np.ones((1, len(statistics.names))))[0]
    return Scores(**dict(zip(PARTS, values.tolist(), strict=True)))


def _make_range(interval: Interval) -> Range:
    return Range(**interval.as_dict())


RULE: Final = "rule.json"
CROSSFITTED: Final = "crossfitted.txt"
VALIDATION_FILE: Final = "validation.json"
OFFICIAL: Final = "predictions"


@dataclass(frozen=True)
class FittedDecisions:
    """The rule of a submission, and its scores.

    Attributes:
        rule: File of the rule.
        digest: SHA-256 of that file.
        validation: The submission's scores on validation.
    """

    rule: Path
    digest: str
    validation: Validation


def fit_decisions(job: Job, predicted: PredictionSteps) -> FittedDecisions:
    """Fits on validation the rule that the recipe requests, unless that was done with the same probabilities.

    Writes ``rule.json``, ``validation.json`` (scores), ``crossfitted.npz`` (validation probabilities, each row by a
    rule that was fitted on other videos) and, if all three tasks are scored, ``crossfitted.txt`` with the decisions.

    Raises:
        DataError: If probabilities can't be read back, or validation has too few videos for the folds.
    """
    out = job.outputs
    crossfitted = out / CROSSFITTED
    files = [out / RULE, out / VALIDATION_FILE, crossfitted.with_suffix(".npz")]
    files += [crossfitted] if job.tasks == TASKS else []
    made_of = {
        "abawkit": abawkit.__version__,
        "code": digest_code(),
        "decisions": job.recipe.decisions.model_dump(mode="json"),
        "epoch": job.recipe.epoch,
        "members": _digest_predictions(predicted.validation, job),
        "data": job.opened.curated.digest,
        "tasks": list(job.tasks),
        "test_videos": _count_videos(job),
    }
    step = Step("fit decisions", made_of, files)
    validation = None if job.is_due(step) else _read_validation(out / VALIDATION_FILE)
    if validation is None:
        with job.cache.run(step):
            validation = _fit_and_evaluate(job, [prediction.outputs[0] for prediction in predicted.validation])
    return FittedDecisions(out / RULE, job.cache.digest(step, out / RULE), validation)


def _fit_and_evaluate(job: Job, paths: list[Path]) -> Validation:
    out, decisions = job.outputs, job.recipe.decisions
    if is_fitted(decisions, job.tasks):
        job.options.say(f"$ abawkit {shlex.join(format_tune_command(job, paths, out / RULE))}")
    members = read_members(paths)
    truth = job.opened.curated.splits["validation"].annotations
    fitted = fit_recipe_rule(members, truth, decisions, job.tasks)
    named = dict(zip((member.name for member in job.plan.members), members, strict=True))
    validation = evaluate_submission(named, fitted, truth, job.recipe, job.tasks, _count_videos(job))
    write_rule(out / RULE, fitted.rule, fitted.evidence)
    crossfitted = out / CROSSFITTED
    write_probabilities(crossfitted.with_suffix(".npz"), fitted.held_out, job.tasks)
    if job.tasks == TASKS:
        write_submission(crossfitted, get_format("abaw7").encode(decide(fitted.held_out, TASKS)))
    write_json(out / VALIDATION_FILE, validation.model_dump(mode="json"))
    return validation


def write_official(job: Job, predicted: PredictionSteps, decisions: FittedDecisions) -> Path:
    """Applies the rule to the list's probabilities, writes the official file and checks it, unless that is done.

    Returns:
        The official file, or folder.

    Raises:
        ProblemsError: If the written file is not what the organisers' script reads.
        DataError: If probabilities can't be read back.
    """
    plugin = job.opened.plugin
    path = job.outputs / (f"{OFFICIAL}.txt" if plugin.container == "file" else OFFICIAL)
    made_of = {
        "abawkit": abawkit.__version__,
        "code": digest_code(),
        "rule": decisions.digest,
        "members": _digest_predictions(predicted.test, job),
        "list": job.opened.frame_list.digest,
        "format": plugin.name,
    }
    step = Step(f"write {path.name}", made_of, list_outputs(path))
    if job.is_due(step):
        with job.cache.run(step):
            _write_and_check(path, job, [prediction.outputs[0] for prediction in predicted.test], decisions.rule)
    return path


def _write_and_check(path: Path, job: Job, paths: list[Path], rule_file: Path) -> None:
    plugin, rule = job.opened.plugin, read_rule(rule_file)
    joined = shlex.join([*map(str, paths), "--rule", str(rule_file), "--format", plugin.name, "--out", str(path)])
    job.options.say(f"$ abawkit ensemble {joined}")
    members = read_members(paths)
    predictions = apply_rule(rule, members, job.tasks)
    first = read_prediction_manifest(paths[0])
    write_outputs(
        path,
        predictions,
        job.tasks,
        plugin,
        source=_describe_list(job),
        members=[_describe_member(member) for member in members],
        environment=first["environment"],
        rule=rule,
        filled=first["filled"],
        force=True,
    )
    listed = str(job.opened.inputs.listed)
    job.options.say(f"$ abawkit check {shlex.join([str(path), '--format', plugin.name, '--list', listed])}")
    if problems := plugin.check(path, job.opened.frame_list):
        raise ProblemsError(path, problems, "do not hand in this file; the list may be damaged")


def digest_official(path: Path) -> str:
    """SHA-256 of an official file or folder, as manifests name it.

    Raises:
        DataError: If it is absent, or no submission.
    """
    return digest_submission(read_submission_bytes(path))


def _count_videos(job: Job) -> int:
    """Number of videos in the list."""
    return len(pc.unique(find_videos(job.opened.frame_list.images)))


def _digest_predictions(steps: Sequence[Step], job: Job) -> list[str]:
    """Digests of each prediction's probabilities and of its manifest, which gives the member's key."""
    return [job.cache.digest(step, path) for step in steps for path in step.outputs[:2]]


def _read_validation(path: Path) -> Validation | None:
    """The scores that were written; None if another state of this version wrote them in another form."""
    try:
        return Validation.model_validate_json(path.read_bytes())
    except ValidationError:
        return None


def _describe_list(job: Job) -> dict[str, Any]:
    inputs = job.opened.inputs
    frames = make_frame_folders(inputs.frames).as_json()
    return {"list": str(inputs.listed), "list_sha256": sha256_of(inputs.listed), "frames": frames}


def _describe_member(member: StoredMember) -> dict[str, Any]:
    return {"path": str(member.path), "key": member.key, "digest": member.digest, "tasks": list(member.tasks)}
