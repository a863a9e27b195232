"""Forecasts: the range in which a test of other videos is expected to score.

A confidence interval is for the mean score over all videos. A test set is one more sample of videos, and scores higher
or lower by chance. With the score S of V videos, a test of n other videos is expected to score within

    S + bias (V / n - 1)  +-  t s sqrt(1 + V / n).

s is the standard error of S, the standard deviation over draws of a bootstrap over videos times sqrt(V / (V - 1)); that
of the test is s sqrt(V / n), and the root adds the two. t is the quantile of Student's distribution with V - 1 degrees
of freedom. On fewer videos F1 and CCC are lower on average, by an amount in proportion to 1 / V: this bias is estimated
by the mean of the draws less S.

Source: prediction interval for the mean of future observations, W. Meeker, G. Hahn, L. Escobar, Statistical Intervals
(2nd edition, 2017), chapter 4; bootstrap standard error and bias, B. Efron, R. Tibshirani, An Introduction to the
Bootstrap (1993), chapters 6 and 10, and for the factor sqrt(V / (V - 1)) chapter 5.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from abawkit.choices import Protocol
from abawkit.labels import TASKS, Task
from abawkit.scoring.bootstrap import DRAWS, LEVEL, PARTS, Interval, score_draws, sum_by_video
from abawkit.tables import Annotations, Array, Submission


@dataclass(frozen=True)
class Forecast:
    """Where a test of other videos is expected to score.

    Attributes:
        videos: Videos that are scored.
        test_videos: Videos of the test.
        parts: The forecast of each part that is scored, and of P, by the names of `PARTS`.
    """

    videos: int
    test_videos: int
    parts: dict[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {part: {"low": found.low, "high": found.high} for part, found in self.parts.items()}
        return {"videos": self.videos, "test_videos": self.test_videos, "level": LEVEL, **parts}


def make_forecast(
    truth: Annotations, submission: Submission, protocol: Protocol = "official", test_videos: int | None = None
) -> Forecast | None:
    """The forecast for the answers of a submission; None where all scored rows are of one video.

    Args:
        truth: The annotations.
        submission: One row for each row of `truth`, in its order.
        protocol: Which rows count.
        test_videos: Videos of the test; by default as many as are scored here.

    Raises:
        DataError: As `sum_by_video`.
    """
    statistics = sum_by_video(truth, submission, protocol)
    videos = len(statistics.names)
    if videos < 2:
        return None
    scores = statistics.scores(score_draws(videos, DRAWS, 0))
    found = list_forecasts(scores, videos, test_videos or videos, statistics.tasks)
    held = [part for task, part in zip(TASKS, PARTS, strict=False) if task in statistics.tasks]
    return Forecast(videos, test_videos or videos, {part: found[part] for part in (*held, "score")})


def forecast_scores(
    truth: Annotations,
    submission: Submission,
    protocol: Protocol = "official",
    *,
    test_videos: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """The score and its parts, each with the range in which a test of other videos is expected to score.

    Returns:
        For each of `PARTS` its forecast; 0 and 0..0 for a task that the submission does not answer. See
        `make_forecast` for the arguments.

    Raises:
        DataError: As `sum_by_video`, or if only one video has scored rows.
    """
    statistics = sum_by_video(truth, submission, protocol)
    videos = len(statistics.names)
    scores = statistics.scores(score_draws(videos, draws, seed))
    return list_forecasts(scores, videos, test_videos or videos, statistics.tasks)


def forecast_score(
    truth: Annotations,
    submission: Submission,
    protocol: Protocol = "official",
    *,
    test_videos: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """P with its forecast; see `forecast_scores`."""
    return forecast_scores(truth, submission, protocol, test_videos=test_videos, draws=draws, seed=seed)["score"]


def list_forecasts(
    scores: Array, videos: int, test_videos: int, tasks: tuple[Task, ...] = TASKS
) -> dict[str, Interval]:
    """Forecasts from the draws of a bootstrap.

    Args:
        scores: What `VideoStatistics.scores` returns for `score_draws`, shape (1 + draws, 4).
        videos: Scored videos V, at least 2.
        test_videos: Videos n of the test, at least 1.
        tasks: The tasks that are scored.

    Returns:
        For each of `PARTS` its forecast, cut to what the part can be: -1..1 for CCC, 0..1 for F1.
    """
    least = np.array([-1.0 * ("va" in tasks), 0.0, 0.0, -1.0 * ("va" in tasks)])
    most = np.array([*(1.0 * (task in tasks) for task in TASKS), len(tasks)])
    low, high = np.clip(find_forecast_range(scores, videos, test_videos), least, most)
    return {part: Interval(float(scores[0, i]), float(low[i]), float(high[i])) for i, part in enumerate(PARTS)}


def find_forecast_range(scores: Array, videos: int, test_videos: int) -> tuple[Array, Array]:
    """The ends of forecasts, not yet cut to what a measure can be.

    Args:
        scores: Measures of the videos as they are, and of each draw, shape (1 + draws, k).
        videos: Scored videos V, at least 2.
        test_videos: Videos n of the test, at least 1.

    Returns:
        Lower and upper ends, shape (k,) each.
    """
    value, resampled = scores[0], scores[1:]
    ratio = videos / test_videos
    error = resampled.std(axis=0) * math.sqrt(videos / (videos - 1))
    centre = value + (resampled.mean(axis=0) - value) * (ratio - 1)
    reach = float(stdtrit(videos - 1, (1 + LEVEL) / 2)) * error * math.sqrt(1 + ratio)
    return centre - reach, centre + reach
