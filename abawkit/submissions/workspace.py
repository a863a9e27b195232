"""The inputs of a submission, opened, checked and digested before the first step, and the job that they are for."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from abawkit.choices import Missing
from abawkit.curation.curated_set import CuratedSet, open_curated
from abawkit.curation.release import format_command
from abawkit.errors import ConfigError, DataError, format_count, list_first, printable
from abawkit.features.onnx_description import read_onnx_description, refuse_absent_runtime
from abawkit.features.source_kinds import find_source_kind
from abawkit.features.store import FeatureStore
from abawkit.formats.base import SubmissionFormat, get_format
from abawkit.formats.frame_counts import list_crops
from abawkit.frame_columns import read_frame_numbers
from abawkit.frames.crops import FrameSummary
from abawkit.frames.paths import FramesRoot, find_frame_paths, make_frame_folders
from abawkit.labels import TASKS, Task
from abawkit.models.weight_files import find_weights
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step, StepCache
from abawkit.postprocessing.outputs import find_needed_tasks
from abawkit.submissions.plan import CURATED, OUTPUTS, TEST, PlannedFeatures, SubmissionPlan, plan_submission
from abawkit.submissions.recipe import RECIPE, SubmissionRecipe, read_submission_recipe
from abawkit.system.files import sha256, sha256_of
from abawkit.tables import FrameList, VideoList


@dataclass(frozen=True)
class SubmissionInputs:
    """The inputs of a submission besides its recipe.

    Attributes:
        data: Folder of the curated set.
        listed: The list of frames to answer.
        frames: Where the list's frames are.
        weights: File of weights that training starts from, or folder of a run.
        missing: Refuse frames that can't be read, or answer them from the nearest frame.
    """

    data: Path
    listed: Path
    frames: FramesRoot
    weights: Path | None = None
    missing: Missing = "refuse"


@dataclass(frozen=True)
class OpenedInputs:
    """Checked inputs.

    Attributes:
        inputs: As they were given.
        curated: The curated set.
        plugin: The format.
        frame_list: The list.
        frames_digest: Of the list's frames, see `digest_frames`.
        weights_sha256: Of the file of weights, which `inputs` names, or None.
    """

    inputs: SubmissionInputs
    curated: CuratedSet
    plugin: SubmissionFormat
    frame_list: FrameList
    frames_digest: str
    weights_sha256: str | None


def open_inputs(recipe: SubmissionRecipe, inputs: SubmissionInputs) -> OpenedInputs:
    """Opens the inputs of a submission and checks them against its recipe.

    Raises:
        ConfigError: If weights are absent but needed, or given but not used; if the format is unknown.
        DataError: If the curated set has another policy, no frames or no validation rows, or an input is damaged.
    """
    if recipe.weights == "published" and inputs.weights is None:
        raise ConfigError(
            'this submission starts from published weights (weights = "published"): give the file with --weights, a '
            ".pth as published, a file from `abawkit import-weights`, or a run of your own"
        )
    if recipe.weights == "none" and inputs.weights is not None:
        raise ConfigError('this submission starts from no weights (weights = "none"); leave --weights out')
    if inputs.weights is not None and inputs.weights.is_dir():
        inputs = replace(inputs, weights=find_weights(inputs.weights))
    try:
        plugin = get_format(recipe.format)
    except ConfigError as error:
        raise ConfigError(f"{RECIPE}: format: {str(error).removeprefix('--format ')}") from error
    curated = open_curated(inputs.data)
    if curated.policy != recipe.policy:
        raise DataError(
            f"{inputs.data}: was curated with --policy {curated.policy}, and this submission is trained on "
            f"{recipe.policy}; make a set with\n{format_command(inputs.data, recipe.policy)}"
        )
    if not curated.frames_digest:
        raise DataError(f"{inputs.data}: has labels but no frames; run `abawkit curate` with the frames")
    if not len(curated.splits["validation"].annotations):
        raise DataError(f"{inputs.data}: has no validation rows, which are needed for scores and fitting")
    frame_list = plugin.read_list(inputs.listed)
    folders = make_frame_folders(inputs.frames).folders
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
    if isinstance(frame_list, VideoList):
        frame_list = list_crops(frame_list, folders)
    weights = sha256_of(inputs.weights) if inputs.weights else None
    images = frame_list.images.to_pylist()
    FrameSummary.begin(inputs.frames, images)  # warns of images that differ between two folders
    digest = digest_frames(inputs.frames, images)
    return OpenedInputs(inputs, curated, plugin, frame_list, digest, weights)


def digest_frames(root: FramesRoot, images: list[str]) -> str:
    """A digest of the names, sizes and modification times of listed frames.

    Contents are not read: of 51,159 frames this would take longer than everything else when no step is due.

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
class Job:
    """A submission that is being made.

    Attributes:
        folder: The folder with ``recipe.toml``.
        recipe: The recipe.
        recipe_sha256: Of its file.
        plan: The networks to train, and the members that they form.
        opened: The other inputs.
        options: How steps are run.
        cache: Which steps are done.
    """

    folder: Path
    recipe: SubmissionRecipe
    recipe_sha256: str
    plan: SubmissionPlan
    opened: OpenedInputs
    options: ExecutionOptions
    cache: StepCache

    @property
    def outputs(self) -> Path:
        """Folder of everything but the manifest."""
        return self.cache.root

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the official file is decided from; only they are scored."""
        return find_needed_tasks(self.opened.plugin.tasks)

    def is_due(self, step: Step) -> bool:
        """Whether a step has to be run; prints the reason."""
        reason = self.cache.explain(step)
        self.options.say(f"{step.name}: {reason or 'nothing to do'}")
        return reason is not None


def prepare(folder: Path, inputs: SubmissionInputs, options: ExecutionOptions) -> Job:
    """Reads the recipe of a submission and opens its inputs; nothing is written.

    Raises:
        ConfigError: If the recipe or an option is not valid.
        DataError: If the data is not valid.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; give the folder of a submission; `abawkit submissions new NAME` creates one"
        )
    recipe, digest = read_submission_recipe(folder)
    plan, opened = plan_submission(folder, recipe), open_inputs(recipe, inputs)
    _refuse_unlabelled(plan, opened)
    _refuse_lacking_features(plan, opened)
    return Job(folder, recipe, digest, plan, opened, options, StepCache(folder / OUTPUTS))


