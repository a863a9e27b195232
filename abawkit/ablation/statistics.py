"""The figures of one row of an ablation: mean and deviation over seeds, and how far it is from the base.

Networks of one seed begin with the same weights and see frames in the same order as far as their variants let them, so
differences are taken seed by seed. Their interval says what other videos, and other seeds, could have given: each draw
takes as many videos, and as many seeds, as there are, with replacement, the same for the row and the base. With three
seeds the seeds' part of it is rough, and rather too narrow than too wide.

Source: A. Davison, D. Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (more than one level).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

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
from abawkit.tables import Annotations, Array, Submission

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)


@dataclass(frozen=True, eq=False)
class Scores:
    """Figures of a row under one protocol.

    Attributes:
        each: The parts of `PARTS` for each seed, float64, shape (seeds, 4).
        difference: For each of `PARTS` the mean over seeds of what the row has more than the base, with its interval;
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
        """The sample standard deviation over seeds of each of `PARTS`; None of a single figure."""
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
    """Scores decisions against one truth, each with the base's of the same seed.

    Args:
        truth: The annotations.
        base: The base's decisions for each seed.
        seed: Of the draws.
    """

    def __init__(self, truth: Annotations, base: Sequence[Submission], seed: int = 0) -> None:
        self.truth, self.seed = truth, seed
        self.base = {protocol: self._statistics(base, protocol) for protocol in self.protocols}

    @property
    def protocols(self) -> list[Protocol]:
        """The protocols that have rows of at least two videos."""
        valid = {"official": self.truth.any_valid, "strict": self.truth.all_valid}
        return [p for p in PROTOCOLS if len(set(self.truth.select(valid[p]).videos.to_pylist())) > 1]

    def videos(self, protocol: Protocol) -> int:
        """Videos with scored rows.

        Raises:
            DataError: If there are not two.
        """
        if protocol not in self.base:
            raise DataError(f"fewer than two validation videos count under the {protocol} protocol; take the other one")
        return len(self.base[protocol][0].names)

    def score(self, decisions: Sequence[Submission]) -> dict[Protocol, Scores]:
        """The figures of a row.

        Args:
            decisions: For each seed of the base, or one for all seeds together, as an ensemble of them has.

        Raises:
            DataError: If the rows are not those of the truth.
        """
        found: dict[Protocol, Scores] = {}
        for protocol, base in self.base.items():
            own = self._statistics(decisions, protocol)
            once = np.ones((1, len(base[0].names)))
            found[protocol] = Scores(_scores(own, once)[:, 0], self._differences(own, base))
        return found

    def score_base(self) -> dict[Protocol, Scores]:
        """The figures of the base."""
        ones = {protocol: np.ones((1, len(base[0].names))) for protocol, base in self.base.items()}
        return {protocol: Scores(_scores(base, ones[protocol])[:, 0], {}) for protocol, base in self.base.items()}

    def _statistics(self, decisions: Sequence[Submission], protocol: Protocol) -> list[VideoStatistics]:
        return [sum_by_video(self.truth, one, protocol) for one in decisions]

    def _differences(self, own: list[VideoStatistics], base: list[VideoStatistics]) -> dict[str, Interval]:
        videos, seeds = len(base[0].names), len(base)
        counts = score_draws(videos, DRAWS, self.seed)
        apart = _scores(own, counts) - _scores(base, counts)  # one for all seeds is set against each of them
        taken = np.random.default_rng(self.seed + 1).multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
        weights = np.concatenate([np.ones((1, seeds)), taken]) / seeds
        return make_intervals(np.einsum("ds,sdp->dp", weights, apart))


def _scores(statistics: Sequence[VideoStatistics], counts: Array) -> Array:
    """The parts of each seed in each draw, shape (seeds, draws, 4)."""
    return np.stack([one.scores(counts) for one in statistics])
