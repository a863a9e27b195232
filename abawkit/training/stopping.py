"""Why a run stops before its end: a signal, its time limit, or a file that was put into its folder."""

import time
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.run_names import STOP
from abawkit.system.signals import CONTINUE, Stop, find_exit_code


class StopReason(NamedTuple):
    """Why a run stops.

    Attributes:
        text: For the message: ``stopped by SIGTERM``.
        exit_code: Of the command; not 0.
    """

    text: str
    exit_code: int


OTHER_PROCESS: Final = "stopped, as another process was"
"""What the processes say that were not asked themselves."""


class StopRequests:
    """What can ask a run to stop.

    Attributes:
        signals: The flag that signals set.
        deadline: Of `time.monotonic`, from which on the run stops; None for no limit.
        file: It stops when there is such a file.
    """

    def __init__(self, folder: Path, deadline: float | None = None) -> None:
        self.signals, self.deadline, self.file = Stop(), deadline, folder / STOP

    def find_reason(self) -> StopReason | None:
        """Why the run must stop now, or None."""
        if self.signals.signal:
            return StopReason(f"stopped by {self.signals.name}", find_exit_code(self.signals.signal))
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return StopReason("stopped at its time limit", CONTINUE)
        if self.file.exists():
            return StopReason(f"stopped by the file {STOP} in its folder", CONTINUE)
        return None
