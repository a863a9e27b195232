"""What biases and thresholds gain on other videos, by how strongly they are shrunk, and how wide a plateau they take.

    python -m benchmarks.shrinkage [--releases 200]

From each simulated world (`benchmarks/simulated_worlds.py`) releases of 25, 50 and 100 videos are drawn. Biases of
expressions and thresholds of action units are fitted on each, and judged by F1 on all videos of the world: first by the
strength of shrinking towards doing nothing, then by how many values of the grid on either side are averaged with each.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from abawkit.scoring.metrics import f1_from_counts, f1_per_class
from abawkit.tables import Array
from abawkit.tuning.expression_biases import NEIGHBOUR_BIASES, fit_bias
from abawkit.tuning.expression_biases import SHRINK as BIAS_SHRINK
from abawkit.tuning.thresholds import GRID, NEIGHBOUR_THRESHOLDS, count_by_threshold, find_best_thresholds
from abawkit.tuning.thresholds import SHRINK as THRESHOLD_SHRINK
from benchmarks.simulated_worlds import NAMES, World, make_world

Fit = tuple[float, int]
"""Strength of shrinking, and neighbours on either side."""

BIAS_STRENGTHS: Final[tuple[Fit, ...]] = tuple(
    (shrink, NEIGHBOUR_BIASES) for shrink in (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03)
)
BIAS_WIDTHS: Final[tuple[Fit, ...]] = tuple((BIAS_SHRINK, width) for width in (0, 1, 2, 4, 8, 12, 16))
THRESHOLD_STRENGTHS: Final[tuple[Fit, ...]] = tuple(
    (shrink, NEIGHBOUR_THRESHOLDS) for shrink in (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04)
)
THRESHOLD_WIDTHS: Final[tuple[Fit, ...]] = tuple((THRESHOLD_SHRINK, width) for width in (0, 1, 2, 4, 8, 12, 16))


def draw(world: World, videos: int, releases: int) -> Iterator[tuple[Array, Array]]:
    """Rows of each release, and the number of each row's video in it."""
    rng = np.random.default_rng(videos)
    lengths = np.diff(world.starts)
    for _ in range(releases):
        chosen = rng.choice(world.videos, videos, replace=False)
        yield world.rows(chosen), np.repeat(np.arange(videos), lengths[chosen])


def measure_biases(world: World, videos: int, releases: int, fits: Sequence[Fit]) -> Array:
    """Mean gain in F1 of expressions on all videos for each of some fits."""
    valid, labels, said = world.truth.expression_valid, world.truth.expression, world.systems[0].expression
    logs = np.log(np.maximum(said[valid].astype(np.float64), 1e-30))
    plain = f1_per_class(labels[valid], logs.argmax(axis=1), 8).mean()
    gains = []
    for rows, of in draw(world, videos, releases):
        known = valid[rows]
        given = labels[rows][known], said[rows][known], of[known]
        fitted = [fit_bias(*given, *fit) for fit in fits]
        gains.append([f1_per_class(labels[valid], (logs + bias).argmax(axis=1), 8).mean() - plain for bias in fitted])
    return np.asarray(np.mean(gains, axis=0))


def measure_thresholds(world: World, videos: int, releases: int, fits: Sequence[Fit]) -> Array:
    """Mean gain in F1 of action units on all videos for each of some fits."""
    valid, labels, said = world.truth.au_valid, world.truth.au, world.systems[0].au
    hits, wrong, missed = np.moveaxis(
        count_by_threshold(labels[valid], said[valid], np.zeros(int(valid.sum()), dtype=np.int64), 1)[0], -1, 0
    )
    curve = f1_from_counts(hits, hits + missed, hits + wrong)  # of each unit at each threshold

    def at(thresholds: Array) -> float:
        return float(curve[np.arange(len(curve)), np.searchsorted(GRID, thresholds - 1e-9)].mean())

    gains = []
    for rows, of in draw(world, videos, releases):
        known = valid[rows]
        counts = count_by_threshold(labels[rows][known], said[rows][known], of[known], videos)
        gains.append([at(find_best_thresholds(counts, *fit)) - at(np.full(12, 0.5)) for fit in fits])
    return np.asarray(np.mean(gains, axis=0))


def main() -> None:
    """Prints a line for each world and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=200)
    parser.add_argument("--videos", type=int, default=2500)
    parser.add_argument("--only", choices=("shrink", "width"))
    options = parser.parse_args()
    for what, by, fits, measure in (
        ("biases", 0, BIAS_STRENGTHS, measure_biases),
        ("thresholds", 0, THRESHOLD_STRENGTHS, measure_thresholds),
        ("biases", 1, BIAS_WIDTHS, measure_biases),
        ("thresholds", 1, THRESHOLD_WIDTHS, measure_thresholds),
    ):
        if options.only and options.only != ("shrink", "width")[by]:
            continue
        names = "  ".join(str(fit[by]) for fit in fits)
        print(f"{what}: mean gain in F1 on all videos, by {('shrinkage', 'neighbours')[by]}: {names}", flush=True)
        for name in NAMES:
            world = make_world(name, options.videos, seed=2)
            for videos in (25, 50, 100):
                gains = measure(world, videos, options.releases, fits)
                print(f"  {name}, {videos} videos: {'  '.join(f'{gain:+.4f}' for gain in gains)}", flush=True)


if __name__ == "__main__":
    main()
