"""Prediction from end to end: list or split, frames, members, the official file and what lies beside it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import torch

from abawkit.choices import InferencePrecision, Missing
from abawkit.errors import ConfigError, DataWarning, OpWarning
from abawkit.formats.base import SubmissionFormat
from abawkit.frame_columns import find_nearest_rows, read_frame_numbers
from abawkit.labels import TASKS, Task
from abawkit.models.attention import describe_operators, list_evaluation_calls
from abawkit.models.devices import explain_slow_bfloat16
from abawkit.models.inference import Probabilities, pick_device
from abawkit.models.network import DDAMFN
from abawkit.postprocessing.outputs import find_needed_tasks, write_outputs
from abawkit.postprocessing.rule import Rule, apply_rule, refuse_other_members
from abawkit.prediction.networks import Member, load_members, make_zeros, predict_each, predict_mean
from abawkit.prediction.sequences import answer_from_features, make_empty_chunk, select_chunks
from abawkit.prediction.sources import FrameSelection
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import KEY_DIGITS, StoredMember, digest_columns
from abawkit.tables import Array, Predictions
from abawkit.training.run_folder import describe_environment

_EQUAL: Final = 1e-4
"""Probabilities, valences and arousals that differ by less are equal; batches of other sizes differ by rounding."""


@dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
        submission: The official file.
        probabilities: The ``.npz`` beside it.
        manifest: The ``.json`` beside it.
        rows: Rows.
        members: The networks.
        filled: For each row that took the answer of another frame, that frame's row.
    """

    submission: Path
    probabilities: Path
    manifest: Path
    rows: int
    members: list[Member]
    filled: dict[int, int]


