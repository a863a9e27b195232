"""Signals: as a flag that a run looks at after each step, or as an exception that ends a command."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from abawkit.errors import StoppedError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether a run was asked to stop.

    Attributes:
        signal: The number of the signal that asked, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.signal).name

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # a bar may have hidden the cursor
            os._exit(128 + number)
        self.signal = number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Takes SIGINT, SIGTERM and SIGHUP for the length of the block; no signal comes to other threads than the main one.

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


@contextmanager
def raise_on_signals(advice: str = "") -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into a `StoppedError` for the length of the block, so that blocks are left in order.

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
        raise StoppedError(f"stopped by {signal.Signals(number).name}{advice}", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
