"""Prediction from end to end: list or split, frames, members, the official file and what lies beside it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import torch

from abawkit.choices import Missing
from abawkit.errors import DataWarning
from abawkit.formats.base import SubmissionFormat
from abawkit.frame_columns import read_frame_numbers
from abawkit.frames.reader import FrameFailure
from abawkit.labels import TASKS, Task
from abawkit.models.attention import describe_operators, make_attention_call
from abawkit.models.inference import Probabilities, pick_device
from abawkit.postprocessing.outputs import find_needed_tasks, write_outputs
from abawkit.postprocessing.rule import Rule, apply_rule, refuse_other_members
from abawkit.prediction.missing import fill_from_neighbours
from abawkit.prediction.networks import Member, load_members, make_zeros, predict_each, predict_mean
from abawkit.prediction.sources import CuratedFrames, ListedFrames
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import KEY_DIGITS, StoredMember, digest_columns
from abawkit.tables import Array, Predictions
from abawkit.training.run_folder import describe_environment

_EQUAL: Final = 1e-4
"""Probabilities, valences and arousals that differ by less are one answer, computed in batches of other sizes."""


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
    frames: ListedFrames | CuratedFrames,
    out: Path,
    plugin: SubmissionFormat,
    *,
    rule: Rule | None = None,
    missing: Missing = "refuse",
    device: str = "auto",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predicts with one network or several and writes the official file, row for row.

    Writes `out`, and beside it the probabilities (``.npz``: ``va`` (n, 2), ``expression`` (n, 8), ``au`` (n, 12),
    float32; ``images``; ``list_digest``) and a manifest (``.json``: digests of the list, of every checkpoint and of the
    file, versions). For a format of single tasks, networks of these tasks are enough; the ``.npz`` then lacks the
    columns of tasks that no network was trained for.

    Args:
        sources: Run folders or files of weights.
        frames: What to predict.
        out: The official file.
        plugin: Its format.
        rule: What is done with the members' probabilities; without one, they are averaged. It weighs networks by the
            first 12 digits of their digests, as all that is fitted does; one without weights is for any networks.
        missing: ``refuse`` frames that can't be read, or answer with the nearest ``neighbour`` of the same video.
        device: Where to run.
        force: Whether a folder that is at `out` is replaced.
        progress: Called with the rows done and the rows in all.

    Raises:
        ConfigError: If the device is not to be had.
        DataError: If a checkpoint or a frame is not what it must be, more than a small share of the frames are no
            aligned crops, a task that the format asks for has no network, or the rule weighs other networks.
        OpUnavailableError: If the implementation of an operator that was asked for by name can't run here.

    Warns:
        DataWarning: If frames were resized, an image is in two folders with different bytes, or all answers are equal.
    """
    target = pick_device(device)
    members = load_members(sources, target, find_needed_tasks(plugin.tasks))
    calls = (make_attention_call(m.network.config, target, torch.float32, training=False) for m in members)
    used = describe_operators(calls)  # before the frames are read: one that was named may be unable to run
    images = frames.images
    names = pa.array(images, pa.string())
    tasks = tuple(task for task in TASKS if any(task in member.tasks for member in members))
    if rule:
        _refuse_unfit(rule, members, tasks, names)
    failures: list[FrameFailure] = []
    counts = frames.begin()
    chunks = frames.chunks(missing, failures, counts)
    if rule:
        each, seen = predict_each(members, chunks, len(images), target, progress)
        for said in each:
            filled = fill_from_neighbours(said, seen, images)  # from the same rows for each
        stored = [_stored(member, names, said) for member, said in zip(members, each, strict=True)]
        predictions = apply_rule(rule, stored, tasks)
    else:
        mean, seen = predict_mean(members, chunks, len(images), target, progress)
        filled = fill_from_neighbours(mean, seen, images)
        predictions = assemble(names, _columns(mean, tasks))
    _warn_equal(predictions, tasks, seen)
    written = write_outputs(
        out,
        predictions,
        tasks,
        plugin,
        source={**frames.source(), **({"frame_counts": counts.as_dict()} if counts else {})},
        members=[{"path": str(m.path), "digest": m.digest, "tasks": list(m.tasks)} for m in members],
        environment=describe_environment(target, used),
        rule=rule,
        filled=[{"row": row + 1, "image": images[row], "from": images[other]} for row, other in filled.items()],
        force=force,
    )
    return Predicted(written.submission, written.probabilities, written.manifest, len(images), members, filled)


def _warn_equal(predictions: Predictions, tasks: Sequence[Task], seen: Array) -> None:
    """Warns where a network gave all frames the same answer: it saw nothing in them, or learned nothing."""
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


def _refuse_unfit(rule: Rule, members: Sequence[Member], tasks: Sequence[Task], names: pa.StringArray) -> None:
    """Refuses a rule that can't be applied before an hour is spent on frames."""
    refuse_other_members(rule, [_stored(member, names[:0], make_zeros(0)) for member in members], tasks)
    if any(smoothing.kind != "none" for smoothing in rule.smoothing.values()):
        read_frame_numbers(names)


def _stored(member: Member, names: pa.StringArray, said: Probabilities) -> StoredMember:
    predictions = assemble(names, _columns(said, member.tasks))
    digest = digest_columns(predictions, member.tasks)
    return StoredMember(member.path, predictions, member.tasks, digest, member.digest[:KEY_DIGITS])


def _columns(said: Probabilities, tasks: Sequence[Task]) -> dict[Task, Array]:
    return {task: getattr(said, task) for task in tasks}
