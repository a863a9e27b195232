"""Where a release keeps its files, and whether its splits are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from abawkit.errors import ConfigError, DataError, printable
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
        names = printable(", ".join(videos[:5])) + (", ..." if len(videos) > 5 else "")
        raise DataError(
            f"{len(videos):,} videos and {len(images):,} images are in both splits ({names}): a score on such a "
            "validation split says nothing\ncorrect the files, or allow it with --allow-shared-videos"
        )


def _annotations(release: Path, name: str, option: str) -> Path:
    for path in (release / name, release / f"{name}.gz"):
        if path.exists():
            return path
    raise DataError(f"{release / name}: no such file; give the annotations with {option}")


def _shared(a: object, b: object) -> list[str]:
    common = pc.unique(a).filter(pc.is_in(pc.unique(a), value_set=pc.unique(b)))
    return sorted(np.asarray(common.to_pylist(), dtype=object).tolist())
