"""Brings about what happens to long runs, many times, and compares how they end.

    python -m tests.faults.soak --kills 200 --requeues 20 --hangs 20

Each part says what came of it when it ends, and the summary repeats all. ``make soak`` also runs the tests that take
minutes: among others, a run is killed at every call that changes a file.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.soak.hangs import hang_runs
from tests.faults.soak.kills import kill_runs
from tests.faults.soak.requeues import requeue_jobs
from tests.faults.soak.runs import Outcome


def main() -> None:
    """Runs all parts, and ends with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        "python -m tests.faults.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="processes to kill; 0 leaves a part out")
    parser.add_argument("--requeues", type=int, default=20, help="how often jobs are put back into the queue")
    parser.add_argument("--hangs", type=int, default=20, help="processes that hang")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--workers", type=int, default=2, help="runs at the same time, of one thread each")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="abawkit-soak-") as name:
        folder = Path(name)
        curated = make_curated(folder)

        def run(part: Callable[[Path], Outcome]) -> None:
            own, began = folder / f"part{len(outcomes)}", time.monotonic()
            own.mkdir()
            outcome = part(own)
            minutes = (time.monotonic() - began) / 60
            outcomes.append(outcome._replace(text=f"{outcome.text} ({minutes:.0f} min)"))
            print(f"{outcome.name}: {outcomes[-1].text}", *outcome.wrong, sep="\n  ", flush=True)  # noqa: T201

        seed, workers = options.seed, options.workers
        if options.kills:
            run(lambda own: kill_runs(curated, own, options.kills, seed=seed, workers=workers))
        if options.requeues:
            run(lambda own: requeue_jobs(curated, own, options.requeues, seed=seed))
        if options.hangs:
            run(lambda own: hang_runs(curated, own, options.hangs, seed=seed, workers=workers))
    print(summarise(outcomes))  # noqa: T201
    sys.exit(any(outcome.wrong for outcome in outcomes))


def make_curated(folder: Path) -> Path:
    """A small curated set."""
    curated = folder / "curated"
    for words in (
        ("synth", folder / "release", "--size", "tiny"),
        ("curate", folder / "release", "--out", curated, "--policy", "per-task"),
    ):
        command = [sys.executable, "-m", "abawkit", *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return curated


def summarise(outcomes: list[Outcome]) -> str:
    """A line for each part, and how much was wrong."""
    lines = [f"{outcome.name + ':':<10}{outcome.text}" for outcome in outcomes]
    return "\n".join(["", *lines, f"{'wrong:':<10}{sum(len(outcome.wrong) for outcome in outcomes)}"])


if __name__ == "__main__":
    main()
