"""Trains the networks of a submission, extracts features for heads over time, and predicts: each step is a command."""

import json
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple

import abawkit
from abawkit.choices import Split
from abawkit.errors import DataError
from abawkit.features.onnx_description import ONNX_SUFFIX
from abawkit.features.source_kinds import EXTRACTOR_GROUP
from abawkit.features.store import FeatureStore
from abawkit.frames.paths import make_frame_folders
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step, StepCommand, identify_run
from abawkit.submissions.plan import CURATED, TEST, PlannedFeatures, PlannedMember, PlannedRun
from abawkit.submissions.recipe import Epoch
from abawkit.submissions.workspace import Job
from abawkit.system.files import sha256_of
from abawkit.system.provenance import digest_code

RUNS: Final = "runs"
FEATURES_FOLDER: Final = "features"

_EPOCHS: Final[tuple[Epoch, ...]] = ("best", "last")


class PredictionSteps(NamedTuple):
    """The steps that predict with each member, in the plan's order.

    Attributes:
        validation: Of the curated set's validation rows.
        test: Of the list.
    """

    validation: list[Step]
    test: list[Step]


def find_weights_file(run: PlannedRun, epoch: Epoch, job: Job) -> Path:
    """The file of weights of a run."""
    return job.outputs / RUNS / run.name / f"{epoch}.safetensors"


def find_features(features: PlannedFeatures, part: str, job: Job) -> Path:
    """The folder of features of a part, ``curated`` or ``test``."""
    return (features.given or job.outputs / FEATURES_FOLDER / features.name) / part


def make_training_step(run: PlannedRun, job: Job) -> Step:
    """The step that trains one network; the features that it reads must be there.

    It does not depend on the code, so that a change of code does not repeat hours of training; the manifest records the
    code of each network.
    """
    made_of: dict[str, Any] = {
        "abawkit": abawkit.__version__,
        "recipe": run.resolve_recipe(),
        "data": job.opened.curated.digest,
        "weights": None if run.features else job.opened.weights_sha256,
    }
    if run.features:
        made_of["features"] = [digest_features(features, CURATED, job) for features in run.features]
    return Step(f"train {run.name}", made_of, [find_weights_file(run, epoch, job) for epoch in _EPOCHS])


def digest_network(run: PlannedRun, job: Job) -> str:
    """SHA-256 of the weights of a trained network that are used."""
    return job.cache.digest(make_training_step(run, job), find_weights_file(run, job.recipe.epoch, job))


def digest_features(features: PlannedFeatures, part: str, job: Job) -> str:
    """SHA-256 of the names and numbers of features: the same where an extraction is repeated with the same result."""
    return FeatureStore.open(find_features(features, part, job)).digest


def train_networks(runs: Sequence[PlannedRun], job: Job) -> None:
    """Trains the networks that are missing or were trained from other inputs; interrupted runs resume.

    Args:
        runs: The networks; the features that they read must be there.
        job: The submission.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it.
    """
    jobs, threads = job.options.share(len(runs))
    steps = [(run, make_training_step(run, job)) for run in runs]
    commands = [_make_training_command(run, step, job, threads) for run, step in steps if job.is_due(step)]
    (job.outputs / RUNS).mkdir(exist_ok=True)
    job.cache.run_commands(commands, job.options, jobs)


def _make_training_command(run: PlannedRun, step: Step, job: Job, threads: int) -> StepCommand:
    inputs, options = job.opened.inputs, job.options
    out = job.outputs / RUNS / run.name
    notes = job.cache.find_attempt(step, out)
    if notes is None:
        notes = {"threads": threads, "replaces": identify_run(out)}
        again = ["--force"] if out.exists() else []
    else:
        again = ["--resume", *(["--allow-drift"] if options.allow_drift else [])]
        threads = options.threads or int(notes.get("threads", threads))  # its bits depend on them
    tasks = [part for task in run.network.tasks or () for part in ("--tasks", task)]
    changes = [part for change in run.network.changes for part in ("--set", change)]
    start = ["--weights", str(inputs.weights)] if inputs.weights else []
    if run.features:
        start = _name_features(run.features, CURATED, job)
    settings = ["--data", str(inputs.data), "--seed", str(run.seed), *tasks, *changes, *start]
    arguments = ["train", run.source, *settings, *_list_machine_options(options, threads), "--out", str(out), *again]
    return StepCommand(step, arguments, notes)


def _name_features(features: Sequence[PlannedFeatures], part: str, job: Job) -> list[str]:
    return [word for each in features for word in ("--features", str(find_features(each, part, job)))]


def make_extraction_step(features: PlannedFeatures, part: str, job: Job) -> Step:
    """The step that extracts the features of the curated set or of the list.

    Args:
        features: Of a trained network, or of a source outside of the submission; none that are given.
        part: ``curated`` or ``test``.
        job: The submission.
    """
    opened = job.opened
    rows: dict[str, Any] = {"data": opened.curated.digest, "flip": features.flip}
    if part == TEST:
        rows = {"list": opened.frame_list.digest, "frames": opened.frames_digest, "format": opened.plugin.name}
    made_of = {
        "abawkit": abawkit.__version__,
        "code": digest_code(),
        "source": digest_network(features.run, job) if features.run else _digest_source(features.source),
        **rows,
    }
    return Step(f"features {part} {features.name}", made_of, [find_features(features, part, job)])


