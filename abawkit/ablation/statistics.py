"""Scores of one row of an ablation: mean and deviation over seeds, and the difference to the base.

Networks of one seed begin with the same weights and see frames in the same order as far as their variants allow, so
differences are taken seed by seed. Their interval is a bootstrap over videos and seeds: each replicate takes as many
videos, and as many seeds, as there are, with replacement, the same for the row and the base. With three seeds the part
of the seeds is rough, and too narrow rather than too wide.

Source: A. Davison, D. Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (more than one level).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import DataError
from abawkit.scoring.bootstrap import (
    DRAWS,
    PARTS,
    Interval,
    VideoStatistics,
    make_intervals,
    score_draws,
    sum_by_video,
)
from abawkit.scoring.score import PROTOCOLS
from abawkit.tables import Annotations, Array, Submission


@dataclass(frozen=True, eq=False)
class SeedScores:
    """Scores of a row under one protocol.

    Attributes:
        each: The parts of `PARTS` for each seed, float64, shape (seeds, 4).
        difference: For each of `PARTS` the mean over seeds of the row's score minus the base's, with its interval;
            empty for the base itself.
    """

    each: Array
    difference: Mapping[str, Interval]

    @property
    def mean(self) -> dict[str, float]:
        """The mean over seeds of each of `PARTS`."""
        return dict(zip(PARTS, map(float, self.each.mean(axis=0)), strict=True))

    @property
    def deviation(self) -> dict[str, float] | None:
        """The sample standard deviation over seeds of each of `PARTS`; None of a single seed."""
        if len(self.each) < 2:
            return None
        return dict(zip(PARTS, map(float, self.each.std(axis=0, ddof=1)), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "difference": {part: interval.as_dict() for part, interval in self.difference.items()},
            "seeds": [dict(zip(PARTS, map(float, row), strict=True)) for row in self.each],
        }


class Evaluator:
    """Scores decisions, each against the base's of the same seed.

    Args:
        truth: The annotations.
        base: The base's decisions for each seed.
        seed: Of the bootstrap.
    """

    def __init__(self, truth: Annotations, base: Sequence[Submission], seed: int = 0) -> None:
        self.truth, self.seed = truth, seed
        self.base = {protocol: self._sum_by_video(base, protocol) for protocol in self.protocols}

    @property
    def protocols(self) -> list[Protocol]:
        """The protocols under which rows of at least two videos are scored."""
        valid = {"official": self.truth.any_valid, "strict": self.truth.all_valid}
        return [p for p in PROTOCOLS if len(set(self.truth.select(valid[p]).videos.to_pylist())) > 1]

    def count_videos(self, protocol: Protocol) -> int:
        """Videos with scored rows.

        Raises:
            DataError: If there are not two.
        """
        if protocol not in self.base:
            raise DataError(
                f"fewer than two validation videos are scored under the {protocol} protocol; use the other one"
            )
        return len(self.base[protocol][0].names)

    def score(self, decisions: Sequence[Submission]) -> dict[Protocol, SeedScores]:
        """The scores of a row.

        Args:
            decisions: One per seed of the base, or a single one for all seeds, as of an ensemble.

        Raises:
            DataError: If the rows are not those of the truth.
        """
        found: dict[Protocol, SeedScores] = {}
        for protocol, base in self.base.items():
            own = self._sum_by_video(decisions, protocol)
            found[protocol] = SeedScores(_score_once(own), self._measure_differences(own, base))
        return found

    def score_base(self) -> dict[Protocol, SeedScores]:
        """The scores of the base."""
        return {protocol: SeedScores(_score_once(base), {}) for protocol, base in self.base.items()}

    def _sum_by_video(self, decisions: Sequence[Submission], protocol: Protocol) -> list[VideoStatistics]:
        return [sum_by_video(self.truth, one, protocol) for one in decisions]

    def _measure_differences(self, own: list[VideoStatistics], base: list[VideoStatistics]) -> dict[str, Interval]:
        videos, seeds = len(base[0].names), len(base)
        counts = score_draws(videos, DRAWS, self.seed)
        # a single ensemble is compared with the base of each seed
        differences = _score_replicates(own, counts) - _score_replicates(base, counts)
        taken = np.random.default_rng(self.seed + 1).multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
        weights = np.concatenate([np.ones((1, seeds)), taken]) / seeds
        return make_intervals(np.einsum("ds,sdp->dp", weights, differences))


def _score_once(statistics: Sequence[VideoStatistics]) -> Array:
    """The parts of each seed on all videos, shape (seeds, 4)."""
    return _score_replicates(statistics, np.ones((1, len(statistics[0].names))))[:, 0]


def _score_replicates(statistics: Sequence[VideoStatistics], counts: Array) -> Array:
    """The parts of each seed in each replicate, shape (seeds, replicates, 4)."""
    return np.stack([one.scores(counts) for one in statistics])
