"""Which process of a run is slower than the others, by the time that each takes between two points where all meet."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

RATIO: Final = 1.5
"""A process is slow from so many times the median of the others on; they wait for it a third of the time then."""

LEAST: Final = 1.0
"""Seconds that it must take longer than the others, so that a short epoch's chance is not reported."""


class OwnTime:
    """Seconds that a process takes by itself, from where all have met to where it is ready for the next meeting.

    In training that is a batch, from waiting for it to the network's outputs; in validation its part of the rows.
    Backward passes, in which gradients are averaged on the way, don't count. On a GPU it is the host's time alone, as
    the host does not wait for its own forward pass.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._left: float | None = None
        self._waited = 0.0
        self._waits_since: float | None = None
        self._warm = False

    def leave(self) -> None:
        """All processes have met."""
        self._left, self._waited = time.monotonic(), 0.0

    def arrive(self) -> None:
        """This process is ready for the next meeting; it may be on its way to none.

        The first way of a process is left out: it warms up, and the first one shows some frames.
        """
        if self._left is not None and self._warm:
            self._seconds += time.monotonic() - self._left - self._waited
        self._warm = self._warm or self._left is not None
        self._left = None

    def begin_wait(self) -> None:
        """Time from here to `end_wait` is not this process's own."""
        self._waits_since = time.monotonic()

    def end_wait(self) -> None:
        """Ends a wait, if there is one."""
        if self._waits_since is not None:
            self._waited += time.monotonic() - self._waits_since
        self._waits_since = None

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Time within the block is not this process's own."""
        self.begin_wait()
        try:
            yield
        finally:
            self.end_wait()

    def take(self) -> float:
        """The seconds since the last call; what has begun is dropped."""
        seconds, self._seconds, self._left = self._seconds, 0.0, None
        return seconds


def find_slowness(seconds: Sequence[float], rank: int) -> float | None:
    """How many times the median of the others a process takes, if it is slow; else None.

    Args:
        seconds: Own time of each process over the same batches; two or more.
        rank: The process.
    """
    own, others = seconds[rank], statistics.median([*seconds[:rank], *seconds[rank + 1 :]])
    return own / max(others, 1e-3) if own >= RATIO * others and own - others >= LEAST else None
