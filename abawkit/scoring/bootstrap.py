"""The score as a sum over videos, and intervals for the difference of two scores.

Frames of one video are alike, so rows are no independent draws; videos are. A bootstrap over videos draws whole videos
with replacement and scores each draw. The score needs only a few sums of each video, so that
thousands of draws are one product of matrices. What a test of other videos may score is in
`abawkit.scoring.forecast`.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile interval); the cluster
bootstrap: A. Davison, D. Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from abawkit.choices import Protocol
from abawkit.errors import DataError
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.scoring.metrics import f1_from_counts
from abawkit.scoring.scored_rows import select_answered_rows
from abawkit.tables import Annotations, Array, Submission

_EXPRESSION_COUNT = len(EXPRESSIONS)


def sum_va(codes: Array, truth: Array, given: Array, videos: int) -> tuple[Array, Array, Array]:
    """Sums up valence and arousal; see `abawkit.scoring.bootstrap.VideoStatistics`.

    Args:
        codes: Number of each row's video, shape (n,).
        truth: Annotated values, shape (n, 2).
        given: Given values, shape (n, 2).
        videos: How many there are.

    Returns:
        ``moments``, (videos, 2, 6); ``centre``, (2, 2); ``extremes``, (videos, 2, 4).
    """
    values = np.stack([truth, given], axis=2, dtype=np.float64)  # (n, dimension, whose)
    centre = values.mean(axis=0) if len(values) else np.zeros((len(DIMENSIONS), 2))
    x, y = np.moveaxis(values - centre, 2, 0)
    columns = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=2)
    sums = [np.bincount(codes, column, videos) for column in columns.reshape(len(columns), 12).T]
    extremes = np.empty((videos, len(DIMENSIONS), 4))
    extremes[:, :, 0::2], extremes[:, :, 1::2] = np.inf, -np.inf
    np.minimum.at(extremes[:, :, 0::2], codes, values)
    np.maximum.at(extremes[:, :, 1::2], codes, values)
    return np.stack(sums, axis=1).reshape(videos, len(DIMENSIONS), 6), centre, extremes


def count_confusions(codes: Array, truth: Array, given: Array, videos: int) -> Array:
    """Counts rows by annotated and given class, shape (n,) each: int64, shape (videos, 8, 8)."""
    cells = (codes * _EXPRESSION_COUNT + truth) * _EXPRESSION_COUNT + given
    return np.bincount(cells, minlength=videos * _EXPRESSION_COUNT**2).reshape(
        videos, _EXPRESSION_COUNT, _EXPRESSION_COUNT
    )


def count_units(codes: Array, truth: Array, given: Array, videos: int) -> Array:
    """Counts rows in which a unit is active in both, as annotated, as given, (n, 12) each: int64, (videos, 12, 3)."""
    counts = np.empty((videos, len(ACTION_UNITS), 3), dtype=np.int64)
    for unit in range(len(ACTION_UNITS)):
        cells = np.bincount(codes * 4 + truth[:, unit] * 2 + given[:, unit], minlength=videos * 4).reshape(videos, 4)
        counts[:, unit] = np.stack([cells[:, 3], cells[:, 2] + cells[:, 3], cells[:, 1] + cells[:, 3]], axis=1)
    return counts


PARTS: Final = ("ccc_va", "expression_f1", "au_f1", "score")
"""The parts of a score and their sum P, as `abawkit.scoring.score.Score` calls them: the three tasks', in their order,
and ``score``."""

PART_OF: Final[dict[Task, str]] = dict(zip(TASKS, PARTS, strict=False))
"""The part of each task."""

DRAWS = 2000
"""Draws of a bootstrap: each end of a 95 % interval then has fifty draws beyond it."""

LEVEL = 0.95

FEW_VIDEOS = 20
"""Below so many videos, the interval of a difference is too narrow: see `describe_few_videos`."""


@dataclass(frozen=True)
class Interval:
    """A score with its forecast, or a difference of two scores with its confidence interval.

    Attributes:
        value: On the videos as they are.
        low: Lower end.
        high: Upper end.
        level: Of a forecast, how often a test of other videos scores within; of a difference, how often such an
            interval holds the difference on all videos.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    @property
    def within_noise(self) -> bool:
        """Of a difference: whether the interval holds 0, so that either could be the better one."""
        return self.low <= 0 <= self.high

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class VideoStatistics:
    """Sums over each video from which the score of any collection of videos follows.

    Attributes:
        names: The videos with at least one scored row, in the order of their names, length V.
        rows: Rows of each on which at least one task is scored, int64, shape (V,).
        tasks: The tasks that are scored; the others' parts are 0.
        moments: For valence and arousal the number of rows n, the sums of x, y, x^2, y^2 and xy, where x are the
            annotated and y the given values, each less the mean in `centre`; float64, shape (V, 2, 6).
        centre: Means over all rows of x and y, float64, shape (2, 2): dimension, then x and y. Sums of squares around
            0 lose no digits when means are subtracted.
        extremes: Lowest and highest x, lowest and highest y, shape (V, 2, 4); +inf and -inf where there is no row.
        confusion: Rows of each annotated expression (first) and given one (second), shape (V, 8, 8).
        units: For each action unit the rows where it is active in both, as annotated, as given, shape (V, 12, 3).
    """

    names: tuple[str, ...]
    rows: Array
    tasks: tuple[Task, ...]
    moments: Array
    centre: Array
    extremes: Array
    confusion: Array
    units: Array

    def scores(self, counts: Array) -> Array:
        """The score of each collection of videos.

        Args:
            counts: How often each video is in each collection, at least 0, shape (b, V).

        Returns:
            float64, shape (b, 4): the parts of `PARTS`. With every count 1, they are those of
            `abawkit.scoring.score.score`.
        """
        counts = np.asarray(counts, dtype=np.float64)
        parts = {
            "va": self.measure_ccc(counts)[0].mean(axis=1),
            "expression": self.measure_classes(counts).mean(axis=1),
            "au": self.measure_units(counts).mean(axis=1),
        }
        columns = [parts[task] if task in self.tasks else np.zeros(len(counts)) for task in TASKS]
        return np.stack([*columns, np.sum(columns, axis=0)], axis=1)

    def measure_ccc(self, counts: Array) -> tuple[Array, Array]:
        """CCC of valence and arousal of each collection of videos; see `abawkit.scoring.metrics.ccc`.

        Args:
            counts: How often each video is in each collection, float64, shape (b, V).

        Returns:
            float64, shape (b, 2); and whether annotated and given values vary, so that it is defined, bool, (b, 2).
        """
        n, x, y, xx, yy, xy = np.moveaxis(_sum_collections(counts, self.moments), 2, 0)
        n = np.maximum(n, 1)
        x, y = x / n, y / n
        apart = x + self.centre[:, 0] - y - self.centre[:, 1]
        scale = xx / n - x * x + yy / n - y * y + apart**2
        present = (counts > 0)[:, :, None]
        spread = [
            np.where(present, self.extremes[None, :, :, i + 1], -np.inf).max(axis=1)
            - np.where(present, self.extremes[None, :, :, i], np.inf).min(axis=1)
            for i in (0, 2)
        ]
        varies = (spread[0] > 0) & (spread[1] > 0) & (scale > 0)
        ccc: Array = np.divide(2 * (xy / n - x * y), scale, out=np.zeros_like(scale), where=varies)
        return np.clip(ccc, -1.0, 1.0), varies

    def measure_classes(self, counts: Array) -> Array:
        """F1 of each expression in each collection of videos, float64, shape (b, 8); `counts` as of `scores`."""
        confusion = _sum_collections(counts, self.confusion)
        return f1_from_counts(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1))

    def measure_units(self, counts: Array) -> Array:
        """F1 of each action unit in each collection of videos, float64, shape (b, 12); `counts` as of `scores`."""
        return f1_from_counts(*np.moveaxis(_sum_collections(counts, self.units), 2, 0))


