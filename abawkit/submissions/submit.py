"""A submission from its folder: train what is missing, predict, decide, write, check, and write the manifest."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

import abawkit
from abawkit.choices import Split
from abawkit.errors import DataError
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.submissions.decisions import Decided, digest_official, fit_decisions, write_official
from abawkit.submissions.ledger import now
from abawkit.submissions.manifest import (
    MANIFEST,
    Manifest,
    Text,
    TrainedNetwork,
    Written,
    read_manifest,
    write_manifest,
)
from abawkit.submissions.plan import PlannedRun
from abawkit.submissions.steps import (
    RUNS,
    PredictionSteps,
    digest_network,
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


class _Environment(BaseModel):
    code: Text | None = None
    git: Text | None = None


class _RunManifest(BaseModel):
    """What is read of a run's own ``manifest.json``."""

    environment: _Environment = _Environment()


def write_summary(job: Job, predicted: PredictionSteps, decided: Decided, official: Path) -> Manifest:
    """Writes ``manifest.json``; one that says all of this already stays as it is, with the time and commit it has.

    Raises:
        DataError: If something can't be read back.
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
        rule_sha256=decided.digest,
        submission=Written(
            file="outputs/predictions.txt" if opened.plugin.container == "file" else "outputs/predictions",
            sha256=digest_official(official),
            rows=len(opened.frame_list),
            filled=len(first["filled"]),
        ),
        validation=decided.validation,
        environment=first["environment"],
    )
    if manifest != before or job.cache.finished:
        manifest = manifest.model_copy(update={"written": now(), "git": read_git_commit(job.folder)})
        write_manifest(job.folder, manifest)
    return manifest


def _describe_network(run: PlannedRun, job: Job) -> TrainedNetwork:
    """One network, with the code that trained it as far as its run says."""
    try:
        content = (job.outputs / RUNS / run.name / MANIFEST).read_bytes()
        by = _RunManifest.model_validate_json(content).environment
    except (OSError, ValidationError):
        by = _Environment()
    digest = digest_network(run, job)
    return TrainedNetwork(name=run.name, seed=run.seed, sha256=digest, code=by.code, git=by.git)


def _read_previous(folder: Path) -> Manifest | None:
    """The manifest that is there; one that is damaged is replaced."""
    try:
        return read_manifest(folder)
    except DataError:
        return None


@dataclass(frozen=True)
class Submitted:
    """What `submit` ended with.

    Attributes:
        folder: Of the submission.
        official: The official file, checked.
        manifest: What it was made of.
        done: Names of the steps that were done; empty where everything was there.
    """

    folder: Path
    official: Path
    manifest: Manifest
    done: list[str]


def submit(folder: Path, inputs: SubmissionInputs, options: ExecutionOptions) -> Submitted:
    """Makes a submission: what is there already, of the same things, is not made again.

    Args:
        folder: That holds ``recipe.toml``. Everything is written to ``outputs/`` within, and ``manifest.json``.
        inputs: What it is made of.
        options: How steps are run.

    Raises:
        ConfigError: If the recipe, or what was given with it, is not what it must be; if another process is at work
            on this submission.
        DataError: If the data is not what it must be, or the written file is not one that the organisers' script reads.
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same command goes on from there.
    """
    job = prepare(folder, inputs, options)
    with lock(new_folder(job.outputs, force=True)):
        train_networks(job)
        predicted = predict_members(job)
        decided = fit_decisions(job, predicted)
        official = write_official(job, predicted, decided)
        manifest = write_summary(job, predicted, decided, official)
    return Submitted(folder, official, manifest, job.cache.finished)


def describe_due_steps(folder: Path, inputs: SubmissionInputs) -> list[tuple[str, str]]:
    """What `submit` would train and predict, and why; nothing is written.

    Returns:
        Name of each training and prediction, and why it is due; an empty text where it is not.

    Raises:
        ConfigError: As `submit`.
        DataError: As `submit`.
    """
    job = prepare(folder, inputs, ExecutionOptions())
    training = [make_training_step(run, job) for run in job.plan.runs]
    lines = [(step.name, job.cache.explain(step) or "") for step in training]
    due = {run.name for run, (_, reason) in zip(job.plan.runs, lines, strict=True) if reason}
    splits: tuple[Split | None, ...] = ("validation", None)
    for split in splits:
        for member in job.plan.members:
            if any(run.name in due for run in member.runs):
                lines.append((f"predict {split or 'test'} {member.name}", "its networks come first"))
            else:
                step = make_prediction_step(member, split, job)
                lines.append((step.name, job.cache.explain(step) or ""))
    return lines