def _digest_source(source: str) -> list[str]:
    """What identifies a source outside of a submission: digests of its files, or the versions of its package."""
    path = Path(source)
    if path.is_file():
        files = [path, *([path.with_suffix(".toml")] if path.suffix.lower() == ONNX_SUFFIX else [])]
        return [sha256_of(file) for file in files]
    found = entry_points(group=EXTRACTOR_GROUP, name=source)
    return sorted(f"{entry.value} {entry.dist.version if entry.dist else ''}" for entry in found)


def list_extractions(job: Job) -> list[tuple[PlannedFeatures, str]]:
    """The features that are extracted, and of which part each time."""
    return [(each, part) for part in (CURATED, TEST) for each in job.plan.features if not each.given]


def extract_planned_features(job: Job) -> None:
    """Extracts the features that are missing or of other inputs.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same command continues.
    """
    work = [(*entry, make_extraction_step(*entry, job)) for entry in list_extractions(job)]
    jobs, threads = job.options.share(len(work))
    commands = [_make_extraction_command(*entry, job, threads) for entry in work if job.is_due(entry[2])]
    job.cache.run_commands(commands, job.options, jobs)


def _make_extraction_command(features: PlannedFeatures, part: str, step: Step, job: Job, threads: int) -> StepCommand:
    out = find_features(features, part, job)
    out.parent.mkdir(parents=True, exist_ok=True)
    source = str(find_weights_file(features.run, job.recipe.epoch, job)) if features.run else features.source
    rows = ["--data", str(job.opened.inputs.data), *(["--flip"] if features.flip else [])]
    if part == TEST:
        rows = [*_list_frames(job), "--format", job.opened.plugin.name]
    again = ["--force"] if out.exists() else []
    machine = _list_machine_options(job.options, threads)
    return StepCommand(step, ["features", source, *rows, *machine, "--out", str(out), *again])


def _list_frames(job: Job) -> list[str]:
    """The options that name the list and its frames."""
    source = make_frame_folders(job.opened.inputs.frames)
    frames = [word for folder in source.folders for word in ("--frames", str(folder))]
    return ["--list", str(job.opened.inputs.listed), *frames, *(["--follow-links"] if source.follow_links else [])]


def make_prediction_step(member: PlannedMember, split: Split | None, job: Job) -> Step:
    """The step that predicts with one member.

    Args:
        member: The member, whose networks are trained.
        split: A curated split, or None for the list.
        job: The submission.
    """
    opened = job.opened
    rows = {"data": opened.curated.digest}
    if split is None:
        rows = {"list": opened.frame_list.digest, "frames": opened.frames_digest, "format": opened.plugin.name}
    made_of: dict[str, Any] = {
        "abawkit": abawkit.__version__,
        "code": digest_code(),
        "networks": [digest_network(run, job) for run in member.runs],
        "missing": opened.inputs.missing,
        **rows,
    }
    if member.features:
        part = CURATED if split else TEST
        made_of["features"] = [digest_features(features, part, job) for features in member.features]
    kind = "validation" if split else "test"
    # Files of validation are in ABAW7's format whatever the submission's is, so that `abawkit score` reads them.
    one_file = split is not None or opened.plugin.container == "file"
    out = job.outputs / kind / (f"{member.name}.txt" if one_file else member.name)
    return Step(f"predict {kind} {member.name}", made_of, [out.with_suffix(".npz"), out.with_suffix(".json"), out])


def predict_members(job: Job) -> PredictionSteps:
    """Predicts validation and the list with each member whose probabilities are missing or of other inputs.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it.
    """
    splits: tuple[Split | None, ...] = ("validation", None)
    work = [
        (member, split, make_prediction_step(member, split, job)) for split in splits for member in job.plan.members
    ]
    jobs, threads = job.options.share(len(work))
    commands = [_make_prediction_command(*entry, job, threads) for entry in work if job.is_due(entry[2])]
    job.cache.run_commands(commands, job.options, jobs)
    steps = [step for _, _, step in work]
    return PredictionSteps(steps[: len(job.plan.members)], steps[len(job.plan.members) :])


def _make_prediction_command(
    member: PlannedMember, split: Split | None, step: Step, job: Job, threads: int
) -> StepCommand:
    inputs, out = job.opened.inputs, step.outputs[-1]
    out.parent.mkdir(exist_ok=True)
    networks = [str(find_weights_file(run, job.recipe.epoch, job)) for run in member.runs]
    if split:
        rows = ["--split", split, "--data", str(inputs.data)]
    elif all(run.features for run in member.runs):
        rows = ["--list", str(inputs.listed), "--format", job.opened.plugin.name]
    else:
        rows = [*_list_frames(job), "--format", job.opened.plugin.name]
    rows += _name_features(member.features, CURATED if split else TEST, job)
    rows += ["--missing", inputs.missing] if inputs.missing != "refuse" else []
    again = ["--force"] if any(path.exists() for path in step.outputs) else []
    machine = _list_machine_options(job.options, threads)
    return StepCommand(step, ["predict", *networks, *rows, *machine, "--out", str(out), *again])


def read_prediction_manifest(probabilities: Path) -> dict[str, Any]:
    """Reads what `abawkit predict` wrote beside probabilities.

    Raises:
        DataError: If it can't be read.
    """
    path = probabilities.with_suffix(".json")
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read ({error}); remove it and run `abawkit submit` again") from error
    return content


def _list_machine_options(options: ExecutionOptions, threads: int) -> list[str]:
    return ["--threads", str(threads), *(["--ops", options.ops] if options.ops else [])]
