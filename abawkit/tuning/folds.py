"""Folds of whole videos, and cross-fitting: every row is decided by a rule that was fitted on other videos.

Frames of one video are alike, so a rule that was fitted on some of them has an advantage on the others.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, format_count
from abawkit.frame_columns import find_videos
from abawkit.labels import TASKS
from abawkit.scoring.bootstrap import number_videos
from abawkit.tables import Array, Predictions

FOLDS = 10
"""Folds for out-of-fold scores. With ten, the rules of the folds are fitted on nine tenths of the videos, and score
nearly as well as the rule of all videos; `benchmarks/interval_coverage.py` measures what fewer cost."""

SEARCH_FOLDS = 5
"""Folds within the videos that one rule is fitted on, by which a search chooses between settings."""

VIDEOS_A_FOLD = 2
"""Fewest videos of a fold that is scored: with one, the score of the fold is that video's."""

_JITTER = 0.2
"""Videos are assigned by size times 1 +- this, so that another seed makes other folds of almost equal size."""


def make_video_folds(
    images: pa.StringArray,
    count: int = FOLDS,
    seed: int = 0,
    *,
    scored: Array | None = None,
    least: int = VIDEOS_A_FOLD,
) -> Array:
    """Assigns whole videos to folds of about as many scored rows each.

    The largest come first, and each goes to the fold that has the fewest rows so far. Two folds differ by no more rows
    than the largest video has, unless one must be kept from having fewer than `least` videos.

    Args:
        images: Image names, length n.
        count: Folds; fewer are made where there are not `least` videos for each.
        seed: Decides between videos of similar size.
        scored: Mask of the rows that count, shape (n,); a video without one needs no fold, and gets the smallest.
        least: Fewest videos of a fold, at least 1.

    Returns:
        The fold of each row, int64, shape (n,), from 0. It depends on the rows of each video, not on their order.

    Raises:
        DataError: If there are not enough videos for two folds.
    """
    names, videos = number_videos(find_videos(images))
    rows = np.bincount(videos if scored is None else videos[scored], minlength=len(names))
    present = int((rows > 0).sum())
    count = min(count, present // least)
    if count < 2:
        raise DataError(
            f"found {format_count(present, 'video')} with annotated rows, expected at least {2 * least}: what is "
            "fitted on one half of the videos is scored on the other; annotate more videos, or fit nothing"
        )
    rng = np.random.default_rng(seed)
    order = np.argsort(-rows * (1 + rng.uniform(-_JITTER, _JITTER, len(rows))), kind="stable")
    fold_of, rows_of, videos_in = np.zeros(len(names), dtype=np.int64), np.zeros(count), np.zeros(count, dtype=np.int64)
    for i, video in enumerate(order):
        lacking = np.maximum(least - videos_in, 0)
        must = lacking.any() and present - i <= lacking.sum()  # no more videos are left than those folds need
        fold = int(np.where((lacking > 0) | (not must), rows_of, np.inf).argmin())
        fold_of[video] = fold
        rows_of[fold] += rows[video]
        videos_in[fold] += 1
    return fold_of[videos]


def iterate_folds(images: pa.StringArray, folds: Array) -> Iterator[tuple[Array, Array]]:
    """The two sides of each fold.

    Args:
        images: Image names, length n.
        folds: The fold of each row, shape (n,).

    Yields:
        The mask of the rows that a rule is fitted on, and the mask of those that it then decides, shape (n,) each.

    Raises:
        ValueError: If rows of one video are in two folds: a bug of the caller.
    """
    names, videos = number_videos(find_videos(images))
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(lowest, videos, folds)
    np.maximum.at(highest, videos, folds)
    if (lowest != highest).any():
        raise ValueError(f"rows of {names[int((lowest != highest).argmax())]} are in more than one fold")
    for fold in np.unique(folds):
        yield folds != fold, folds == fold


def cross_fit(images: pa.StringArray, folds: Array, predict: Callable[[Array], Predictions]) -> Predictions:
    """Predictions in which each row comes from what was fitted without its video.

    Args:
        images: Image names, length n.
        folds: The fold of each row, shape (n,), as `make_video_folds` makes them.
        predict: Fits on the rows of a mask, shape (n,), and on nothing else, then predicts all n rows.

    Raises:
        ValueError: As `iterate_folds`.
    """
    columns: dict[str, Array] = {}
    for fitted_on, decided in iterate_folds(images, folds):
        predictions = predict(fitted_on)
        for task in TASKS:
            column = getattr(predictions, task)
            columns.setdefault(task, np.zeros_like(column))[decided] = column[decided]
    return Predictions(images, **columns)
