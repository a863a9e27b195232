"""Rules fitted to stored probabilities, and what they decide of videos that they were not fitted on; kept once made."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abawkit.choices import Protocol
from abawkit.errors import DataError
from abawkit.probabilities.members import StoredMember, read_probabilities, write_probabilities
from abawkit.system.files import write_json
from abawkit.system.provenance import digest_code
from abawkit.tables import Annotations, Predictions
from abawkit.tuning.cross_validation import Tuning, digest_truth
from abawkit.tuning.tune import calibrate, tune

Fit = Callable[[Sequence[StoredMember], Annotations, Protocol], Tuning]


@dataclass(frozen=True)
class Fitted:
    """What a fitted rule led to.

    Attributes:
        held_out: Predictions, those of each video by a rule that was fitted without it.
        in_sample: P of one rule that was fitted on all videos, on these same videos.
        evidence: What was fitted, for JSON.
    """

    held_out: Predictions
    in_sample: float
    evidence: dict[str, Any]


def thresholds(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """A threshold for each action unit."""
    return calibrate(members, truth, calibration=("au",), protocol=protocol)


def calibration(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """Thresholds, a bias for each expression, a scale and a shift for valence and arousal."""
    return calibrate(members, truth, protocol=protocol)


def smoothing(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """How each task is smoothed over a video."""
    return tune(members, truth, calibration=(), weights=False, pool=False, protocol=protocol)


def everything(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """Smoothing and calibration, and where there are several members, what each weighs and how they are pooled."""
    return tune(members, truth, protocol=protocol)


def fit_variant(
    fit: Fit, members: Sequence[StoredMember], truth: Annotations, protocol: Protocol, path: Path
) -> Fitted:
    """Fits a rule, or reads what the same fit by the same code left.

    Args:
        fit: What is fitted.
        members: Stored probabilities.
        truth: The annotations of their rows.
        protocol: What is fitted for.
        path: Where the held-out predictions are kept (``.npz``), with a ``.json`` beside them.

    Raises:
        DataError: If the members are not of the rows of the truth, or there are too few videos.
    """
    note = path.with_suffix(".json")
    makings = {
        "code": digest_code(),
        "fit": fit.__name__,
        "members": sorted(member.digest for member in members),
        "truth": digest_truth(truth),
        "protocol": protocol,
    }
    if (kept := _kept(path, note, makings)) is not None:
        return kept
    tuning = fit(members, truth, protocol)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_probabilities(path, tuning.held_out)
    write_json(note, {"makings": makings, "in_sample": tuning.in_sample["score"], "evidence": tuning.evidence()})
    kept = _kept(path, note, makings)
    if kept is None:
        raise DataError(f"{note}: can't be read back; see whether the disk is failing")
    return kept


def _kept(path: Path, note: Path, makings: dict[str, Any]) -> Fitted | None:
    """What was kept of the same fit; None where nothing was, or it was another."""
    try:
        content = json.loads(note.read_bytes())
        if content["makings"] != makings:
            return None
        return Fitted(read_probabilities(path), float(content["in_sample"]), dict(content["evidence"]))
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None
