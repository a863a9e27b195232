"""Scores of several submissions on the same videos, and the difference of each two of them.

A bootstrap over videos scores all submissions on the same draws, so that what makes a video easy or hard for all of
them cancels out in a difference. The interval of two submissions is the percentile interval of
`abawkit.scoring.bootstrap.make_intervals`. Of many submissions some two are far apart by chance alone, so that the
intervals of all pairs are simultaneous: set so that 95 times in 100, all of them hold the differences on all videos at
once. Each is the difference +- c s, with s its standard error and one c for all pairs: in 95 % of the draws the largest
deviation of any pair, in units of its standard deviation, is below it. As s is estimated from V videos, c is replaced
by the quantile of Student's distribution with V - 1 degrees of freedom at the same level.

Source: the maximum statistic, P. Westfall, S. Young, Resampling-Based Multiple Testing (1993), and as simultaneous
("sup-t") intervals J. Montiel Olea, M. Plagborg-Moller, Journal of Applied Econometrics 34 (2019) 1-17; Student's
quantile, B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 12.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import ndtr, stdtrit

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning
from abawkit.labels import TASKS
from abawkit.scoring.bootstrap import DRAWS, LEVEL, PART_OF, PARTS, Interval, score_draws, sum_by_video
from abawkit.scoring.changes import Changes
from abawkit.scoring.forecast import list_forecasts
from abawkit.scoring.score import Score, score
from abawkit.tables import Annotations, Array, Submission

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_SUBMISSIONS: Final = 20
"""Submissions that are compared at a time: every two of them are a line of a table."""


@dataclass(frozen=True)
class PairDifference:
    """The difference of the scores of two submissions.

    Attributes:
        first: Number of the first, from 0.
        second: Number of the second.
        parts: For each part of the score that is scored, the second's less the first's.
    """

    first: int
    second: int
    parts: dict[str, Interval]


@dataclass(frozen=True)
class ScoreComparison:
    """Submissions scored under one protocol.

    Attributes:
        protocol: The rows that count.
        names: What tells the submissions apart.
        videos: Scored videos.
        draws: Draws of the bootstrap.
        parts: The parts of the score that are scored, and ``score``.
        scores: Of each submission.
        forecasts: For each submission the forecast of each part, for a test of as many videos.
        pairs: The difference of every two, with intervals that are simultaneous for all pairs of one part.
    """

    protocol: Protocol
    names: tuple[str, ...]
    videos: int
    draws: int
    parts: tuple[str, ...]
    scores: tuple[Score, ...]
    forecasts: tuple[dict[str, Interval], ...]
    pairs: tuple[PairDifference, ...]

    @property
    def ranking(self) -> list[int]:
        """Numbers of the submissions, the highest score first; of equal ones, in their order."""
        return sorted(range(len(self.names)), key=lambda i: -self.scores[i].score)

    @property
    def leaders(self) -> list[int]:
        """The best, and after it those whose score is within noise of its, in the order of `ranking`."""
        best, *others = self.ranking
        return [best, *(i for i in others if self.find_difference(i, best)["score"].within_noise)]

    def find_difference(self, first: int, second: int) -> dict[str, Interval]:
        """For each part the score of submission `first` less that of `second`."""
        found = next(pair for pair in self.pairs if {pair.first, pair.second} == {first, second})
        if found.first == second:
            return found.parts
        return {
            part: Interval(0.0 - each.value, 0.0 - each.high, 0.0 - each.low, each.level)
            for part, each in found.parts.items()
        }

    def describe_leaders(self) -> str:
        """Which submission is the best, or that noise hides it; a sentence without its full stop."""
        best, *near = self.leaders
        name, others = self.names[best], ", ".join(self.names[i] for i in near)
        if not near:
            return f"{name} is the best, beyond noise: no interval of a difference to it holds 0"
        gaps = [self.find_difference(i, best)["score"] for i in near]
        if all(not gap.low and not gap.high for gap in gaps):
            return f"{name} has the same score on every draw of videos as {others}"
        return f"{name} is the best, but within noise of {others}: any of them could be better on other videos"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": self.scores[0].rows,
            "videos": self.videos,
            "draws": self.draws,
            "simultaneous_intervals": len(self.pairs),
            "best": self.names[self.ranking[0]],
            "within_noise_of_the_best": [self.names[i] for i in self.leaders[1:]],
            "submissions": [
                {"name": name, **found.report(), "forecast": {part: forecast[part].as_dict() for part in self.parts}}
                for name, found, forecast in zip(self.names, self.scores, self.forecasts, strict=True)
            ],
            "differences": [
                {
                    "first": self.names[pair.first],
                    "second": self.names[pair.second],
                    **{part: asdict(each) | {"within_noise": each.within_noise} for part, each in pair.parts.items()},
                }
                for pair in self.pairs
            ],
        }


@dataclass(frozen=True)
class Comparison:
    """How submissions differ, row by row and in their scores.

    Attributes:
        names: What tells the submissions apart: the ends of their paths.
        paths: The files or folders that were read.
        changes: For every two of them, by their numbers from 0, how the answers of the second differ from the first's.
        scores: Under each protocol, the requested one first; empty without a truth. The other protocol is left out
            where it has fewer than two videos.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    changes: dict[tuple[int, int], Changes]
    scores: dict[Protocol, ScoreComparison]

    def to_frame(self) -> "pd.DataFrame":
        """A table, for notebooks.

        Returns:
            With a truth a row for each submission, the best first, under the protocol that was asked for: the parts of
            its score, then ``difference`` to the best with ``low`` and ``high`` end of its interval, and
            ``within_noise``. Without one a row for every two submissions, with the columns of `Changes.summarise`.
        """
        import pandas as pd

        if not self.scores:
            index = pd.MultiIndex.from_tuples([(self.names[i], self.names[j]) for i, j in self.changes])
            return pd.DataFrame([found.summarise() for found in self.changes.values()], index=index)
        scores = next(iter(self.scores.values()))
        best = scores.ranking[0]
        rows = []
        for i in scores.ranking:
            gap = Interval(0.0, 0.0, 0.0) if i == best else scores.find_difference(i, best)["score"]
            parts = {part: scores.forecasts[i][part].value for part in scores.parts}
            ends = {"difference": gap.value, "low": gap.low, "high": gap.high, "within_noise": gap.within_noise}
            rows.append({**parts, **ends})
        return pd.DataFrame(rows, index=[self.names[i] for i in scores.ranking])

    def to_figure(self) -> "Figure":
        """A figure of matplotlib, without pyplot: how far each submission lies from the best, with intervals.

        Raises:
            ValueError: If the submissions were compared without a truth, and have no score.
        """
        from abawkit.scoring.figures import draw_score_differences

        if not self.scores:
            raise ValueError("the submissions were compared without a truth: there is no score to draw")
        return draw_score_differences(self.to_frame(), f"score less the best's, {next(iter(self.scores))} protocol")

    def _repr_html_(self) -> str:
        """The table in a notebook; names are escaped."""
        return str(self.to_frame().to_html(float_format="{:.4f}".format))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "submissions": [
                {"name": name, "path": str(path)} for name, path in zip(self.names, self.paths, strict=True)
            ],
            "changes": [
                {"first": self.names[first], "second": self.names[second], **found.as_dict()}
                for (first, second), found in self.changes.items()
            ],
            "scores": {protocol: found.as_dict() for protocol, found in self.scores.items()} or None,
        }


