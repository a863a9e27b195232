"""Kills runs at random moments, and resumes them."""

import random
import shutil
import signal
import time
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from tests.commands import Started
from tests.faults.soak.runs import SHORT, Outcome, count, digests, find_difference, list_words, make_pool


class Trial(NamedTuple):
    """What came of one run.

    Attributes:
        newest: What there was of the newest checkpoint, at each kill.
        wrong: What was not as it must be; empty if all was.
    """

    newest: list[str]
    wrong: str


def kill_runs(curated: Path, folder: Path, kills: int, *, seed: int, workers: int) -> Outcome:
    """Kills runs until `kills` processes were killed.

    Each run is killed with SIGKILL a random time after it has taken its folder, and resumed; every second one is
    killed once more then. Its weights must be those of a run that was not killed.

    Args:
        curated: The curated set.
        folder: Where the runs are.
        kills: Processes to kill, at least.
        seed: Of the moments.
        workers: Runs at the same time.
    """
    moments = random.Random(seed)
    trials: list[Trial] = []
    killed = 0
    with make_pool(workers) as pool:
        whole = folder / "whole"
        seconds = pool.submit(_time_run, curated, whole).result()
        expected = digests(whole)
        while killed < kills and len(trials) < 10 * kills:
            n = len(trials)
            numbers = range(n, n + max(1, (kills - killed) * 2 // 3))  # of two runs, three processes are killed
            whens = [[moments.uniform(0, seconds) for _ in range(1 + k % 2)] for k in numbers]
            outs = [folder / f"run{k}" for k in numbers]
            found = pool.map(_kill_and_resume, repeat(curated), outs, whens, repeat(expected))
            trials += track(found, "kills", len(numbers))
            killed = sum(len(trial.newest) for trial in trials)
    wrong = [trial.wrong for trial in trials if trial.wrong]
    if killed < kills:
        wrong.append(f"{killed} processes were killed, not {kills}: the others had ended before")
    newest = count(place for trial in trials for place in trial.newest)
    return Outcome("kills", f"{killed} processes of {len(trials)} runs; newest checkpoint: {newest}", wrong)


def _time_run(curated: Path, out: Path) -> float:
    """How long a run takes, from when it has taken its folder, seconds."""
    with Started(*list_words(curated, out, SHORT)) as run:
        _wait_for_its_lock(run, out)
        began = time.monotonic()
        result = run.wait()
    if result.returncode:
        raise RuntimeError(f"the run that is not killed fails:\n{result.stderr}")
    return time.monotonic() - began


def _kill_and_resume(curated: Path, out: Path, moments: Sequence[float], expected: list[str]) -> Trial:
    """Begins a run, kills it after so many seconds, and again when it was resumed, and resumes it to its end."""
    newest: list[str] = []
    wrong = ""
    for k, moment in enumerate([*moments, float("inf")]):
        with Started(*list_words(curated, out, SHORT), *(["--resume"] if k else [])) as run:
            _wait_for_its_lock(run, out)
            until = time.monotonic() + moment
            while run.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)
            result = run.wait()
        if result.returncode != -signal.SIGKILL:
            wrong = result.stderr if result.returncode else find_difference(out, expected)
            break
        newest.append(describe_newest(out))
    shutil.rmtree(out, ignore_errors=True)  # a command that failed at once made none
    return Trial(newest, wrong and f"{out.name}, killed after {moments} s: {wrong}")


def _wait_for_its_lock(run: Started, out: Path) -> None:
    """Returns when a run has taken its folder, or has ended."""
    while run.poll() is None:
        try:
            if f"process {run.pid} on " in (out / "lock").read_text():
                return
        except OSError:
            pass
        time.sleep(0.005)


def describe_newest(out: Path) -> str:
    """What there is of the newest checkpoint of a run that was killed."""
    folder = out / "checkpoints"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return "none yet"
    if names[-1].endswith(".partial"):
        return "being written"
    return "of an epoch's edge" if names[-1].endswith("-000000") else "within an epoch"
