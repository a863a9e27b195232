"""Brings about hangs, and measures when they are noticed."""

import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from rich.progress import track

from abawkit.training import checkpoint_writer, loop
from abawkit.training.data import FramedRows
from abawkit.training.learner import Learner
from abawkit.training.watchdog import HUNG
from tests.commands import Started
from tests.faults.soak.runs import Outcome, count, digests, find_difference, finish, list_words, make_pool, train
from tests.faults.test_processes import Torchrun, arguments

TIMEOUT: Final = 8
"""Seconds of ``--hang-timeout``: far above what a step takes, on a busy machine too."""

BOUND: Final = 2.0 * TIMEOUT
"""Seconds within which a hang must be shown: a process looks ten times in each timeout; the rest is for a machine on
which it has to wait for its turn."""

SETTINGS: Final = {"batch_size": 46, "all.epochs": 3, "heads.epochs": 0, "checkpoints.every": 2}
"""Three epochs of four steps."""

PLACES: Final = {
    "step": (Learner, "step", 11),
    "batch": (FramedRows, "pixels", 11),
    "validation": (loop, "evaluate", 3),
    "checkpoint": (checkpoint_writer, "write_checkpoint", 7),
}
"""Where a process stands still: what is called there, and the last call for which the rest of the run waits."""

CHECKPOINTS: Final = ("0000-000002", "0001-000000", "0001-000002", "0002-000000")
"""Those after which one of two processes is stopped; the run goes on after each."""

STANDS: Final = "stands still at "
SHOWN: Final = " hangs after step "


class Hang(NamedTuple):
    """What came of one hang.

    Attributes:
        kind: Of the hang.
        seconds: From when it began to when its stacks were shown.
        wrong: What was not as it must be; empty if all was.
    """

    kind: str
    seconds: float
    wrong: str


def hang_runs(curated: Path, folder: Path, hangs: int, *, seed: int, workers: int) -> Outcome:
    """Lets processes hang, each fifth as one of two processes under ``torchrun``.

    A process by itself stands still in a step, while it reads a batch, in a validation, or in the thread that writes a
    checkpoint. It must show that place within `BOUND` seconds and end with 76; resumed, it must end with the weights
    of a run that did not hang. Of two processes one is stopped (SIGSTOP) at a random moment: the other must notice,
    and torchrun starts both again, which must end with those weights.

    Args:
        curated: The curated set.
        folder: Where the runs are.
        hangs: How many.
        seed: Of the moments.
        workers: Runs of one process at the same time.
    """
    moments = random.Random(seed)
    stopped = hangs // 5
    places = [list(PLACES)[k % len(PLACES)] for k in range(hangs - stopped)]
    calls = [moments.randint(2 if place == "validation" else 4, PLACES[place][2]) for place in places]
    outs = [folder / f"run{k}" for k in range(len(places))]
    if failed := finish(train(curated, folder / "one", SETTINGS)):
        raise SystemExit(f"the run that does not hang fails:\n{failed}")
    with make_pool(workers) as pool:
        trials = pool.map(_hang, repeat(curated), outs, places, calls, repeat(digests(folder / "one")))
        found = [*track(trials, "hangs", len(places))]
    if stopped:
        whole = Torchrun(_list_words_of_two(curated, folder / "two"))
        if whole.end()[0]:
            raise SystemExit("the run of two processes that does not hang fails")
        for k in track(range(stopped), "hangs of two processes"):
            out, checkpoint, wait = folder / f"two{k}", moments.choice(CHECKPOINTS), moments.uniform(0, 0.3)
            found.append(_stop_one_of_two(curated, out, checkpoint, k % 2, wait, digests(folder / "two")))
    seconds = [hang.seconds for hang in found]
    times = f"shown after {median(seconds):.1f} s (median), {max(seconds):.1f} s (longest) of --hang-timeout {TIMEOUT}"
    kinds = count(hang.kind for hang in found)
    return Outcome("hangs", f"{len(found)}: {kinds}; {times}", [hang.wrong for hang in found if hang.wrong])


def _hang(curated: Path, out: Path, place: str, call: int, expected: list[str]) -> Hang:
    """Lets a run of one process hang, and resumes it."""
    words = [*list_words(curated, out, SETTINGS), "--hang-timeout", TIMEOUT]
    owner, name, _ = PLACES[place]
    real, calls = getattr(owner, name), []

    def stand_still(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            os.write(2, f"{STANDS}{time.monotonic()}\n".encode())
            os.read(os.pipe()[0], 1)  # as from storage that does not answer
        return real(*arguments, **options)

    with patch.object(owner, name, stand_still), Started(*words) as run:
        shown = run.wait_for_error(SHOWN)
        result = run.wait()
    stands = re.search(f"{STANDS}(.*)", result.stderr)
    seconds = shown - float(stands[1]) if stands else float("inf")
    wrong = ""
    if result.returncode != HUNG or "in stand_still" not in result.stderr.partition("the innermost call first:")[2]:
        wrong = f"exit code {result.returncode}: {result.stderr}"
    elif seconds > BOUND:
        wrong = f"shown after {seconds:.1f} s"
    if not wrong:
        with Started(*words, "--resume") as run:
            result = run.wait()
        wrong = result.stderr if result.returncode else find_difference(out, expected)
    shutil.rmtree(out, ignore_errors=True)
    return Hang(f"in a {place}", seconds, wrong and f"hang at call {call} of {place}: {wrong}")


def _list_words_of_two(curated: Path, out: Path) -> list[str]:
    changes = {key: str(value) for key, value in SETTINGS.items()} | {"sync_batchnorm": "false"}
    return arguments(curated, out, "--hang-timeout", str(TIMEOUT), **changes, precision="float32")


def _stop_one_of_two(curated: Path, out: Path, checkpoint: str, rank: int, wait: float, expected: list[str]) -> Hang:
    """Stops one of two processes under torchrun, and kills it when the other has noticed and ended."""
    run = Torchrun(_list_words_of_two(curated, out), restarts=1)
    try:
        run.wait_for(out / "checkpoints" / checkpoint)
        time.sleep(wait)
        workers = run.workers()
        os.kill(workers[rank], signal.SIGSTOP)
        began = time.monotonic()
        lines: list[str] = []
        seconds = float("inf")
        assert run.process.stderr is not None
        for line in run.process.stderr:
            lines.append(line)
            if SHOWN in line and seconds == float("inf"):
                seconds = time.monotonic() - began
                _wait_for_end(workers[1 - rank])
                with suppress(ProcessLookupError):  # torchrun would give it half a minute
                    os.kill(workers[rank], signal.SIGKILL)
        code, said = run.process.wait(), "".join(lines)
    finally:
        with run.process as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    wrong = f"exit code {code}: {said}" if code or not re.search("in (train_epoch|validate)", said) else ""
    wrong = wrong or (f"shown after {seconds:.1f} s" if seconds > BOUND else "") or find_difference(out, expected)
    shutil.rmtree(out, ignore_errors=True)
    return Hang("of one of two", seconds, wrong and f"process {rank} stopped after {checkpoint}: {wrong}")


def _wait_for_end(pid: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.02)
