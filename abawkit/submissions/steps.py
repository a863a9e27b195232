"""Training what is missing and predicting with it: commands in processes of their own, as many as there is room for."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import abawkit
from abawkit.choices import Split
from abawkit.errors import DataError
from abawkit.frames.paths import make_frame_folders
from abawkit.pipeline.commands import group_waves
from abawkit.pipeline.step_cache import Step
from abawkit.submissions.plan import PlannedMember, PlannedRun
from abawkit.submissions.recipe import Epoch
from abawkit.submissions.workspace import ExecutionOptions, Prepared, StepFolder
from abawkit.system.provenance import digest_code

RUNS: Final = "runs"
VALIDATION: Final = "validation"
TEST: Final = "test"

_EPOCHS: Final[tuple[Epoch, ...]] = ("best", "last")


class Predicted(NamedTuple):
    """The steps that predict with each member, in the plan's order.

    Attributes:
        validation: Of the curated set's validation rows.
        test: Of the list.
    """

    validation: list[Step]
    test: list[Step]


def find_weights_file(run: PlannedRun, epoch: Epoch, place: StepFolder) -> Path:
    """The file of weights of a run."""
    return place.outputs / RUNS / run.name / f"{epoch}.safetensors"


def make_training_step(run: PlannedRun, made: Prepared, place: StepFolder) -> Step:
    """What training one network depends on, and leaves.

    Its code is left out: hours are not spent again on every change of it. The manifest says which code it was.
    """
    made_of = {
        "abawkit": abawkit.__version__,
        "recipe": run.resolved(),
        "data": made.opened.curated.digest,
        "weights": made.opened.weights_sha256,
    }
    return Step(f"train {run.name}", made_of, [find_weights_file(run, epoch, place) for epoch in _EPOCHS])


def digest_network(run: PlannedRun, made: Prepared, place: StepFolder) -> str:
    """SHA-256 of the weights that are used of a network that is trained."""
    return place.stamps.digest(make_training_step(run, made, place), find_weights_file(run, made.recipe.epoch, place))


def train_networks(made: Prepared, place: StepFolder) -> None:
    """Trains the networks that are missing, or made of something else than now.

    One that was interrupted goes on from its newest checkpoint.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it.
    """
    runs = made.plan.runs
    jobs, threads = place.options.share(len(runs))
    steps = [make_training_step(run, made, place) for run in runs]
    due = [(run, step) for run, step in zip(runs, steps, strict=True) if place.due(step)]
    (place.outputs / RUNS).mkdir(exist_ok=True)
    for wave in group_waves(due, jobs):
        commands = [_training(run, step, made, place, threads) for run, step in wave]
        place.options.run(commands, place.options.say)
        place.finish([step for _, step in wave])


def _training(run: PlannedRun, step: Step, made: Prepared, place: StepFolder, threads: int) -> list[str]:
    """The command that trains one network, or goes on with it."""
    inputs, options = made.opened.inputs, place.options
    out = place.outputs / RUNS / run.name
    begun, there = place.stamps.begun(step), _run_there(out)
    # A run that was begun, but killed before it had replaced the one of other things before it, is not there yet.
    if begun is None or (there and begun.get("replaces") == there):
        again = ["--force"] if out.exists() else []
        place.stamps.begin(step, {"threads": threads, "replaces": there})
    else:
        again = ["--resume", *(["--allow-drift"] if options.allow_drift else [])]
        threads = options.threads or int(begun.get("threads", threads))  # its bits depend on them
    tasks = [part for task in run.network.tasks or () for part in ("--tasks", task)]
    changes = [part for change in run.network.changes for part in ("--set", change)]
    weights = ["--weights", str(inputs.weights)] if inputs.weights else []
    settings = ["--data", str(inputs.data), "--seed", str(run.seed), *tasks, *changes, *weights]
    return ["train", run.source, *settings, *_shared(options, threads), "--out", str(out), *again]


def _run_there(out: Path) -> list[int] | None:
    """What tells the run in a folder from the one that comes to replace it: every run writes its recipe first."""
    try:
        found = (out / "recipe.toml").stat()
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns]


def make_prediction_step(member: PlannedMember, split: Split | None, made: Prepared, place: StepFolder) -> Step:
    """What predicting with one member depends on, and leaves.

    Args:
        member: The member, whose networks are trained.
        split: A curated split, or None for the list.
        made: What the submission is made of.
        place: Where it is made.
    """
    opened = made.opened
    rows = {"data": opened.curated.digest}
    if split is None:
        rows = {"list": opened.frame_list.digest, "frames": opened.frames_digest, "format": opened.plugin.name}
    made_of = {
        "abawkit": abawkit.__version__,
        "code": digest_code(),
        "networks": [digest_network(run, made, place) for run in member.runs],
        "missing": opened.inputs.missing,
        **rows,
    }
    kind = VALIDATION if split else TEST
    # Files for validation are ABAW7's whatever the submission's format is, so that `abawkit score` reads them.
    one_file = split is not None or opened.plugin.container == "file"
    out = place.outputs / kind / (f"{member.name}.txt" if one_file else member.name)
    return Step(f"predict {kind} {member.name}", made_of, [out.with_suffix(".npz"), out.with_suffix(".json"), out])


def predict_members(made: Prepared, place: StepFolder) -> Predicted:
    """Predicts validation and the list with each member whose probabilities are missing, or of something else.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it.
    """
    members = made.plan.members
    validation = [make_prediction_step(member, "validation", made, place) for member in members]
    test = [make_prediction_step(member, None, made, place) for member in members]
    work: list[tuple[PlannedMember, Split | None, Step]] = []
    both: tuple[tuple[Split | None, list[Step]], ...] = (("validation", validation), (None, test))
    for split, steps in both:
        work += [(member, split, step) for member, step in zip(members, steps, strict=True)]
    due = [(member, split, step) for member, split, step in work if place.due(step)]
    jobs, threads = place.options.share(len(work))
    for wave in group_waves(due, jobs):
        commands = [_prediction(member, split, step, made, place, threads) for member, split, step in wave]
        place.options.run(commands, place.options.say)
        place.finish([step for _, _, step in wave])
    return Predicted(validation, test)


def _prediction(
    member: PlannedMember, split: Split | None, step: Step, made: Prepared, place: StepFolder, threads: int
) -> list[str]:
    inputs, out = made.opened.inputs, step.outputs[-1]
    out.parent.mkdir(exist_ok=True)
    place.stamps.begin(step)
    networks = [str(find_weights_file(run, made.recipe.epoch, place)) for run in member.runs]
    if split:
        rows = ["--split", split, "--data", str(inputs.data)]
    else:
        source = make_frame_folders(inputs.frames)
        frames = [part for folder in source.folders for part in ("--frames", str(folder))]
        frames += ["--follow-links"] if source.follow_links else []
        rows = ["--list", str(inputs.listed), *frames, "--format", made.opened.plugin.name]
    missing = ["--missing", inputs.missing] if inputs.missing != "refuse" else []
    again = ["--force"] if any(path.exists() for path in step.outputs) else []
    return ["predict", *networks, *rows, *missing, *_shared(place.options, threads), "--out", str(out), *again]


def find_prediction_manifest(probabilities: Path) -> dict[str, Any]:
    """What `abawkit predict` wrote down beside probabilities.

    Raises:
        DataError: If it can't be read.
    """
    path = probabilities.with_suffix(".json")
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read ({error}); remove it and run `abawkit submit` again") from error
    return content


def _shared(options: ExecutionOptions, threads: int) -> list[str]:
    return ["--threads", str(threads), *(["--ops", options.ops] if options.ops else [])]
