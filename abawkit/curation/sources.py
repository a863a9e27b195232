"""Where a release keeps its files, and whether its splits are apart."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from abawkit.errors import ConfigError, DataError, DataWarning, format_count, printable
from abawkit.names import clip_of
from abawkit.tables import Annotations

TRAIN = "training_set_annotations.txt"
VALIDATION = "validation_set_annotations.txt"
FRAMES = "cropped_aligned"


@dataclass(frozen=True)
class Sources:
    """The files that are curated.

    Attributes:
        train: Annotations of the training split.
        validation: Annotations of the validation split.
        frames: Folder of the frames of both, or None where only the labels are curated.
    """

    train: Path
    validation: Path
    frames: Path | None


def locate(
    release: Path,
    *,
    train: Path | None = None,
    validation: Path | None = None,
    frames: Path | None = None,
    labels_only: bool = False,
) -> Sources:
    """Finds the files of a release in the official layout; each path may be given instead, as teams' layouts differ.

    Args:
        release: Folder of the release.
        train: Instead of ``training_set_annotations.txt`` (or its ``.gz``) in the release.
        validation: Instead of ``validation_set_annotations.txt`` (or its ``.gz``) in the release.
        frames: Instead of ``cropped_aligned`` in the release.
        labels_only: Whether frames are left out.

    Raises:
        ConfigError: If the options contradict each other.
        DataError: If a file or folder is not there.
    """
    if labels_only and frames:
        raise ConfigError("--labels-only and --frames contradict each other; give one of them")
    if not release.is_dir():
        kind = "is a file" if release.exists() else "no such folder"
        raise DataError(f"{release}: {kind}; expected the folder of a release that holds {TRAIN} and {VALIDATION}")
    folder = None if labels_only else frames or release / FRAMES
    if folder and not folder.is_dir():
        raise DataError(f"{folder}: no such folder of frames; give it with --frames, or --labels-only to do without")
    return Sources(
        train=train or _annotations(release, TRAIN, "--train"),
        validation=validation or _annotations(release, VALIDATION, "--validation"),
        frames=folder,
    )


def shared_names(train: Annotations, validation: Annotations) -> tuple[list[str], list[str]]:
    """Videos, and images, that stand in both splits; sorted."""
    videos = _shared(train.videos, validation.videos)
    images = _shared(train.images, validation.images) if videos else []
    return videos, images


def refuse_shared(videos: Sequence[str], images: Sequence[str]) -> None:
    """Refuses splits that share videos: a network would be validated on people that it has learned.

    Raises:
        DataError: If any video is in both splits.
    """
    if videos:
        raise DataError(
            f"{format_shared(videos, images)} ({_first(videos)}): a score on such a validation split says nothing\n"
            "correct the files, or allow it with --allow-shared-videos"
        )


def format_shared(videos: Sequence[str], images: Sequence[str]) -> str:
    """``2 videos and 1 image are in both splits``."""
    verb = "is" if len(videos) == 1 and not images else "are"
    return f"{format_count(len(videos), 'video')} and {format_count(len(images), 'image')} {verb} in both splits"


def warn_of_shared_clips(train: Annotations, validation: Annotations) -> list[str]:
    """Warns of clips of which one person is in the training split and another in the validation split.

    Names that end in ``_left`` and ``_right`` are the persons of one clip. Official splits may do so, and a network may
    learn the scene, the light and the camera: a warning, not an error.

    Returns:
        The clips, sorted.
    """
    sides = [defaultdict[str, list[str]](list) for _ in range(2)]
    for side, table in zip(sides, (train, validation), strict=True):
        for video in sorted(pc.unique(table.videos).to_pylist()):
            side[clip_of(video)].append(video)
    pairs = {
        clip: next(((a, b) for a in sides[0][clip] for b in sides[1][clip] if a != b), None)
        for clip in sorted(sides[0].keys() & sides[1].keys())
    }
    shared = {clip: pair for clip, pair in pairs.items() if pair}
    if shared:
        a, b = next(iter(shared.values()))
        verb = "is" if len(shared) == 1 else "are"
        warnings.warn(
            f"{format_count(len(shared), 'clip')} {verb} in both splits ({_first(list(shared))}): {a} is in training, "
            f"{b} in validation; two persons of one clip share its scene, so validation scores may be too high",
            DataWarning,
            stacklevel=3,
        )
    return list(shared)


def _first(names: Sequence[str]) -> str:
    return printable(", ".join(names[:5])) + (", ..." if len(names) > 5 else "")


def _annotations(release: Path, name: str, option: str) -> Path:
    for path in (release / name, release / f"{name}.gz"):
        if path.exists():
            return path
    raise DataError(f"{release / name}: no such file; give the annotations with {option}")


def _shared(a: object, b: object) -> list[str]:
    common = pc.unique(a).filter(pc.is_in(pc.unique(a), value_set=pc.unique(b)))
    return sorted(np.asarray(common.to_pylist(), dtype=object).tolist())
