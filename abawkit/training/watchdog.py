"""Ends a process of a run in which nothing comes to an end any more, and says where each of its threads stands."""

import faulthandler
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from abawkit.errors import printable
from abawkit.system.launcher import read_launch
from abawkit.training.goodput import ACTIVITY_WORDS, WallClock

HUNG: Final = 76
"""Exit code of a process that hung; the same command with ``--resume`` continues the run."""

FIRST_STEP: Final = 1800.0
"""Seconds that a process has for its first step at least, which also checks or compiles operators, records CUDA graphs
and copies frames to a GPU."""

WRITING: Final = 10.0
"""Seconds within which standard error takes the stacks, or the process ends without them."""

GRACE: Final = 2.0
"""Seconds between the stacks and the end of a process: the others of the run, which stand still too, show theirs in
that time, before a launcher ends them."""


class Silence:
    """How long a process has come to the end of nothing.

    Time in which the whole process stood still does not count: a job that Slurm suspends, or a laptop that sleeps, is
    no hang.

    Args:
        clock: Which notes the end of each batch, step, part of a validation and checkpoint.
        allowed: Seconds from one to the next.
        now: Of `time.monotonic`.

    Attributes:
        turn: Seconds from one look to the next.
    """

    def __init__(self, clock: WallClock, allowed: float, now: float) -> None:
        self.turn = min(1.0, allowed / 10)
        self._clock, self._allowed = clock, allowed
        self._ended = sum(clock.ended.values())
        self._seconds, self._looked = 0.0, now

    @property
    def limit(self) -> float:
        """Seconds that are allowed now: `FIRST_STEP` at least until this process has ended a step."""
        return self._allowed if self._clock.ended["steps"] else max(self._allowed, FIRST_STEP)

    def look(self, now: float) -> bool:
        """Whether nothing has ended for longer than is allowed; to be called each `turn`."""
        ended = sum(self._clock.ended.values())
        passed = min(now - self._looked, 2 * self.turn)  # of more than that, the process was not running
        self._seconds = self._seconds + passed if ended == self._ended else 0.0
        self._ended, self._looked = ended, now
        return self._seconds > self.limit


@contextmanager
def end_if_hung(allowed: float | None, clock: WallClock, out: Path, read_steps: Callable[[], int]) -> Iterator[None]:
    """Watches this process for the length of the block, in a thread; ends it with `HUNG` when nothing ends any more.

    Args:
        allowed: Seconds from the end of one batch, step, part of a validation or checkpoint to that of the next; None
            to watch nothing.
        clock: Of the run.
        out: Its folder, for the message.
        read_steps: Gives the steps that are done.
    """
    if allowed is None:
        yield
        return
    done, silence = threading.Event(), Silence(clock, allowed, time.monotonic())

    def watch() -> None:
        while not done.wait(silence.turn):
            if silence.look(time.monotonic()):
                report = silence.limit, clock, out, read_steps()
                writer = threading.Thread(target=_write_hang, args=report, name="stacks", daemon=True)
                writer.start()
                writer.join(WRITING)  # it may be the reader of standard error that hangs
                time.sleep(GRACE)
                os._exit(HUNG)

    watchdog = threading.Thread(target=watch, name="watchdog", daemon=True)
    watchdog.start()
    try:
        yield
    finally:
        done.set()
        watchdog.join()


def _describe_hang(limit: float, clock: WallClock, out: Path, steps: int) -> str:
    launch = read_launch()
    latest = f"the last that ended: {ACTIVITY_WORDS[clock.latest]}" if clock.latest else "nothing has ended before"
    threads = [f"  0x{thread.ident or 0:016x} {thread.name}" for thread in threading.enumerate()]
    return "\n".join(
        [
            f"process {launch.rank} of {launch.world_size} on {socket.gethostname()} hangs after step {steps:,}: no "
            f"batch, step, validation or checkpoint has ended for {limit:g} s ({latest}). Its threads:",
            *map(printable, threads),
            f"continue from the last checkpoint with `{launch.command}abawkit train --resume --out "
            f"{printable(shlex.quote(str(out)))}`; where each thread stands, the innermost call first:",
        ]
    )


def _write_hang(limit: float, clock: WallClock, out: Path, steps: int) -> None:
    """Writes a message and the stacks of all threads on standard error.

    Nothing here reads a file or goes through `sys.stderr`: what hangs may be a file system, or hold its lock.
    """
    cursor = "\x1b[?25h\n" if os.isatty(2) else ""  # a bar may have hidden it
    text = _describe_hang(limit, clock, out, steps)
    os.write(2, f"{cursor}{text}\n".encode(errors="backslashreplace"))
    faulthandler.dump_traceback(file=2, all_threads=True)