def predict(
    sources: Sequence[Path],
    frames: FrameSelection,
    out: Path,
    plugin: SubmissionFormat,
    *,
    features: Sequence[Path] = (),
    rule: Rule | None = None,
    missing: Missing = "refuse",
    device: str = "auto",
    precision: InferencePrecision = "float32",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predicts with one network or several and writes the official file, one row for each listed frame.

    Writes `out`, and beside it the probabilities (``.npz``: ``va`` (n, 2), ``expression`` (n, 8), ``au`` (n, 12),
    float32; ``images``; ``list_digest``) and a manifest (``.json``: digests of the list, of every checkpoint and of the
    file, versions). For a format of single tasks, networks of these tasks are enough; the ``.npz`` then lacks the
    columns of tasks that no network was trained for.

    Args:
        sources: Run folders or files of weights.
        frames: What to predict.
        out: The official file.
        plugin: Its format.
        features: Stores of features for the sequence networks; where all networks are such, no frame is read.
        rule: How the members' probabilities are weighted, smoothed and calibrated; without one, they are averaged. Its
            weights name networks by the first 12 digits of their digests; one without weights is for any networks.
        missing: ``refuse`` frames that can't be read, or answer with the nearest ``neighbour`` of the same video.
        device: Where to run.
        precision: What the networks compute with.
        force: Whether a folder that is at `out` is replaced.
        progress: Called with the rows done and the rows in all.

    Raises:
        ConfigError: If the device is not available, or features are not given where, and only where, they are read.
        DataError: If a checkpoint or a frame is not what it must be, more than a small share of the frames are no
            aligned crops, a task of the format has no network, or the rule weighs other networks.
        OpUnavailableError: If the requested implementation of an operator can't run here.

    Warns:
        DataWarning: If frames were resized, an image is in two folders with different bytes, or all answers are equal.
        OpWarning: If the device has no instructions for `precision`.
    """
    target = pick_device(device)
    members = load_members(sources, target, find_needed_tasks(plugin.tasks), precision)
    framed = [member.network for member in members if isinstance(member.network, DDAMFN)]
    if precision != "float32" and not framed:
        raise ConfigError(f"--precision {precision}: sequence networks compute in float32; leave it out")
    _warn_emulated(precision, target)
    calls = (call for network in framed for call in list_evaluation_calls(network.config, target, precision))
    used = describe_operators(calls)  # before the frames are read: the requested one may be unable to run
    images = frames.images
    names = pa.array(images, pa.string())
    tasks = tuple(task for task in TASKS if any(task in member.tasks for member in members))
    if rule:
        _refuse_rule(rule, members, tasks, names)
    members, present, stores = answer_from_features(members, features, names, missing, target, progress)
    chunks = select_chunks(frames.read(missing), present) if framed else make_empty_chunk(present)
    if rule:
        each, seen = predict_each(members, chunks, len(images), target, progress)
        for probabilities in each:
            filled = fill_from_neighbours(probabilities, seen, images)  # from the same rows for each
        stored = [_make_stored_member(member, names, found) for member, found in zip(members, each, strict=True)]
        predictions = apply_rule(rule, stored, tasks)
    else:
        mean, seen = predict_mean(members, chunks, len(images), target, progress)
        filled = fill_from_neighbours(mean, seen, images)
        predictions = assemble(names, _select_columns(mean, tasks))
    _warn_equal(predictions, tasks, seen)
    written = write_outputs(
        out,
        predictions,
        tasks,
        plugin,
        source={**frames.describe(), **({"features": stores} if stores else {})},
        members=[{"path": str(m.path), "digest": m.digest, "tasks": list(m.tasks)} for m in members],
        environment=describe_environment(target, used, evaluation=precision),
        rule=rule,
        filled=[{"row": row + 1, "image": images[row], "from": images[other]} for row, other in filled.items()],
        force=force,
    )
    return Predicted(written.submission, written.probabilities, written.manifest, len(images), members, filled)


def _warn_emulated(precision: InferencePrecision, device: torch.device) -> None:
    if precision == "bfloat16" and (reason := explain_slow_bfloat16(device)):
        warnings.warn(f"--precision bfloat16: {reason}", OpWarning, stacklevel=3)


def _warn_equal(predictions: Predictions, tasks: Sequence[Task], seen: Array) -> None:
    """Warns if all frames have the same probabilities: they are blank, or the network has learned nothing."""
    rows = np.flatnonzero(seen)
    if len(predictions.images.take(pa.array(rows)).unique()) < 2:
        return
    if all(np.ptp(getattr(predictions, task)[rows], axis=0).max() < _EQUAL for task in tasks):
        warnings.warn(
            f"all {len(rows):,} answers are equal: the frames are blank or no faces, or the network has learned "
            "nothing; look at some frames, and at the scores of the run",
            DataWarning,
            stacklevel=3,
        )


def _refuse_rule(rule: Rule, members: Sequence[Member], tasks: Sequence[Task], names: pa.StringArray) -> None:
    """Refuses a rule that can't be applied, before hours are spent on frames."""
    refuse_other_members(rule, [_make_stored_member(member, names[:0], make_zeros(0)) for member in members], tasks)
    if any(smoothing.kind != "none" for smoothing in rule.smoothing.values()):
        read_frame_numbers(names)


def _make_stored_member(member: Member, names: pa.StringArray, probabilities: Probabilities) -> StoredMember:
    predictions = assemble(names, _select_columns(probabilities, member.tasks))
    digest = digest_columns(predictions, member.tasks)
    return StoredMember(member.path, predictions, member.tasks, digest, member.digest[:KEY_DIGITS])


def _select_columns(probabilities: Probabilities, tasks: Sequence[Task]) -> dict[Task, Array]:
    return {task: getattr(probabilities, task) for task in tasks}


def fill_from_neighbours(probabilities: Probabilities, seen: Array, images: Sequence[str]) -> dict[int, int]:
    """Copies to each row without a frame the probabilities of the row of its video with the nearest frame number.

    Args:
        probabilities: Filled in place.
        seen: True for rows that have probabilities, (n,).
        images: Image names ``VIDEO/00001.jpg``, n of them.

    Returns:
        For each row that was filled the row that it was filled from; of two equally near, the earlier frame.

    Raises:
        DataError: If no frame of a video was read, or a frame has no number.
    """
    filled = find_nearest_rows(images, np.flatnonzero(~seen), seen, "can be read")
    for row, source in filled.items():
        for column in probabilities:
            column[row] = column[source]
    return filled
