"""What must be seen on a machine with a GPU, in at most eight minutes: `make gpu`.

python -m benchmarks.gpu.check --out build/gpu [--wheels FOLDER] [--only STEP ...] [--limit 480] [--dry]

Builds for this GPU alone, then checks and measures. Into the folder go ``summary.txt``, ``summary.json``, ``log.txt``
and ``tests.xml``. With --dry the same steps run on a CPU, at a small size, and may take ten times as long.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.gpu.environment import make_environment, make_variables
from benchmarks.gpu.report import format_summary, summarise
from benchmarks.gpu.runner import Ran, run_steps
from benchmarks.gpu.steps import DRY_FACTOR, make_steps

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 480
WORKERS: Final = 8


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--only", nargs="+", metavar="STEP", default=[])
    parser.add_argument("--limit", type=float, default=LIMIT)
    parser.add_argument("--dry", action="store_true")
    return parser.parse_args()


def write_summary(out: Path, ran: Mapping[str, Ran], *, dry: bool) -> str:
    """Writes both summaries, also while steps are still to come. Returns the one to read."""
    summary = summarise(ran, out / "tests.xml", dry=dry)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    text = format_summary(summary)
    (out / "summary.txt").write_text(text)
    return text


def main() -> None:
    """Runs the steps and prints the summary; ends with 1 if a step failed or was ended."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the step that runs ends too
    out = options.out.resolve()
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (out / "tests.xml").unlink(missing_ok=True)
    try:
        python = make_environment(work / "environment", options.wheels)
        workers = min(WORKERS, os.cpu_count() or 1) if importlib.util.find_spec("xdist") and not options.dry else 0
        steps = make_steps(str(python), work, out, dry=options.dry, workers=workers)
        if unknown := set(options.only) - {step.name for step in steps}:
            sys.exit(f"--only: no step is called {', '.join(sorted(unknown))}; {', '.join(s.name for s in steps)} are")
        chosen = [step for step in steps if not options.only or step.name in options.only]
        with (out / "log.txt").open("wb") as log:
            limit = options.limit * (DRY_FACTOR if options.dry else 1)
            # threads that wait for each other take a busy CPU many times as long
            variables = make_variables(python) | ({"OMP_NUM_THREADS": "1"} if options.dry else {})
            ran = run_steps(
                chosen,
                work,
                log,
                limit=limit,
                environment=variables,
                cwd=ROOT,
                report=lambda ran: write_summary(out, ran, dry=options.dry),
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(write_summary(out, ran, dry=options.dry))
    if any(one.outcome in ("failed", "timed out") for one in ran.values()):
        sys.exit(f"not every step ended well; see {out / 'log.txt'}")


if __name__ == "__main__":
    main()