def sum_by_video(truth: Annotations, submission: Submission, protocol: Protocol = "official") -> VideoStatistics:
    """Sums up each video.

    Args:
        truth: The annotations.
        submission: One row for each row of `truth`, in its order; only the tasks that it holds are scored.
        protocol: Which rows count.

    Raises:
        DataError: If the rows of the two are not the same, or if no row counts.
    """
    masks = select_answered_rows(truth, submission, protocol)
    scored = np.logical_or.reduce(list(masks.values()))
    names, videos = number_videos(truth.videos.filter(pa.array(scored)))
    codes = np.full(len(truth), -1)
    codes[scored] = videos
    nowhere = np.zeros(len(truth), dtype=bool)
    va, expression, au = (masks.get(task, nowhere) for task in TASKS)
    moments, centre, extremes = sum_va(codes[va], truth.va[va], submission.va[va], len(names))
    return VideoStatistics(
        names=names,
        rows=np.bincount(videos, minlength=len(names)),
        tasks=tuple(masks),
        moments=moments,
        centre=centre,
        extremes=extremes,
        confusion=count_confusions(
            codes[expression], truth.expression[expression], submission.expression[expression], len(names)
        ),
        units=count_units(codes[au], truth.au[au], submission.au[au], len(names)),
    )


def number_videos(videos: pa.StringArray) -> tuple[tuple[str, ...], Array]:
    """Numbers videos in the order of their names, so that no result depends on the order of rows.

    Args:
        videos: The video of each row, length n.

    Returns:
        The names; the number of each row's video, int64, shape (n,).
    """
    encoded = videos.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[order] = np.arange(len(names))
    return tuple(names[i] for i in order), ranks[encoded.indices.to_numpy()]


