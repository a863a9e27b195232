"""Kills ``abawkit train`` at random moments, resumes it, and compares what it ends with.

    python tests/faults/soak.py --kills 100

Each trial begins a run as a user does, kills it with SIGKILL a random time after it has taken its folder, and resumes
it, every second time killing that too, until it ends. The SHA-256 digests of its weights must be those of a run that
was not killed. ``make soak`` also kills a run at every call that changes a file (``trainer.py`` with a stride of 1).
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import track

from abawkit.system.files import sha256_of

HERE = Path(__file__).parent
SETTINGS = ("batch_size=16", "heads.epochs=1", "heads.learning_rate=1e-2", "all.epochs=2", "checkpoints.every=3")


@dataclass
class Outcome:
    """What came of all trials.

    Attributes:
        kills: How many processes were killed.
        trials: How many runs they belonged to.
        where: How often which checkpoint was the newest one when a process was killed.
        wrong: What ended otherwise than it must.
    """

    kills: int = 0
    trials: int = 0
    where: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def abawkit(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "abawkit", *map(str, arguments)]


def train(curated: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    command = abawkit("train", "demo", "--data", curated, "--out", out, "--threads", 1, *settings, *more)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def digests(out: Path) -> list[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    return [*(sha256_of(out / name) for name in ("best.safetensors", "last.safetensors")), str(manifest["best"])]


def newest(out: Path) -> str:
    folder = out / "checkpoints"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return names[-1] if names else "none yet"


def wait_for_its_lock(process: subprocess.Popen[str], out: Path) -> None:
    """Returns when a run has taken its folder, or has ended."""
    while process.poll() is None:
        try:
            if f"process {process.pid} on " in (out / "lock").read_text():
                return
        except OSError:
            pass
        time.sleep(0.01)


def seconds_of_a_run(curated: Path, out: Path) -> float:
    """How long a run takes, from when it has taken its folder."""
    with train(curated, out) as process:
        wait_for_its_lock(process, out)
        began = time.monotonic()
        _, shown = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run that is not killed fails:\n{shown}")
    return time.monotonic() - began


def trial(curated: Path, out: Path, moments: list[float]) -> tuple[list[str], int, str]:
    """Where the run was at each kill, how many processes were killed, and what its last process said if it failed."""
    where, kills = [], 0
    for k, moment in enumerate(moments):
        with train(curated, out, *(["--resume"] if k else [])) as process:
            wait_for_its_lock(process, out)
            try:
                _, shown = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                where.append(newest(out))
                process.kill()
                kills += 1
            else:
                return where, kills, shown if process.returncode else ""
    with train(curated, out, "--resume") as process:
        _, shown = process.communicate()
    return where, kills, shown if process.returncode else ""


def main() -> None:
    """Runs trials until enough processes were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="runs at the same time, of one thread each")
    options = parser.parse_args()
    outcome, moments = Outcome(), random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="abawkit-soak-") as name:
        folder = Path(name)
        curated = folder / "curated"
        for command in (
            abawkit("synth", folder / "release", "--size", "tiny"),
            abawkit("curate", folder / "release", "--out", curated, "--policy", "per-task"),
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        length = seconds_of_a_run(curated, folder / "reference")
        expected = digests(folder / "reference")

        def one(number: int, when: list[float]) -> None:
            out = folder / f"run{number}"
            where, kills, failed = trial(curated, out, when)
            outcome.kills, outcome.trials = outcome.kills + kills, outcome.trials + 1
            outcome.where.update(where)
            if failed:
                outcome.wrong.append(f"run {number}, killed after {when}: {failed}")
            elif digests(out) != expected:
                outcome.wrong.append(f"run {number}, killed after {when}: other weights")
            shutil.rmtree(out, ignore_errors=True)  # a command that failed at once made none

        with ThreadPoolExecutor(options.workers) as pool:
            number = 0
            while outcome.kills < options.kills:
                batch = range(number, number + options.kills - outcome.kills)
                number = batch.stop
                whens = [[moments.uniform(0, length) for _ in range(1 + k % 2)] for k in batch]
                for _ in track(pool.map(one, batch, whens), f"{len(batch)} runs", len(batch)):
                    if outcome.kills >= options.kills:
                        pool.shutdown(wait=True, cancel_futures=True)
                        break
    print(f"{outcome.kills} processes of {outcome.trials} runs killed; newest checkpoint at the kill:")  # noqa: T201
    for place, count in sorted(outcome.where.items()):
        print(f"  {place}: {count}")  # noqa: T201
    print("all ended with the same weights" if not outcome.wrong else "\n".join(outcome.wrong))  # noqa: T201
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
