"""The inputs of a submission, opened, checked and digested before the first step, and the folder that it is made in."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from abawkit.choices import Missing
from abawkit.curation.curated_set import CuratedSet, open_curated
from abawkit.curation.release import format_command
from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import SubmissionFormat, get_format
from abawkit.formats.frame_counts import list_crops
from abawkit.frames.crops import FrameSummary
from abawkit.frames.paths import FramesRoot, find_frame_paths, make_frame_folders
from abawkit.labels import TASKS, Task
from abawkit.models.weight_files import find_weights
from abawkit.pipeline.commands import run_together
from abawkit.pipeline.step_cache import Stamps, Step
from abawkit.postprocessing.outputs import find_needed_tasks
from abawkit.submissions.plan import Plan, make_plan
from abawkit.submissions.recipe import SubmissionRecipe, read_submission_recipe
from abawkit.system.files import count_processors, sha256, sha256_of
from abawkit.tables import FrameList, VideoList

MOST_JOBS = 4
"""Networks trained at the same time unless more are asked for: each holds a torch of its own in memory."""

Run = Callable[[list[list[str]], Callable[[str], None]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Inputs:
    """What a submission is made of, beside its recipe.

    Attributes:
        data: Folder of the curated set.
        listed: The list of frames to answer.
        frames: Where the list's frames are.
        weights: File of weights that training starts from, or the folder of a run.
        missing: What becomes of frames that can't be read.
    """

    data: Path
    listed: Path
    frames: FramesRoot
    weights: Path | None = None
    missing: Missing = "refuse"


@dataclass(frozen=True)
class ExecutionOptions:
    """How steps are run; none of this belongs to what they are made of.

    Attributes:
        jobs: Processes at the same time; by default one a processor, at most `MOST_JOBS`.
        threads: CPU threads of each; by default an equal share of the processors.
        ops: Implementation of the operator, by name.
        allow_drift: Whether a run that was interrupted may go on under other conditions.
        run: Runs commands at the same time.
        say: Called with lines for a person.
    """

    jobs: int | None = None
    threads: int | None = None
    ops: str | None = None
    allow_drift: bool = False
    run: Run = run_together
    say: Callable[[str], None] = lambda _: None

    def share(self, wanted: int) -> tuple[int, int]:
        """Processes at the same time, and threads of each.

        Args:
            wanted: Processes that there is work for in all, also where some of it is done already: the threads of a
                run, which its bits depend on, are then the same whatever was done before.
        """
        jobs = max(1, min(self.jobs or min(count_processors(), MOST_JOBS), wanted))
        return jobs, self.threads or max(1, count_processors() // jobs)


@dataclass(frozen=True)
class Opened:
    """Inputs that were found to be what the recipe needs.

    Attributes:
        inputs: As they were given.
        curated: The curated set.
        plugin: The format.
        frame_list: The list.
        frames_digest: Of the list's frames, see `digest_frames`.
        weights_sha256: Of the file of weights, which `inputs` names, or None.
    """

    inputs: Inputs
    curated: CuratedSet
    plugin: SubmissionFormat
    frame_list: FrameList
    frames_digest: str
    weights_sha256: str | None


def open_inputs(recipe: SubmissionRecipe, inputs: Inputs) -> Opened:
    """Opens what a submission is made of.

    Raises:
        ConfigError: If weights are absent that the recipe starts from, or given where it starts from none; if the
            format is unknown.
        DataError: If the curated set was made with another policy, holds no frames or no validation rows, or something
            is not what it must be.
    """
    if recipe.weights == "published" and inputs.weights is None:
        raise ConfigError(
            'this submission starts from published weights (weights = "published"): give the file with --weights, a '
            ".pth as published, what `abawkit import-weights` made of it, or a run of your own"
        )
    if recipe.weights == "none" and inputs.weights is not None:
        raise ConfigError('this submission starts from no weights (weights = "none"); leave --weights out')
    if inputs.weights is not None and inputs.weights.is_dir():
        inputs = replace(inputs, weights=find_weights(inputs.weights))
    plugin = get_format(recipe.format)
    curated = open_curated(inputs.data)
    if curated.policy != recipe.policy:
        raise DataError(
            f"{inputs.data}: was curated with --policy {curated.policy}, and this submission is trained on "
            f"{recipe.policy}; make a set with\n{format_command(inputs.data, recipe.policy)}"
        )
    if not curated.frames_digest:
        raise DataError(f"{inputs.data}: holds labels only; run `abawkit curate` with the frames")
    if not len(curated.splits["validation"].annotations):
        raise DataError(f"{inputs.data}: has no validation rows, which the figures and all fitting rest on")
    frame_list = plugin.read_list(inputs.listed)
    folders = make_frame_folders(inputs.frames).folders
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
    if isinstance(frame_list, VideoList):
        frame_list = list_crops(frame_list, folders)
    weights = sha256_of(inputs.weights) if inputs.weights else None
    images = frame_list.images.to_pylist()
    FrameSummary.begin(inputs.frames, images)  # names images that two folders have with different bytes
    digest = digest_frames(inputs.frames, images)
    return Opened(inputs, curated, plugin, frame_list, digest, weights)


def digest_frames(root: FramesRoot, images: list[str]) -> str:
    """A digest of listed frames that opens none of them: names, sizes, times of their last change.

    The contents of 51,159 frames would take longer to read than all else that a submission with nothing to do takes.

    Args:
        root: Where the frames are.
        images: Image names, in order.

    Raises:
        DataError: If a name leads out of the folders of frames.
    """
    lines = []
    for image, path in zip(images, find_frame_paths(root, images), strict=True):
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for each of 51,159 names takes longer
            lines.append(f"{image} {found.st_size} {found.st_mtime_ns}")
        except (OSError, ValueError):
            lines.append(f"{image} absent")
    return sha256("\n".join(lines).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Prepared:
    """A submission before its first step.

    Attributes:
        folder: That holds ``recipe.toml``.
        recipe: The recipe.
        recipe_sha256: Of its file.
        plan: What has to be trained, and the members that it makes.
        opened: What goes in beside the recipe.
    """

    folder: Path
    recipe: SubmissionRecipe
    recipe_sha256: str
    plan: Plan
    opened: Opened

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the official file is decided from; only they are scored."""
        return find_needed_tasks(self.opened.plugin.tasks)


