"""What smoothing a test list costs, against the double loop in Python that participants use.

    python benchmarks/smoothing.py [--rounds 10] [--seed 0]

The list is drawn: 51,159 rows of 82 videos, sparse frame numbers, 718 rows that repeat the row before, as released. The
loop does a share of the videos in every round, and between two shares the vectorised code does the whole list, so that
whatever else the machine does meets both. The loop takes a few minutes.
"""

import argparse
import os
import platform
import statistics
import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from abawkit.frame_columns import Timeline
from abawkit.labels import Task
from abawkit.postprocessing.smoothing import PUBLISHED_SMOOTHING, Smoothing, apply_smoothing
from abawkit.tables import Array

ROWS, VIDEOS, REPEATS = 51_159, 82, 718  # of the released list
COLUMNS: dict[Task, int] = {"va": 2, "expression": 8, "au": 12}
TARGET = 200.0
TOLERANCE = 1e-6


class Drawn(NamedTuple):
    """A list, sorted, with the repeats beside what they repeat."""

    images: pa.StringArray
    numbers: Array
    starts: Array
    repeated: Array


def draw_list(rng: np.random.Generator) -> Drawn:
    """Draws a list of the size of the released one."""
    cuts = rng.choice(np.arange(60, ROWS - 60, 60), VIDEOS - 1, replace=False)
    starts = np.array([0, *np.sort(cuts), ROWS])
    repeated = np.zeros(ROWS, dtype=bool)
    repeated[rng.choice(np.setdiff1d(np.arange(ROWS), starts), REPEATS, replace=False)] = True
    gaps = np.where(repeated, 0, rng.geometric(0.15, ROWS))
    numbers = np.concatenate([1 + np.cumsum(gaps[a:b]) - gaps[a] for a, b in pairwise(starts)])
    videos = np.repeat(np.arange(VIDEOS), np.diff(starts))
    names = [f"video{video}/{number:05d}.jpg" for video, number in zip(videos, numbers, strict=True)]
    return Drawn(pa.array(names), numbers, starts, repeated)


def participants_loop(values: Array, numbers: Array, radius: int, scale: float) -> Array:
    """One video, as participants smooth it: for every row all rows around it."""
    result = np.zeros_like(values)
    n = len(values)
    for i in range(n):
        total, norm = np.zeros(values.shape[1]), 0.0
        for j in range(max(0, i - radius), min(n, i + radius + 1)):
            weight = np.exp(-((numbers[j] - numbers[i]) ** 2) / scale)
            total += weight * values[j]
            norm += weight
        result[i] = total / norm
    return result


def where_right(listed: Drawn, radius: int) -> Array:
    """Rows whose window holds no repeated row: elsewhere the loop counts a frame twice."""
    right = np.ones(ROWS, dtype=bool)
    for a, b in pairwise(listed.starts):
        for row in np.flatnonzero(listed.repeated[a:b]) + a:
            right[max(a, row - 1 - radius) : min(b, row + radius + 1)] = False
    return right


def compare(values: Array, listed: Drawn, how: Smoothing, rounds: int) -> tuple[float, float, float, float, int]:
    """Seconds of the loop, of the vectorised code, of making its timeline; largest difference, rows compared."""
    looped = np.zeros_like(values)
    loop_time, times, timeline_times = 0.0, [], []
    for share in np.array_split(np.arange(VIDEOS), rounds):
        start = time.perf_counter()
        for a, b in zip(listed.starts[share], listed.starts[share + 1], strict=True):
            looped[a:b] = participants_loop(values[a:b], listed.numbers[a:b], how.radius, how.scale)
        loop_time += time.perf_counter() - start
        start = time.perf_counter()
        timeline = Timeline.of(listed.images)
        middle = time.perf_counter()
        found = apply_smoothing(values, timeline, how)
        times.append(time.perf_counter() - middle)
        timeline_times.append(middle - start)
    right = where_right(listed, how.radius)
    difference = float(np.abs(found - looped)[right].max())
    return loop_time, statistics.median(times), statistics.median(timeline_times), difference, int(right.sum())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    listed = draw_list(rng)
    print(f"{os.cpu_count()} processors, Python {platform.python_version()}, numpy {np.__version__}; ", end="")
    print(f"{ROWS:,} rows, medians of {options.rounds} interleaved rounds\n")
    failed = False
    loops, fasts, timelines = [], [], []
    for task, columns in COLUMNS.items():
        how = PUBLISHED_SMOOTHING["expression" if task == "au" else task]  # none is published for action units
        values = rng.random((ROWS, columns), dtype=np.float32)
        loop, fast, timeline, difference, rows = compare(values, listed, how, options.rounds)
        ratio = loop / fast
        failed |= ratio < TARGET or difference > TOLERANCE
        print(f"{task}, {how}: the loop {loop:.1f} s, smoothed {1000 * fast:.1f} ms: {ratio:.0f} x (target {TARGET:g})")
        print(f"  largest difference {difference:.1e} on the {rows:,} rows with no repeat in their window")
        loops.append(loop)
        fasts.append(fast)
        timelines.append(timeline)
    once = statistics.median(timelines)
    print(f"all three, and the list's timeline made once ({1000 * once:.1f} ms): ", end="")
    print(f"{sum(loops) / (sum(fasts) + once):.0f} x; for va alone {loops[0] / (fasts[0] + once):.0f} x")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
