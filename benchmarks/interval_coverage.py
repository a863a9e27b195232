"""How often intervals hold what they claim to hold: the score of other videos, a true difference, a rule's true gain.

    python -m benchmarks.interval_coverage [--releases 300] [--gains 100] [--parts score difference pairs gain]

In each simulated world (`benchmarks/simulated_worlds.py`) releases of a few dozen videos are drawn. What the intervals
of a release should hold is known: a test is other videos of the world, and true values come from all of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import numpy as np

from abawkit.labels import TASKS
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import apply_rule
from abawkit.scoring.bootstrap import PARTS, VideoStatistics, make_intervals, score_draws, sum_by_video
from abawkit.scoring.comparison import find_simultaneous_ends
from abawkit.scoring.forecast import list_forecasts
from abawkit.tables import Array
from abawkit.tuning.tune import calibrate
from benchmarks.simulated_worlds import NAMES, World, make_world

DRAWS: Final = 600
SYSTEMS: Final = 5
LARGER: Final = 1.64  # the official test list has 82 videos for 50 of validation
P: Final = PARTS.index("score")


def select_videos(statistics: VideoStatistics, videos: Array) -> VideoStatistics:
    """The statistics of some videos."""
    columns = ("rows", "moments", "extremes", "confusion", "units")
    some = {name: getattr(statistics, name)[videos] for name in columns}
    return replace(statistics, names=tuple(map(str, videos)), **some)


def whole(statistics: VideoStatistics) -> Array:
    """The parts of the score on all videos, shape (4,)."""
    return np.asarray(statistics.scores(np.ones((1, len(statistics.names))))[0])


def measure_scores(statistics: VideoStatistics, videos: int, releases: int) -> list[str]:
    """How often percentiles of the bootstrap, and forecasts, hold the P of a test of other videos."""
    rng = np.random.default_rng(videos)
    lines = []
    for test_videos in (videos, round(LARGER * videos)):
        held, widths = np.zeros(2), np.zeros(2)
        for _ in range(releases):
            order = rng.permutation(len(statistics.names))
            scores = select_videos(statistics, order[:videos]).scores(score_draws(videos, DRAWS, int(order[0])))
            truth = whole(select_videos(statistics, order[videos : videos + test_videos]))[P]
            for i, found in enumerate((make_intervals(scores), list_forecasts(scores, videos, test_videos))):
                one = found["score"]
                held[i] += one.low <= truth <= one.high
                widths[i] += one.high - one.low
        old, new = held / releases
        lines.append(
            f"  score, {videos} videos, a test of {test_videos}: percentiles hold {old:.3f}, forecasts {new:.3f} "
            f"at {widths[1] / widths[0]:.2f} x the width"
        )
    return lines


def measure_differences(one: VideoStatistics, other: VideoStatistics, videos: int, releases: int) -> str:
    """How often the interval of a difference in P holds the difference on all videos."""
    rng = np.random.default_rng(videos)
    truth = (whole(one) - whole(other))[P]
    held = 0
    for _ in range(releases):
        order = rng.permutation(len(one.names))[:videos]
        counts = score_draws(videos, DRAWS, int(order[0]))
        apart = select_videos(one, order).scores(counts) - select_videos(other, order).scores(counts)
        found = make_intervals(apart)["score"]
        held += found.low <= truth <= found.high
    return f"  difference, {videos} videos: {held / releases:.3f}"


def measure_pairs(systems: Sequence[VideoStatistics], videos: int, releases: int) -> str:
    """How often the intervals of all pairs of systems hold the differences in P on all videos at once."""
    rng = np.random.default_rng(videos)
    pairs = list(combinations(range(len(systems)), 2))
    known = [whole(one)[P] for one in systems]
    truth = np.array([known[second] - known[first] for first, second in pairs])
    all_held = np.zeros(2)
    for _ in range(releases):
        order = rng.permutation(len(systems[0].names))[:videos]
        counts = score_draws(videos, DRAWS, int(order[0]))
        drawn = np.stack([select_videos(one, order).scores(counts)[:, P] for one in systems], axis=1)
        apart = np.stack([drawn[:, second] - drawn[:, first] for first, second in pairs], axis=1)
        plain = np.quantile(apart[1:], [0.025, 0.975], axis=0)
        for i, (low, high) in enumerate((find_simultaneous_ends(apart, videos), plain)):
            all_held[i] += bool(np.all((low <= truth) & (truth <= high)))
    simultaneous, separate = all_held / releases
    return (
        f"  {len(pairs)} pairs of {len(systems)} systems, {videos} videos: all simultaneous intervals hold "
        f"{simultaneous:.3f}, all separate ones {separate:.3f}"
    )


def measure_gains(world: World, videos: int, releases: int, folds: int) -> str:
    """How often the interval of what `calibrate` gains holds what the written rule gains on all videos."""
    rng = np.random.default_rng(videos)
    everything, said = world.select(np.arange(world.videos))
    before = whole(sum_by_video(everything, decide(said.predictions, TASKS)))
    held, apart = 0, []
    for seed in range(releases):
        truth, member = world.select(rng.permutation(world.videos)[:videos])
        tuning = calibrate([member], truth, folds=folds, seed=seed, draws=DRAWS)
        after = whole(sum_by_video(everything, decide(apply_rule(tuning.rule, [said]), TASKS)))
        gain, found = (after - before)[P], tuning.difference["score"]
        held += found.low <= gain <= found.high
        apart.append([found.value - gain, gain])
    error, true = np.array(apart).T
    return (
        f"  gain of calibrate, {videos} videos, {folds} folds: {held / releases:.3f}; true gain {true.mean():+.4f}, "
        f"estimate less true {error.mean():+.4f}, root mean square {np.sqrt((error**2).mean()):.4f}"
    )


def main() -> None:
    """Prints a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=300)
    parser.add_argument("--gains", type=int, default=100)
    parser.add_argument("--videos", type=int, default=3000)
    parser.add_argument("--parts", nargs="+", default=["score", "difference", "pairs", "gain"])
    parser.add_argument("--folds", nargs="+", type=int, default=[5, 10])
    options = parser.parse_args()
    for name in NAMES:
        world = make_world(name, options.videos, seed=1, systems=SYSTEMS)
        systems = [sum_by_video(world.truth, decide(system, TASKS)) for system in world.systems]
        one, other = systems[:2]
        print(f"{name}: P {whole(one)[P]:.3f} and {whole(other)[P]:.3f} on {len(one.names):,} videos", flush=True)
        for videos in (50, 12):
            if "score" in options.parts:
                print("\n".join(measure_scores(one, videos, options.releases)), flush=True)
            if "difference" in options.parts:
                print(measure_differences(one, other, videos, options.releases), flush=True)
            if "pairs" in options.parts:
                print(measure_pairs(systems, videos, options.releases), flush=True)
        if "gain" in options.parts:
            for folds in options.folds:
                print(measure_gains(world, 50, options.gains, folds), flush=True)


if __name__ == "__main__":
    main()