@dataclass(frozen=True)
class StepFolder:
    """Where a submission is being made.

    Attributes:
        outputs: Folder of all that is made.
        stamps: What each step was made of.
        options: How steps are run.
        done: Names of the steps that were done.
    """

    outputs: Path
    stamps: Stamps
    options: ExecutionOptions
    done: list[str] = field(default_factory=list)

    def due(self, step: Step) -> bool:
        """Whether a step has to be done; says why, or that it has not."""
        reason = self.stamps.reason(step)
        self.options.say(f"{step.name}: {reason}" if reason else f"{step.name}: nothing to do")
        return reason is not None

    def finish(self, steps: Sequence[Step]) -> None:
        """Notes that steps are done."""
        for step in steps:
            self.stamps.done(step)
            self.done.append(step.name)


def prepare(folder: Path, inputs: Inputs) -> Prepared:
    """Reads a submission's recipe and opens what it is made of; nothing is written.

    Raises:
        ConfigError: If the recipe, or what was given with it, is not what it must be.
        DataError: If the data is not.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; give the folder of a submission; `abawkit submissions new NAME` creates one"
        )
    recipe, digest = read_submission_recipe(folder)
    plan, opened = make_plan(folder, recipe), open_inputs(recipe, inputs)
    _refuse_unlabelled(plan, opened)
    return Prepared(folder, recipe, digest, plan, opened)


def _refuse_unlabelled(plan: Plan, opened: Opened) -> None:
    """Refuses data without labels for a task that a network is to be trained for, before hours are spent on it."""
    split = opened.curated.splits["train"]
    usable = split.kept & (split.frames >= 0)
    for task in TASKS:
        names = list(dict.fromkeys(run.network.name for run in plan.runs if task in run.tasks))
        if names and not (getattr(split.annotations, f"{task}_valid") & usable).any():
            raise DataError(
                f"{opened.inputs.data}: no training row is annotated for {task}, which {', '.join(names)} is to be "
                "trained for; give another curated set, or leave this task out of the networks' tasks"
            )