def draw_videos(videos: int, draws: int, seed: int) -> Array:
    """How often each video is drawn when as many as there are get drawn with replacement.

    Returns:
        int64, shape (draws, videos); each row sums to `videos`. The same seed gives the same draws, so that two
        submissions are paired.

    Raises:
        DataError: If there are fewer than two videos.
    """
    if videos < 2:
        raise DataError(f"found {videos} video with scored rows; an interval needs at least 2")
    return np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), size=draws)


def score_draws(videos: int, draws: int, seed: int) -> Array:
    """Each video once, and below that the rows of `draw_videos`: what `make_intervals` takes; (1 + draws, videos)."""
    return np.concatenate([np.ones((1, videos), dtype=np.int64), draw_videos(videos, draws, seed)])


def make_intervals(scores: Array) -> dict[str, Interval]:
    """The confidence intervals of differences of two scores, as percentiles of the draws.

    Args:
        scores: The difference of what `VideoStatistics.scores` returns for `score_draws`, shape (1 + draws, 4).

    Returns:
        For each of `PARTS` its interval.
    """
    low, high = np.quantile(scores[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {part: Interval(float(scores[0, i]), float(low[i]), float(high[i])) for i, part in enumerate(PARTS)}


def make_difference_intervals(
    truth: Annotations,
    first: Submission,
    second: Submission,
    protocol: Protocol = "official",
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """How much more `first` scores than `second`, with an interval from the same draws of videos for both.

    Only the tasks that both hold are compared; the others' differences are 0.

    Raises:
        DataError: As `sum_by_video`, or if only one video has scored rows.
    """
    held = [task for task in TASKS if task in first.tasks and task in second.tasks]
    a, b = (sum_by_video(truth, _keep_tasks(one, held), protocol) for one in (first, second))
    counts = score_draws(len(a.names), draws, seed)
    return make_intervals(a.scores(counts) - b.scores(counts))


def make_difference_interval(
    truth: Annotations,
    first: Submission,
    second: Submission,
    protocol: Protocol = "official",
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """P of `first` less P of `second`, with its interval; see `make_difference_intervals`."""
    return make_difference_intervals(truth, first, second, protocol, draws=draws, seed=seed)["score"]


def describe_few_videos(videos: int) -> str:
    """A caution about the interval of a difference on so few scored videos; empty from `FEW_VIDEOS` on."""
    if videos >= FEW_VIDEOS:
        return ""
    return (
        f"only {videos} videos are scored: below {FEW_VIDEOS}, a 95 % interval of a difference is too narrow and holds "
        "the true one in about 90 of 100 cases"
    )


def _keep_tasks(submission: Submission, tasks: list[Task]) -> Submission:
    columns: dict[str, Any] = {task: getattr(submission, task) for task in tasks}
    return Submission.of(submission.images, **columns)


def _sum_collections(counts: Array, sums: Array) -> Array:
    """The sums of each collection: (b, V) by (V, ...) to (b, ...)."""
    total: Array = counts @ sums.reshape(len(sums), -1)
    return total.reshape(len(counts), *sums.shape[1:])
