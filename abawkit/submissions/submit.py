"""A submission from its folder: train what is missing, predict, decide, write, check, and write the manifest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

import abawkit
from abawkit.choices import Split
from abawkit.errors import DataError
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step
from abawkit.submissions.decisions import FittedDecisions, digest_official, fit_decisions, write_official
from abawkit.submissions.ledger import format_now
from abawkit.submissions.manifest import (
    MANIFEST,
    Manifest,
    OfficialFile,
    StoredFeatures,
    Text,
    TrainedNetwork,
    read_manifest,
    write_submission_manifest,
)
from abawkit.submissions.plan import CURATED, TEST, PlannedFeatures, PlannedRun
from abawkit.submissions.steps import (
    RUNS,
    PredictionSteps,
    digest_features,
    digest_network,
    extract_planned_features,
    list_extractions,
    make_extraction_step,
    make_prediction_step,
    make_training_step,
    predict_members,
    read_prediction_manifest,
    train_networks,
)
from abawkit.submissions.workspace import Job, SubmissionInputs, prepare
from abawkit.system.files import new_folder
from abawkit.system.locks import lock
from abawkit.system.provenance import read_git_commit


class _RunEnvironment(BaseModel):
    code: Text | None = None
    git: Text | None = None


class _RunManifest(BaseModel):
    """The part of a run's ``manifest.json`` that is read."""

    environment: _RunEnvironment = _RunEnvironment()


def update_manifest(job: Job, predicted: PredictionSteps, decided: FittedDecisions, official: Path) -> Manifest:
    """Writes ``manifest.json``; one with the same content stays as it is, with its time and commit.

    Raises:
        DataError: If an output can't be read back.
    """
    opened = job.opened
    first = read_prediction_manifest(predicted.test[0].outputs[0])
    before = _read_previous(job.folder)
    manifest = Manifest(
        abawkit=abawkit.__version__,
        name=job.folder.resolve().name,
        summary=job.recipe.summary,
        written=before.written if before else "",
        git=before.git if before else None,
        recipe_sha256=job.recipe_sha256,
        format=opened.plugin.name,
        policy=job.recipe.policy,
        epoch=job.recipe.epoch,
        table_sha256=opened.curated.digest,
        list_digest=opened.frame_list.digest,
        frames_digest=opened.frames_digest,
        weights_sha256=opened.weights_sha256,
        networks=[_describe_network(run, job) for run in job.plan.runs],
        features=[_describe_features(features, job) for features in job.plan.features],
        rule_sha256=decided.digest,
        submission=OfficialFile(
            file="outputs/predictions.txt" if opened.plugin.container == "file" else "outputs/predictions",
            sha256=digest_official(official),
            rows=len(opened.frame_list),
            filled=len(first["filled"]),
        ),
        validation=decided.validation,
        environment=first["environment"],
    )
    if manifest != before or job.cache.finished:
        manifest = manifest.model_copy(update={"written": format_now(), "git": read_git_commit(job.folder)})
        write_submission_manifest(job.folder, manifest)
    return manifest


def _describe_network(run: PlannedRun, job: Job) -> TrainedNetwork:
    """One network, with the code that trained it if its run recorded that."""
    try:
        content = (job.outputs / RUNS / run.name / MANIFEST).read_bytes()
        by = _RunManifest.model_validate_json(content).environment
    except (OSError, ValidationError):
        by = _RunEnvironment()
    digest = digest_network(run, job)
    return TrainedNetwork(name=run.name, seed=run.seed, sha256=digest, code=by.code, git=by.git)


def _describe_features(features: PlannedFeatures, job: Job) -> StoredFeatures:
    digests = {part: digest_features(features, part, job) for part in (CURATED, TEST)}
    return StoredFeatures(name=features.name, flip=features.flip, **digests)


def _read_previous(folder: Path) -> Manifest | None:
    """The manifest in the folder; None if it is absent or damaged."""
    try:
        return read_manifest(folder)
    except DataError:
        return None


@dataclass(frozen=True)
class SubmissionResult:
    """The result of `submit`.

    Attributes:
        folder: Of the submission.
        official: The official file, checked.
        manifest: Its inputs and scores.
        done: Names of the steps that were run; empty if all were done before.
    """

    folder: Path
    official: Path
    manifest: Manifest
    done: list[str]


def submit(folder: Path, inputs: SubmissionInputs, options: ExecutionOptions) -> SubmissionResult:
    """Makes a submission; steps that are done with the same inputs are not run again.

    Args:
        folder: Contains ``recipe.toml``. ``outputs/`` and ``manifest.json`` are written there.
        inputs: Its other inputs.
        options: How steps are run.

    Raises:
        ConfigError: If the recipe or an option is not valid, or another process is working on this submission.
        DataError: If the data is not valid, or the organisers' script could not read the written file.
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same command continues.
    """
    job = prepare(folder, inputs, options)
    with lock(new_folder(job.outputs, force=True)):
        train_networks(job.plan.frame_networks, job)
        extract_planned_features(job)
        train_networks(job.plan.heads, job)
        predicted = predict_members(job)
        decided = fit_decisions(job, predicted)
        official = write_official(job, predicted, decided)
        manifest = update_manifest(job, predicted, decided, official)
    return SubmissionResult(folder, official, manifest, job.cache.finished)


def describe_due_steps(folder: Path, inputs: SubmissionInputs) -> list[tuple[str, str]]:
    """Lists the trainings, extractions and predictions of `submit` and why each is due; nothing is written.

    Returns:
        The name of each, and why it is due; an empty text if it is not.

    Raises:
        ConfigError: As `submit`.
        DataError: As `submit`.
    """
    job = prepare(folder, inputs, ExecutionOptions())
    reasons: dict[str, str] = {}
    for name, needed, first, make in _list_steps(job):
        reasons[name] = first if any(reasons[need] for need in needed) else job.cache.explain(make()) or ""
    return list(reasons.items())


class _PlannedStep(NamedTuple):
    """A step that can be made when those before it are done: its name, theirs, what to say until then, and a maker."""

    name: str
    needed: list[str]
    first: str
    make: Callable[[], Step]


def _list_steps(job: Job) -> Iterator[_PlannedStep]:
    """The steps whose commands `submit` runs, in their order."""
    extracted = {(each.name, part) for each, part in list_extractions(job)}

    def find_extractions(features: Sequence[PlannedFeatures], part: str) -> list[str]:
        return [f"features {part} {each.name}" for each in features if (each.name, part) in extracted]

    def train(runs: Sequence[PlannedRun]) -> Iterator[_PlannedStep]:
        for run in runs:
            needed = find_extractions(run.features, CURATED)
            yield _PlannedStep(
                f"train {run.name}", needed, "its features come first", partial(make_training_step, run, job)
            )

    yield from train(job.plan.frame_networks)
    for each, part in list_extractions(job):
        needed = [f"train {each.run.name}"] if each.run else []
        make = partial(make_extraction_step, each, part, job)
        yield _PlannedStep(f"features {part} {each.name}", needed, "its network comes first", make)
    yield from train(job.plan.heads)
    splits: tuple[Split | None, ...] = ("validation", None)
    for split in splits:
        for member in job.plan.members:
            needed = [f"train {run.name}" for run in member.runs]
            needed += find_extractions(member.features, CURATED if split else TEST)
            make = partial(make_prediction_step, member, split, job)
            yield _PlannedStep(f"predict {split or 'test'} {member.name}", needed, "its networks come first", make)
