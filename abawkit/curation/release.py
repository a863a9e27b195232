"""The files of a release, and whether its splits share videos or clips."""

import csv
import io
import shlex
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from abawkit.choices import Policy, Split
from abawkit.curation.curated_set import SPLITS, read_curation_ledger
from abawkit.errors import ConfigError, DataError, DataWarning, format_count, list_first, printable
from abawkit.frame_names import find_clip
from abawkit.frames.paths import FrameFolders, FramesRoot, make_frame_folders
from abawkit.tables import Annotations

if TYPE_CHECKING:
    from abawkit.formats.custom_table import TableColumns


TRAIN_ANNOTATIONS = "training_set_annotations.txt"
VALIDATION_ANNOTATIONS = "validation_set_annotations.txt"
CROPS_FOLDER = "cropped_aligned"
MORE_CROPS_FOLDER = "cropped_aligned_new_50_vids"
"""Aff-Wild2 is given out as two archives, and the second unpacks beside the first."""
TRAIN_FOLDER = "Train_Set"
VALIDATION_FOLDER = "Validation_Set"
"""Of each single-task track of an older edition (https://arxiv.org/abs/2202.10659), with a file for each video."""


@dataclass(frozen=True)
class Sources:
    """The files that are curated.

    Attributes:
        train: Annotations of the training split: a file, or the folder of a single-task track.
        validation: Annotations of the validation split.
        frames: Where the frames of both are, or None where only the labels are curated.
        columns: The columns of the annotations, where they are custom tables.
        joined_with: Further single-task tracks of each split, which are joined with the first.
    """

    train: Path
    validation: Path
    frames: FramesRoot | None
    columns: "TableColumns | None" = None
    joined_with: Mapping[Split, Sequence[Path]] = field(default_factory=dict)

    def paths(self, split: Split) -> list[Path]:
        """The files or folders of a split."""
        return [self.train if split == "train" else self.validation, *self.joined_with.get(split, ())]


def find_sources(
    release: Path | None = None,
    *,
    train: Path | Sequence[Path] | None = None,
    validation: Path | Sequence[Path] | None = None,
    frames: FramesRoot | None = None,
    labels_only: bool = False,
    follow_links: bool = False,
    columns: "TableColumns | None" = None,
) -> Sources:
    """Finds the files of a release in the official layout; each path may be given instead, as teams' layouts differ.

    Args:
        release: Folder of the release. It may also be one of an older edition, with ``TRACK/Train_Set`` and
            ``TRACK/Validation_Set`` for each single-task track. None where all else is given.
        train: Instead of ``training_set_annotations.txt`` (or its ``.gz``) in the release.
        validation: Instead of ``validation_set_annotations.txt`` (or its ``.gz``) in the release.
        frames: Instead of ``cropped_aligned`` (and ``cropped_aligned_new_50_vids``, where it is) in the release.
        labels_only: Whether frames are left out.
        follow_links: Whether symbolic links in the release's own folders of frames may lead out of them.
        columns: The columns of the annotations, where they are custom tables.

    Raises:
        ConfigError: If the options contradict each other, or say too little without a release.
        DataError: If a file or folder is not there.
    """
    if labels_only and frames:
        raise ConfigError("--labels-only and --frames contradict each other; give one of them")
    train = [train] if isinstance(train, Path) else train
    validation = [validation] if isinstance(validation, Path) else validation
    if release is None:
        if not train or not validation or not (frames or labels_only):
            raise ConfigError("without a RELEASE, give --train and --validation, and --frames or --labels-only")
        release = Path()
    if not release.is_dir():
        kind = "is a file" if release.exists() else "no such folder"
        expected = f"expected the folder of a release, with {TRAIN_ANNOTATIONS} and {VALIDATION_ANNOTATIONS}"
        raise DataError(f"{release}: {kind}; {expected}")
    found = None if labels_only else frames or _find_frame_folders(release, follow_links)
    for folder in make_frame_folders(found).folders if found else ():
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder of frames; give it with --frames, or --labels-only to do without"
            )
    first_train, *more_train = train or _find_annotations(release, TRAIN_ANNOTATIONS, "--train", TRAIN_FOLDER)
    first_validation, *more_validation = validation or _find_annotations(
        release, VALIDATION_ANNOTATIONS, "--validation", VALIDATION_FOLDER
    )
    return Sources(
        train=first_train,
        validation=first_validation,
        frames=found,
        columns=columns,
        joined_with={"train": more_train, "validation": more_validation},
    )


def format_command(folder: Path, policy: Policy) -> str:
    """The shell command that curates again with another policy, from the files that the ledger of a set names.

    The new folder is named after `folder` and the policy. Where the ledger can't be read, it has ``RELEASE``.
    """
    return shlex.join(["abawkit", *list_command(folder, policy, folder.with_name(f"{folder.name}-{policy}"))])


def list_command(folder: Path, policy: str, out: Path, more: Sequence[str] = ()) -> list[str]:
    """The words behind ``abawkit`` that curate again from the files that the ledger of a set names.

    Args:
        folder: The set. Where its ledger can't be read, the words have ``RELEASE``.
        policy: The policy.
        out: The folder of the new set.
        more: Further words.
    """
    try:
        options = _list_recorded_options(read_curation_ledger(folder))
    except (DataError, KeyError, TypeError, AttributeError):
        options = ["RELEASE"]
    return ["curate", *options, "--policy", policy, *more, "--out", str(out)]