def _refuse_unlabelled(plan: SubmissionPlan, opened: OpenedInputs) -> None:
    """Refuses data without labels for a task that a network is trained for, before hours are spent on it."""
    split = opened.curated.splits["train"]
    usable = split.kept & (split.frames >= 0)
    for task in TASKS:
        names = list(dict.fromkeys(run.network.name for run in plan.runs if task in run.tasks))
        if names and not (getattr(split.annotations, f"{task}_valid") & usable).any():
            raise DataError(
                f"{opened.inputs.data}: no training row is annotated for {task}, a task of the network "
                f"{', '.join(names)}; give another curated set, or leave this task out of the networks' tasks"
            )


def _refuse_lacking_features(plan: SubmissionPlan, opened: OpenedInputs) -> None:
    """Refuses frames that heads over time will have no features of, before networks are trained for hours."""
    if not plan.features:
        return
    listed = opened.frame_list.images
    for images in (*(split.annotations.images for split in opened.curated.splits.values()), listed):
        try:
            read_frame_numbers(images)
        except DataError as error:
            reason = str(error).partition("; ")[0]
            raise DataError(f"{reason}; heads over time need the order of frames: leave them out") from error
    if any(not features.given for features in plan.features):
        _refuse_absent_frames(opened)
    for features in plan.features:
        if features.given:
            _refuse_other_features(features, features.given, opened)
        elif features.source:
            _refuse_other_source(Path(features.source))


def _refuse_other_source(source: Path) -> None:
    """Refuses a source outside of the submission that is neither weights nor an ONNX file with its description."""
    kind = find_source_kind(source)
    if kind == "network":
        find_weights(source)
    elif kind == "onnx":
        refuse_absent_runtime(source)
        read_onnx_description(source.with_suffix(".toml"))


def _refuse_absent_frames(opened: OpenedInputs) -> None:
    images = opened.frame_list.images.to_pylist()
    paths = find_frame_paths(opened.inputs.frames, images)
    if absent := [image for image, path in zip(images, paths, strict=True) if not os.path.isfile(path)]:  # noqa: PTH113
        count = f"{len(absent):,} of {format_count(len(images), 'frame')}"
        shown = ", ".join(list_first([printable(image) for image in absent], 3))
        raise DataError(
            f"{opened.inputs.listed}: {count} of the list are absent: {shown}; "
            "heads over time need features of all: give the right --frames, or leave these heads out of the recipe"
        )


def _refuse_other_features(features: PlannedFeatures, folder: Path, opened: OpenedInputs) -> None:
    """Refuses features that are given and of other rows, or without mirrored frames that are needed."""
    curated = FeatureStore.open(folder / CURATED)
    for split in opened.curated.splits.values():
        curated.select(split.annotations.images.filter(pa.array(split.frames >= 0)).unique())
    if features.flip and curated.mirrored is None:
        raise DataError(
            f"{curated.folder}: holds no features of mirrored frames, and a head that reads them has an "
            "augmentation.flip above 0; make that 0, or extract them with --flip"
        )
    if opened.inputs.missing == "refuse":
        FeatureStore.open(folder / TEST).select(opened.frame_list.images.unique())
