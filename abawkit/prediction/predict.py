"""Prediction from end to end: list or split, frames, members, the official file and what lies beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import abawkit
from abawkit.choices import Missing
from abawkit.files import replacing, sha256, write_bytes, write_json
from abawkit.formats.base import SubmissionFormat
from abawkit.frames.reader import FrameFailure
from abawkit.models.inference import pick_device
from abawkit.models.operators import attention_call, operators
from abawkit.prediction.ensemble import mean_probabilities
from abawkit.prediction.members import Member, load_members
from abawkit.prediction.missing import fill_from_neighbours
from abawkit.prediction.outputs import outputs
from abawkit.prediction.sources import CuratedFrames, ListedFrames
from abawkit.tables import Predictions
from abawkit.training.record import environment


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
    missing: Missing = "refuse",
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predicts with one network or several and writes the official file, row for row.

    Writes `out`, and beside it the probabilities (``.npz``: ``va`` (n, 2), ``expression`` (n, 8), ``au`` (n, 12),
    float32; ``images``; ``list_digest``) and a manifest (``.json``: digests of the list, of every checkpoint and of the
    file, versions).

    Args:
        sources: Run folders or files of weights.
        frames: What to predict.
        out: The official file.
        plugin: Its format.
        missing: ``refuse`` frames that can't be read, or answer with the nearest ``neighbour`` of the same video.
        device: Where to run.
        progress: Called with the rows done and the rows in all.

    Raises:
        ConfigError: If the device is not to be had.
        DataError: If a checkpoint or a frame is not what it must be.
        OpUnavailableError: If the implementation of an operator that was asked for by name can't run here.
    """
    submission_path, npz_path, manifest_path = outputs(out)
    target = pick_device(device)
    members = load_members(sources, target)
    calls = (attention_call(m.network.config, target, torch.float32, training=False) for m in members)
    used = operators(calls)  # before the frames are read: one that was named may be unable to run
    images = frames.images
    failures: list[FrameFailure] = []
    chunks = frames.chunks(missing, failures)
    probabilities, seen = mean_probabilities(members, chunks, len(images), target, progress)
    filled = fill_from_neighbours(probabilities, seen, images)
    predictions = Predictions(pa.array(images, pa.string()), *probabilities)
    content = plugin.encode(predictions.decide())
    manifest = {
        "abawkit": abawkit.__version__,
        "format": plugin.name,
        "rows": len(images),
        "source": {**frames.source(), "list_digest": frames.digest},
        "members": [{"path": str(m.path), "digest": m.digest, "tasks": list(m.tasks)} for m in members],
        "submission_sha256": sha256(content),
        "filled": [{"row": row + 1, "image": images[row], "from": images[other]} for row, other in filled.items()],
        "environment": environment(target, used),
    }
    with replacing(npz_path) as file:
        np.savez_compressed(file, images=np.array(images), list_digest=frames.digest, **probabilities._asdict())
    write_json(manifest_path, manifest)
    write_bytes(submission_path, content)
    return Predicted(submission_path, npz_path, manifest_path, len(images), members, filled)