def _list_recorded_options(ledger: Mapping[str, Any]) -> list[str]:
    """The options of `abawkit curate` that a ledger records."""
    paths = {
        split: [Path(part["path"]) for part in (source, *source.get("joined_with", ()))]
        for split, source in ledger["sources"].items()
    }
    train, validation = paths["train"][0], paths["validation"][0]
    release = train.parent
    official = train.name in (TRAIN_ANNOTATIONS, f"{TRAIN_ANNOTATIONS}.gz") and validation in (
        release / VALIDATION_ANNOTATIONS,
        release / f"{VALIDATION_ANNOTATIONS}.gz",
    )
    options = [str(release)] if official else []
    if not official:
        options += [text for split in SPLITS for path in paths[split] for text in (f"--{split}", str(path))]
    if columns := ledger.get("columns"):
        named = io.StringIO()
        csv.writer(named, lineterminator="").writerow(f"{name}={column}" for name, column in columns.items())
        options += ["--columns", named.getvalue()]
    folders = [Path(folder) for folder in ledger["frames"].get("folders", ())]
    if not official or not {release / CROPS_FOLDER, release / MORE_CROPS_FOLDER}.issuperset(folders):
        options += [text for folder in folders for text in ("--frames", str(folder))]
    if ledger["frames_digest"] is None:
        options.append("--labels-only")
    if ledger["frames"].get("form") == "encoded":
        options += ["--pack", "encoded"]
    options += [text for entry in ledger.get("drop", ()) for text in ("--drop", str(Path(entry["path"])))]
    return options + (["--repeats", "unique"] if ledger["repeats"] == "unique" else [])


def find_shared_names(train: Annotations, validation: Annotations) -> tuple[list[str], list[str]]:
    """Videos, and images, that are in both splits; sorted."""
    videos = _find_common(train.videos, validation.videos)
    images = _find_common(train.images, validation.images) if videos else []
    return videos, images


def refuse_shared(videos: Sequence[str], images: Sequence[str]) -> None:
    """Raises DataError for splits that share videos: a network would be validated on people that it was trained on."""
    if videos:
        raise DataError(
            f"{describe_shared_names(videos, images)} ({_list_first_names(videos)}): a score on such a validation "
            "split is too high\n"
            "correct the files, or allow it with --allow-shared-videos"
        )


def describe_shared_names(videos: Sequence[str], images: Sequence[str]) -> str:
    """``2 videos and 1 image are in both splits``."""
    verb = "is" if len(videos) == 1 and not images else "are"
    return f"{format_count(len(videos), 'video')} and {format_count(len(images), 'image')} {verb} in both splits"


def warn_of_shared_clips(train: Annotations, validation: Annotations) -> list[str]:
    """Warns of clips of which one person is in the training split and another in the validation split.

    Names that end in ``_left`` and ``_right`` are the persons of one clip. It is a warning, not an error, as official
    splits may share clips; a network may learn the scene, the light and the camera.

    Returns:
        The clips, sorted.
    """
    sides = [defaultdict[str, list[str]](list) for _ in range(2)]
    for side, table in zip(sides, (train, validation), strict=True):
        for video in sorted(pc.unique(table.videos).to_pylist()):
            side[find_clip(video)].append(video)
    pairs = {
        clip: next(((a, b) for a in sides[0][clip] for b in sides[1][clip] if a != b), None)
        for clip in sorted(sides[0].keys() & sides[1].keys())
    }
    shared = {clip: pair for clip, pair in pairs.items() if pair}
    if shared:
        a, b = next(iter(shared.values()))
        verb = "is" if len(shared) == 1 else "are"
        warnings.warn(
            f"{format_count(len(shared), 'clip')} {verb} in both splits ({_list_first_names(list(shared))}): "
            f"{a} is in training, {b} in validation; two persons of one clip share its scene, "
            "so validation scores may be too high",
            DataWarning,
            stacklevel=3,
        )
    return list(shared)


def _list_first_names(names: Sequence[str]) -> str:
    return printable(", ".join(list_first(names, 5)))


def _find_frame_folders(release: Path, follow_links: bool) -> FramesRoot:
    more = release / MORE_CROPS_FOLDER
    folders = (release / CROPS_FOLDER, more) if more.is_dir() else (release / CROPS_FOLDER,)
    return FrameFolders(folders, follow_links) if follow_links or len(folders) > 1 else folders[0]


def _find_annotations(release: Path, name: str, option: str, split_folder: str) -> list[Path]:
    for path in (release / name, release / f"{name}.gz"):
        if path.exists():
            return [path]
    tracks = [path for path in sorted(release.glob(f"*/{split_folder}")) if path.is_dir()]
    if tracks or (release / split_folder).is_dir():
        return tracks or [release / split_folder]
    raise DataError(
        f"{release / name}: no such file; give the annotations with {option}, or the folder of an older edition, which "
        f"has TRACK/{split_folder}"
    )


def _find_common(a: object, b: object) -> list[str]:
    common = pc.unique(a).filter(pc.is_in(pc.unique(a), value_set=pc.unique(b)))
    return sorted(np.asarray(common.to_pylist(), dtype=object).tolist())