def compare_scores(
    truth: Annotations,
    submissions: Sequence[Submission],
    names: Sequence[str],
    protocol: Protocol = "official",
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> ScoreComparison:
    """Scores submissions on the same videos, and compares every two.

    Args:
        truth: The annotations.
        submissions: Two or more that hold the same tasks, with one row for each row of `truth`, in its order.
        names: What tells them apart.
        protocol: Which rows count.
        draws: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        DataError: As `sum_by_video`, or if only one video has scored rows.
    """
    found = [sum_by_video(truth, one, protocol) for one in submissions]
    videos, tasks = len(found[0].names), found[0].tasks
    parts = (*(PART_OF[task] for task in TASKS if task in tasks), "score")
    pairs = list(combinations(range(len(found)), 2))
    counts = score_draws(videos, draws, seed)
    drawn = [one.scores(counts) for one in found]
    intervals: list[dict[str, Interval]] = [{} for _ in pairs]
    for part in parts:
        column = PARTS.index(part)
        apart = np.stack([drawn[second][:, column] - drawn[first][:, column] for first, second in pairs], axis=1)
        ends = find_simultaneous_ends(apart, videos)
        for interval, value, low, high in zip(intervals, apart[0].tolist(), *map(np.ndarray.tolist, ends), strict=True):
            interval[part] = Interval(value, low, high)
    return ScoreComparison(
        protocol=protocol,
        names=tuple(names),
        videos=videos,
        draws=len(counts) - 1,
        parts=parts,
        scores=tuple(_score_quietly(truth, one, protocol) for one in submissions),
        forecasts=tuple(list_forecasts(scores, videos, videos, tasks) for scores in drawn),
        pairs=tuple(PairDifference(*pair, each) for pair, each in zip(pairs, intervals, strict=True)),
    )


def compare_under_both(
    truth: Annotations, submissions: Sequence[Submission], names: Sequence[str], protocol: Protocol
) -> dict[Protocol, ScoreComparison]:
    """Compares scores under a protocol and, where two videos or more count there, under the other one.

    Raises:
        DataError: As `compare_scores`, for `protocol`.
    """
    found = {protocol: compare_scores(truth, submissions, names, protocol)}
    other: Protocol = "strict" if protocol == "official" else "official"
    try:
        found[other] = compare_scores(truth, submissions, names, other)
    except DataError:
        return found
    return found


def find_simultaneous_ends(differences: Array, videos: int, level: float = LEVEL) -> tuple[Array, Array]:
    """The ends of intervals of which all hold what they are for, `level` of the time.

    Args:
        differences: k differences on the videos as they are, and on each draw of them, shape (1 + b, k).
        videos: Videos V, at least 2.
        level: How often all intervals hold at once.

    Returns:
        Lower and upper ends, shape (k,) each.
    """
    value, drawn = differences[0], differences[1:]
    if drawn.shape[1] == 1:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high
    spread = drawn.std(axis=0)
    apart = np.abs(drawn - drawn.mean(axis=0))
    largest = np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0).max(axis=1)
    quantile = float(stdtrit(videos - 1, ndtr(np.quantile(largest, level))))
    reach = quantile * spread * math.sqrt(videos / (videos - 1))
    return value - reach, value + reach


def _score_quietly(truth: Annotations, submission: Submission, protocol: Protocol) -> Score:
    """A score without its warnings, which would be repeated for each submission."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return score(truth, submission, protocol)


def name_submissions(paths: Sequence[Path]) -> tuple[str, ...]:
    """The shortest ends of paths that tell them apart, with their numbers where a path is given twice."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = tuple("/".join(path.parts[-length:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(f"{number} {path}" for number, path in enumerate(paths, start=1))
