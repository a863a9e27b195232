"""Experiment trackers: off by default; one that raises, hangs or is not installed never stops a run."""

import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from abawkit.choices import TrackerName
from abawkit.errors import DataWarning, printable
from abawkit.training.tracker_libraries import FACTORIES, EndedError, Job, Tracker

WAITING: Final = 1000
"""Calls of `Trackers.log` that may wait for a tracker; the values of further ones are dropped."""


class Trackers:
    """Passes a run's metrics to trackers; as a context manager, it is closed at the end of the block.

    - ``tensorboard`` writes event files to the folder ``tensorboard`` of the run; those of an earlier run stay, and
      TensorBoard hides what this one replaces.
    - ``mlflow`` writes to the store that ``MLFLOW_TRACKING_URI`` names, or else to files in ``mlflow``; MLflow 3 reads
      them where ``MLFLOW_ALLOW_FILE_STORE=true``.
    - ``wandb`` writes to ``wandb`` without network, for ``wandb sync``, unless ``WANDB_MODE`` says otherwise.

    A resumed run keeps its id. Each tracker has a thread, so that the run waits for none.

    Args:
        names: The trackers; without any, nothing is imported and there is no thread.
        out: The run's folder, which exists.
        settings: The run's settings, as nested mappings of JSON values.
        resumed: Whether the run continues an earlier one in this folder.
    """

    def __init__(
        self, names: Sequence[TrackerName], out: Path, settings: Mapping[str, Any], *, resumed: bool = False
    ) -> None:
        job = Job(out.resolve(), _flatten(settings), resumed)
        self._workers = [_Worker(name, job) for name in dict.fromkeys(names)]
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.run_failed = kind is not None
        self.close()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Passes values on; returns at once.

        Args:
            values: By name; letters, digits and ``_ - . /`` suit all trackers.
            step: A number that never falls within a run.

        Warns:
            DataWarning: Once for each tracker that failed since the last call; it gets no more values.
        """
        for worker in self._workers:
            worker.offer(values, step)
        self._report()

    def close(self, timeout: float = 10.0) -> None:
        """Lets the trackers write their waiting values; one that takes longer is abandoned.

        Args:
            timeout: Seconds to wait at most, for all trackers together.

        Warns:
            DataWarning: Once for each tracker that failed, was abandoned, or lost values because it was too slow.
        """
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.leave(f"did not end within {timeout:g} s and was abandoned; its unwritten values are lost")
            elif worker.dropped and not worker.trouble:
                worker.trouble = f"was too slow; {worker.dropped:,} values were dropped, metrics.jsonl has all epochs"
        self._report()
        self._workers = []

    def _report(self) -> None:
        """Warns in the thread of the run, as warning filters are not safe for threads."""
        troubled = [worker for worker in self._workers if worker.trouble]
        self._workers = [worker for worker in self._workers if worker not in troubled]
        for worker in troubled:
            warnings.warn(f"tracker {worker.tracker_name} {worker.trouble}", DataWarning, stacklevel=3)


class _Worker(threading.Thread):
    """The thread of one tracker.

    Attributes:
        tracker_name: Name of the tracker.
        trouble: The error, as the end of a sentence; "" without an error.
        dropped: Values that were dropped because too many were waiting.
        run_failed: Whether the run ended with an error.
    """

    def __init__(self, name: TrackerName, job: Job) -> None:
        super().__init__(name=f"tracker-{name}", daemon=True)
        self.tracker_name: TrackerName = name
        self.trouble = ""
        self.dropped = 0
        self.run_failed = False
        self._job = job
        self._waiting: SimpleQueue[tuple[dict[str, float], int] | None] = SimpleQueue()
        self._tracker: Tracker | None = None

    def offer(self, values: Mapping[str, float], step: int) -> None:
        if self._waiting.qsize() < WAITING:
            self._waiting.put((dict(values), step))
        else:
            self.dropped += len(values)

    def end(self) -> None:
        self._waiting.put(None)

    def leave(self, trouble: str) -> None:
        self.trouble = trouble
        if self._tracker:
            self._tracker.abandon()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # SystemExit too, which threading ignores
            words = str(error) if isinstance(error, EndedError) else f"{type(error).__name__}: {error}"
            line = printable(" ".join(words.split()))
            self.trouble = self.trouble or f"failed, the run goes on without it: {line:.300}"
            if self._tracker:
                self._tracker.abandon()

    def _work(self) -> None:
        package = find_spec(self.tracker_name)
        if package is None or package.origin is None:  # without an origin: any folder of this name
            advice = f"pip install 'abawkit[{self.tracker_name}]'"
            self.trouble = f"is not installed, the run goes on without it; {advice}"
            return
        self._tracker = FACTORIES[self.tracker_name](self._job)
        if self.trouble:  # abandoned meanwhile
            self._tracker.abandon()
        while item := self._waiting.get():
            values, step = item
            self._tracker.log({name: float(value) for name, value in values.items()}, step)
        self._tracker.close(failed=self.run_failed)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys like ``losses.au``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
