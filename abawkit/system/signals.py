"""Signals: as a flag that a run looks at after each step, or as an exception that ends a command."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from abawkit.errors import StoppedError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

CONTINUE: Final = 75
"""Exit code of a run that stopped to be continued by the same command: EX_TEMPFAIL of sysexits.h."""

FORWARDED: Final = 2.0
"""Seconds within which a launcher has forwarded a Ctrl-C, which its processes have already had from the terminal."""

PATIENCE: Final = 30.0
"""Seconds after which any signal ends a run that was asked to stop and is still there; torchrun waits as long."""


def find_exit_code(number: int) -> int:
    """The exit code for a signal: 128 + its number, as shells count it; `CONTINUE` for SIGUSR1 and SIGUSR2.

    Batch systems send these two ahead of a time limit, so that a job can save its state and be queued again.
    """
    return CONTINUE if number in (signal.SIGUSR1, signal.SIGUSR2) else 128 + number


class Stop:
    """Whether a run was asked to stop.

    A second signal doesn't end the process at once, as one request can bring several: at a time limit, Slurm signals
    all processes of a job, and torchrun forwards to its workers what they have had already. Two things do: a second
    Ctrl-C on a terminal, and any signal `PATIENCE` seconds after the first.

    Attributes:
        signal: The number of the signal that asked first, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._interrupts = 0
        self._asked_at = 0.0

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.signal).name

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        self._interrupts += number == signal.SIGINT
        if not self.signal:
            self.signal, self._asked_at = number, now
            return
        passed = now - self._asked_at
        forwarded = "TORCHELASTIC_RUN_ID" in os.environ and passed < FORWARDED
        again = number == signal.SIGINT and self._interrupts > 1 and _has_terminal() and not forwarded
        if again or passed > PATIENCE:
            if os.isatty(2):
                os.write(2, b"\x1b[?25h\n")  # a bar may have hidden the cursor
            os._exit(128 + number)


def _has_terminal() -> bool:
    """Whether a person can have pressed Ctrl-C: standard input or standard error is a terminal."""
    return os.isatty(0) or os.isatty(2)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Takes `SIGNALS` for the length of the block; no signal comes to other threads than the main one.

    A SIGHUP that is ignored stays so: under ``nohup`` a run outlives its terminal.

    A flag, and no exception: one that is raised wherever Python happens to be can be swallowed there, or leave half of
    a step behind.

    Yields:
        The flag that they set.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    taken = [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]
    before = {number: signal.signal(number, stop._ask) for number in taken}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Signalled(BaseException):
    """A signal on its way out of a block of `raise_on_signals`.

    It comes wherever Python happens to be: as an `Exception` it would pass for a damaged file where one is being read.

    Attributes:
        error: What the block ends with.
    """

    def __init__(self, error: StoppedError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def raise_on_signals(advice: str = "") -> Iterator[None]:
    """Ends the block with a `StoppedError` at one of `SIGNALS` but SIGINT, so that inner blocks are left in order.

    Within the block it is no `Exception`, so that nothing takes it for another error.

    Signals that are ignored stay ignored: ``nohup`` ignores SIGHUP. Ctrl-C is an exception already. Does nothing
    outside of the main thread, which alone receives signals.

    Args:
        advice: Added to the message.
    """
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != owner:  # a forked process, which has nothing to clean up
            os._exit(128 + number)
        text = f"stopped by {signal.Signals(number).name}{advice}"
        raise _Signalled(StoppedError(text, find_exit_code(number)))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS if number != signal.SIGINT}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    except _Signalled as signalled:
        raise signalled.error from None
