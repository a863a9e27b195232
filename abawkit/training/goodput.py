"""Where the wall time of a run goes, over all its processes: steps, data, validation, and work that a kill undid."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from abawkit.errors import DataError
from abawkit.system.files import write_json
from abawkit.system.json_records import read_json
from abawkit.training.progress import Progress

Activity = Literal["start", "data", "steps", "validation", "checkpoints", "lost", "other"]
ACTIVITIES: Final[tuple[Activity, ...]] = get_args(Activity)

_REPEATED: Final[tuple[Activity, ...]] = ("data", "steps", "validation")
"""What a run that was killed does again from its last checkpoint on."""

ACTIVITY_WORDS: Final[Mapping[Activity, str]] = {
    "start": "start",
    "data": "waiting for data",
    "steps": "training steps",
    "validation": "validation",
    "checkpoints": "checkpoints",
    "lost": "lost work",
    "other": "other",
}

FORMAT: Final = "abawkit.timing.1"
EVERY: Final = 5.0
"""Seconds between two writings of the file that outlives a kill; work of fewer seconds may not be counted as lost."""


@dataclass(frozen=True)
class Goodput:
    """How much of a run's wall time went into training steps whose result was kept.

    Attributes:
        seconds: Wall time by activity, over all processes that the run took: ``start`` (reading the data, building the
            network), ``data`` (waiting for a batch), ``steps``, ``validation``, ``checkpoints`` (copying the state, and
            waiting for one that is still being written; the run goes on beside the writing itself), ``lost`` (data,
            steps and validation that were repeated after a kill) and ``other``.
        lost_steps: Steps that were done and had to be repeated.
    """

    seconds: Mapping[Activity, float]
    lost_steps: int = 0

    @property
    def total(self) -> float:
        """All wall time, in seconds; time between two processes is not known and does not count."""
        return sum(self.seconds.values())

    @property
    def share(self) -> float:
        """Share of the wall time in training steps that were kept, in [0, 1]."""
        return self.seconds["steps"] / self.total if self.total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        seconds = {activity: round(self.seconds[activity], 1) for activity in ACTIVITIES}
        return {"share": round(self.share, 4), "seconds": seconds, "lost_steps": self.lost_steps}

    def describe(self) -> str:
        """One line: the seconds, and the shares of activities that have at least half a per cent, the largest first."""
        shares = {activity: seconds / max(self.total, 1e-9) for activity, seconds in self.seconds.items()}
        shown = sorted((a for a in ACTIVITIES if shares[a] >= 0.005), key=lambda a: -shares[a])
        parts = ", ".join(f"{ACTIVITY_WORDS[activity]} {100 * shares[activity]:.0f} %" for activity in shown)
        lost = f" ({self.lost_steps:,} steps repeated)" if self.lost_steps else ""
        return f"time: {self.total:,.0f} s, of which {parts}{lost}"


class _Timing(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["abawkit.timing.1"]
    steps: Annotated[int, Field(ge=0, lt=2**63)]
    lost_steps: Annotated[int, Field(ge=0, lt=2**63)]
    seconds: dict[Activity, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


def read_timing(path: Path) -> tuple[Goodput, int]:
    """What `WallClock.write` wrote: where the time went so far, and the steps that were done by then.

    Raises:
        DataError: If it is absent or anything else.
    """
    found = read_json(path, _Timing, "where the time of a run goes", "remove it: a run does without it", 1 << 16)
    seconds = {activity: found.seconds.get(activity, 0.0) for activity in ACTIVITIES}
    return Goodput(seconds, found.lost_steps), found.steps


class WallClock:
    """Counts where the wall time of a run goes.

    Args:
        began: Of `time.monotonic`, when the run or its continuation began.

    Attributes:
        ended: How often an activity of each kind has ended in this process.
        latest: The one that ended last; None before there is one.
    """

    def __init__(self, began: float) -> None:
        self._seconds: dict[Activity, float] = dict.fromkeys(ACTIVITIES, 0.0)
        self._lost_steps = 0
        self._last = self._written = began
        self.ended: dict[Activity, int] = dict.fromkeys(ACTIVITIES, 0)
        self.latest: Activity | None = None

    def charge(self, activity: Activity) -> None:
        """Counts the time since the last call, of this process, as that of an activity."""
        now = time.monotonic()
        self._seconds[activity] += now - self._last
        self._last = now
        self.ended[activity] += 1
        self.latest = activity

    def get_goodput(self) -> Goodput:
        """Where the time went so far."""
        return Goodput(dict(self._seconds), self._lost_steps)

    def note(self, progress: Progress) -> None:
        """Records it in the progress that a checkpoint is about to keep."""
        progress.spent = {str(activity): seconds for activity, seconds in self._seconds.items()}
        progress.lost_steps = self._lost_steps
        progress.seconds = sum(self._seconds.values())

    def write(self, path: Path, steps: int, *, due: bool = False) -> None:
        """Writes it beside the checkpoints, so that it is known after a kill; nothing depends on whether it can be.

        Args:
            path: The file.
            steps: Steps that are done.
            due: Whether to write at once; else every `EVERY` seconds.
        """
        if due or self._last - self._written >= EVERY:
            self._written = self._last
            content = {"format": FORMAT, "steps": steps, "lost_steps": self._lost_steps, "seconds": self._seconds}
            with suppress(DataError):
                write_json(path, content, flush=False)  # a run does not stand still for it

    def restore(self, progress: Progress, path: Path) -> None:
        """Adds the time of the processes before this one, which left a checkpoint and a file of `write`.

        Work that the file has and the checkpoint has not is lost, as it is about to be repeated.

        Args:
            progress: Of the checkpoint.
            path: The file; a damaged or absent one is passed over.
        """
        kept = {activity: float(progress.spent.get(activity, 0.0)) for activity in ACTIVITIES}
        kept["other"] += max(0.0, progress.seconds - sum(kept.values()))  # a run of before has its sum alone
        seen, steps = Goodput(kept, progress.lost_steps), progress.steps
        with suppress(DataError):
            seen, steps = read_timing(path)
        later = {activity: max(0.0, seen.seconds[activity] - kept[activity]) for activity in ACTIVITIES}
        for activity in ACTIVITIES:
            self._seconds[activity] += kept[activity] + (0.0 if activity in _REPEATED else later[activity])
        self._seconds["lost"] += sum(later[activity] for activity in _REPEATED)
        self._lost_steps = max(progress.lost_steps, seen.lost_steps) + max(0, steps - progress.steps)
