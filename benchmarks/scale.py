"""Do time and memory of the commands grow in proportion to the rows, up to a million of them?

Writes annotations and random features of so many rows, without frames, in the layout of a release with one file per
split (half of the rows in each); runs every command in a process of its own, and prints time, rows a second and peak
resident memory of each, how often the time of the smaller set the larger one takes (as many times as it has rows, if
time is proportional), and the memory of a row more.

    python benchmarks/scale.py [--rows 250000 1000000] [--dimension 16]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from abawkit.labels import ACTION_UNITS, EXPRESSIONS, FIELDS

VIDEO_ROWS = 2_000
"""Rows of a video: about as many as the 2.7 million frames of Aff-Wild2 are of each of its 1,400 videos and parts."""


class Measured(NamedTuple):
    """What a process took: seconds, and the bytes of memory that it held at most."""

    seconds: float
    peak: int


def write_annotations(folder: Path, rows: int) -> None:
    """Writes both annotation files; one row of ten is not annotated for each task. Neighbouring rows are alike."""
    folder.mkdir()
    random = np.random.default_rng(0)
    count = rows // 2
    for split in ("training", "validation"):
        time_of_row = (
            np.arange(count) / 40 + random.uniform(0, 6.28, -(-count // VIDEO_ROWS)).repeat(VIDEO_ROWS)[:count]
        )
        va = np.stack([np.sin(time_of_row), np.cos(0.7 * time_of_row)], axis=1).round(3)
        va[random.random(count) < 0.1] = -5
        expression = (np.arange(count) // 150) % len(EXPRESSIONS)
        expression[random.random(count) < 0.1] = -1
        units = (np.sin(time_of_row[:, None] + np.arange(len(ACTION_UNITS))) > 0.5).astype(np.int64)
        units[random.random(count) < 0.1] = -1
        columns = va.tolist(), expression.tolist(), units.tolist()
        with (folder / f"{split}_set_annotations.txt").open("w") as file:
            file.write(",".join(FIELDS) + "\n")
            for row, (pair, label, active) in enumerate(zip(*columns, strict=True)):
                video, frame = divmod(row, VIDEO_ROWS)
                name = f"{split[:5]}{video}/{frame + 1:05}.jpg"
                file.write(f"{name},{pair[0]},{pair[1]},{label},{','.join(map(str, active))}\n")


def write_features(folder: Path, dimension: int) -> None:
    """Writes random features of all rows, which tell a little of the labels, and their names."""
    names, random = [], np.random.default_rng(0)
    for split in ("training", "validation"):
        with (folder / "release" / f"{split}_set_annotations.txt").open() as file:
            next(file)
            names += [line.partition(",")[0] for line in file]
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in names))
    np.save(folder / "features.npy", random.standard_normal((len(names), dimension), dtype=np.float32))


_LAUNCHER: Final = (
    "import os, subprocess, sys; process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr); "
    "_, status, usage = os.wait4(process.pid, 0); print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)"
)
"""Starts a command and prints its exit code and peak memory. Linux counts as a process's own what the process that
started it held, so that must be small: here are torch and the features."""


def measure(command: Sequence[object], log: Path) -> Measured:
    """Runs a command in a process of its own."""
    began = time.perf_counter()
    launched = [sys.executable, "-c", _LAUNCHER, *map(str, command)]
    with log.open("wb") as file:
        found = subprocess.run(launched, stdout=subprocess.PIPE, stderr=file, text=True, check=True).stdout
    code, kilobytes = map(int, found.split())
    if code:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {code}:\n{log.read_text()}")
    return Measured(time.perf_counter() - began, kilobytes * 1024)


def list_steps(folder: Path) -> dict[str, tuple[list[object], float]]:
    """The commands by the names of steps, each with the share of the rows that it takes."""
    curated, store, answers = folder / "curated", folder / "store", folder / "answers.txt"
    probabilities, threads = answers.with_suffix(".npz"), ["--threads", torch.get_num_threads()]
    given = ["--data", curated, "--features", store, *threads]
    train = [*given, "--set", "all.epochs=1", "--out"]
    rows = ["--names", folder / "names.txt", "--data", curated, "--drop-extra"]  # some are not annotated at all
    return {
        "curate": (["curate", folder / "release", "--labels-only", "--policy", "per-task", "--out", curated], 1.0),
        "features import": (["features", "import", folder / "features.npy", *rows, "--out", store], 1.0),
        "train sequence-frame": (["train", "sequence-frame", *train, folder / "frame"], 1.0),
        "train sequence-bigru": (["train", "sequence-bigru", *train, folder / "bigru"], 1.0),
        "predict": (["predict", folder / "bigru", "--split", "validation", *given, "--out", answers], 0.5),
        "score": (["score", answers, "--truth", curated], 0.5),
        "smooth": (["smooth", probabilities, "--out", folder / "smoothed.npz"], 0.5),
        "tune": (["tune", probabilities, "--truth", curated, "--out", folder / "rule.json"], 0.5),
    }


def main() -> None:
    """Runs all steps at each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000], help="rows of both splits")
    parser.add_argument("--dimension", type=int, default=16, help="features of a row")
    options = parser.parse_args()
    found: dict[str, list[Measured]] = {}
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="abawkit-") as name:
            folder = Path(name)
            write_annotations(folder / "release", rows)
            write_features(folder, options.dimension)
            for step, (arguments, share) in list_steps(folder).items():
                taken = measure([sys.executable, "-m", "abawkit", *arguments], folder / "log")
                found.setdefault(step, []).append(taken)
                speed = f"{rows * share / taken.seconds:,.0f} rows/s"
                print(
                    f"{rows:>9,} rows, {step}: {taken.seconds:.1f} s, {speed}, {taken.peak / 2**20:,.0f} MiB",
                    flush=True,
                )
    print_table(found, options.rows, {step: share for step, (_, share) in list_steps(Path()).items()})


def print_table(found: dict[str, list[Measured]], rows: Sequence[int], shares: dict[str, float]) -> None:
    """Prints what the smallest and the largest set took, as a table of the documentation."""
    print(f"\n| command | rows | time | rows/s | x the time for {rows[0]:,} | peak memory | bytes of a row more |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for step, taken in found.items():
        first, last = taken[0], taken[-1]
        more = (rows[-1] - rows[0]) * shares[step]
        growth = f"{(last.peak - first.peak) / more:,.0f}" if more else ""
        count = rows[-1] * shares[step]
        print(
            f"| `{step}` | {count:,.0f} | {last.seconds:.1f} s | {count / last.seconds:,.0f} | "
            f"{last.seconds / first.seconds:.1f} | {last.peak / 2**20:,.0f} MiB | {growth} |"
        )


if __name__ == "__main__":
    main()
