"""Folds of whole clips: which rows a network of a fold trains on, and which it is scored on.

scikit-learn's ``StratifiedGroupKFold`` balances one label per row. Here a row has three tasks, any of which may be
missing, and twelve units that are active together: a missing label would be a class of its own, and units could not be
balanced at all. So clips are assigned as in iterative stratification, with one column per label.

Source: K. Sechidis, G. Tsoumakas, I. Vlahavas, On the stratification of multi-label data, ECML PKDD 2011; here a group
of rows is assigned at a time, and shares are compared by their squares.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from abawkit.choices import FoldsOver
from abawkit.curation.curated_set import CuratedSet, CuratedSplit, join_splits, open_curated
from abawkit.errors import DataError, format_count
from abawkit.frame_names import find_clip
from abawkit.labels import ACTION_UNITS, EXPRESSIONS
from abawkit.scoring.bootstrap import number_videos
from abawkit.tables import Annotations, Array

ALL_ROWS: Final = 0
"""Number of the network that is trained on the rows of all folds."""

_SIZE_JITTER: Final = 0.2
"""Clips are taken in the order of their size times 1 +- this, so that another seed makes other folds."""


@dataclass(frozen=True)
class VideoFold:
    """One of the folds that networks are trained in.

    Attributes:
        number: From 1; `ALL_ROWS` for the network that is trained on the rows of all folds.
        count: How many there are, 2 or more.
        over: The split, or both, whose rows are divided.
        seed: Of the division.
        best_epochs: Of the folds, for the network on all rows, which is trained for the median of them.
    """

    number: int
    count: int
    over: FoldsOver
    seed: int
    best_epochs: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For checkpoints and manifests."""
        content = {"number": self.number, "of": self.count, "over": self.over, "seed": self.seed}
        return {**content, **({"best_epochs": list(self.best_epochs)} if self.best_epochs else {})}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """What `as_dict` gave."""
        best = tuple(content.get("best_epochs", ()))
        return cls(content["number"], content["of"], content["over"], content["seed"], best)

    def describe_validation(self) -> str:
        """The rows that its network is validated on."""
        if self.number != ALL_ROWS:
            return f"rows of {self.over} in fold {self.number} of {self.count}"
        return "validation" if self.over == "train" else "its own training rows (in-sample)"


def open_training_set(folder: Path, fold: VideoFold | None) -> CuratedSet:
    """Opens a curated set; with a fold, ``train`` holds the rows of the other folds and ``validation`` its own.

    Raises:
        DataError: As `abawkit.curation.curated_set.open_curated`, or if there are fewer clips than folds.
    """
    curated = open_curated(folder)
    return curated if fold is None else select_fold(curated, fold)


def select_fold(curated: CuratedSet, fold: VideoFold) -> CuratedSet:
    """The curated set with the rows of other folds as ``train``, and those of this one as ``validation``.

    For `ALL_ROWS`, ``train`` holds the rows of all folds. ``validation`` then is the validation split, or those same
    rows where that is divided too.
    """
    rows = find_divided_rows(curated, fold.over)
    if fold.number == ALL_ROWS:
        validation = curated.splits["validation"] if fold.over == "train" else rows
        return replace(curated, splits={"train": rows, "validation": validation})
    own = assign_folds(rows, fold.count, fold.seed) == fold.number
    return replace(
        curated, splits={"train": _select_rows_of_split(rows, ~own), "validation": _select_rows_of_split(rows, own)}
    )


def find_divided_rows(curated: CuratedSet, over: FoldsOver) -> CuratedSplit:
    """The rows that folds divide; those of both splits have row numbers of their own."""
    return curated.splits["train"] if over == "train" else join_splits(curated)


def assign_folds(rows: CuratedSplit, count: int, seed: int) -> Array:
    """Assigns whole clips to folds with about the same share of rows, expressions, units and quadrants of VA each.

    A clip is all videos of one recording, as ``video5``, ``video5_left`` and ``video5_right``. Clips that hold most
    come first; each goes to the fold that has least of what it holds.

    Args:
        rows: The rows, n of them; those that the policy keeps count.
        count: Folds, at least 2.
        seed: Decides between clips of similar size.

    Returns:
        The fold of each row, int64, shape (n,), from 1. It depends on the rows of each clip, not on their order.

    Raises:
        DataError: If there are fewer clips with kept rows than folds.
    """
    clip_of_row, clips = number_clips(rows.annotations.videos)
    labels, weights = _make_label_columns(rows.annotations)
    amounts = np.zeros((clips, labels.shape[1]))
    np.add.at(amounts, clip_of_row[rows.kept], labels[rows.kept])
    present = int((amounts[:, 0] > 0).sum())
    if present < count:
        raise DataError(
            f"found {format_count(present, 'clip')} with rows that the policy keeps, expected at least {count}, one "
            "for each fold; give fewer --folds"
        )
    shares = amounts / np.maximum(amounts.sum(axis=0), 1)
    jitter = 1 + np.random.default_rng(seed).uniform(-_SIZE_JITTER, _SIZE_JITTER, clips)
    order = np.argsort(-(shares @ weights) * jitter, kind="stable")
    held, fold_of_clip = np.zeros((count, labels.shape[1])), np.zeros(clips, dtype=np.int64)
    for clip in order:
        overlap = held @ (weights * shares[clip])
        fold = int(np.lexsort((held[:, 0], overlap))[0])  # of two with the same overlap, the one with fewer rows
        held[fold] += shares[clip]
        fold_of_clip[clip] = fold + 1
    return fold_of_clip[clip_of_row]


def number_clips(videos: pa.StringArray) -> tuple[Array, int]:
    """The number of each row's clip, int64, shape (n,), in the order of clips' names; and how many there are."""
    names, video_of_row = number_videos(videos)
    clips, clip_of_video = np.unique([find_clip(name) for name in names], return_inverse=True)
    return np.asarray(clip_of_video)[video_of_row], len(clips)


def _make_label_columns(a: Annotations) -> tuple[Array, Array]:
    """What is balanced: 0 or 1 for each row and column, (n, 26); and the weights of the columns, 1 for each task."""
    quadrants = 2 * (a.va[:, 0] >= 0) + (a.va[:, 1] >= 0)
    parts = [
        np.ones((len(a), 1), dtype=bool),
        a.va_valid[:, None] & (quadrants[:, None] == np.arange(4)),
        a.expression_valid[:, None] & (a.expression[:, None] == np.arange(len(EXPRESSIONS))),
        a.au_valid[:, None] & np.column_stack([np.ones(len(a), dtype=bool), a.au[:, : len(ACTION_UNITS)] == 1]),
    ]
    weights = [np.full(part.shape[1], 1 / part.shape[1]) for part in parts]
    return np.concatenate(parts, axis=1), np.concatenate(weights)


def _select_rows_of_split(rows: CuratedSplit, mask: Array) -> CuratedSplit:
    return CuratedSplit(rows.annotations.select(mask), rows.rows[mask], rows.kept[mask], rows.frames[mask])
