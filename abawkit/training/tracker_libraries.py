"""TensorBoard, MLflow and Weights & Biases behind one interface; a library is imported when its tracker is created."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from abawkit.choices import TrackerName

SCRIPT: Final = Path(__file__).with_name("tracker_process.py")

QUIET: Final = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 has its other local store, SQLite, only with further packages
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}
"""Defaults for the environment of MLflow and Weights & Biases: no network access unless the user sets it."""


@dataclass(frozen=True)
class Job:
    """The run that a tracker records.

    Attributes:
        out: The run's folder, absolute.
        settings: Its settings by dotted key.
        resumed: Whether it continues an earlier run in this folder.
    """

    out: Path
    settings: Mapping[str, Any]
    resumed: bool


class Tracker(Protocol):
    """One library. All methods but `abandon` may raise, and may hang."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Writes the values of a step."""

    def close(self, *, failed: bool) -> None:
        """Writes the rest; `failed` is whether the run ended with an error."""

    def abandon(self) -> None:
        """Ends what would outlive the process; called from another thread while another method hangs."""


class TensorBoard:
    """Event files in ``tensorboard``; the settings are a table under Text."""

    def __init__(self, job: Job) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._job = job
        self._open = SummaryWriter
        self._writer: SummaryWriter | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Writes the values of a step."""
        if self._writer is None:
            # TensorBoard hides what an earlier run in this folder wrote from this step on.
            purge = step if self._job.resumed else 0
            self._writer = self._open(str(self._job.out / "tensorboard"), purge_step=purge, flush_secs=10)
            rows = [f"| {key} | {json.dumps(value)} |" for key, value in self._job.settings.items()]
            self._writer.add_text("settings", "\n".join(["| key | value |", "| --- | --- |", *rows]), step)
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self, *, failed: bool) -> None:
        """Writes what is left."""
        del failed
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        """Does nothing: its threads end with the process."""


class EndedError(Exception):
    """The process of a tracker ended too early; the message is its last line."""


class ProcessTracker:
    """MLflow or Weights & Biases in a process of its own, which can be killed whatever the library does.

    Weights & Biases replaces ``sys.exit`` and ``sys.excepthook``, and waits at exit without limit; MLflow takes seconds
    to import, and is configured by the environment.
    """

    def __init__(self, name: str, job: Job) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has ended
        # -P: a folder `wandb` or `mlflow` in the working directory is not the library.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(SCRIPT), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            bufsize=0,  # a lock of a buffer, held by a thread that hangs, would be fatal at exit
            env={**QUIET, **os.environ},
            start_new_session=True,  # Ctrl-C is for the run
        )
        self._pipe = cast("IO[bytes]", self._process.stdin)
        self._send({"out": str(job.out), "settings": job.settings, "resumed": job.resumed})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Sends the values of a step."""
        self._send({"values": values, "step": step})

    def close(self, *, failed: bool) -> None:
        """Sends how the run ended, and waits for the process."""
        self._send({"failed": failed})
        code, words = self._wait()
        if code:
            raise EndedError(words)

    def abandon(self) -> None:
        """Kills the process, so that nothing waits for it."""
        self._process.kill()

    def _send(self, message: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while left:
                left = left[self._pipe.write(left) :]
        except BrokenPipeError:
            raise EndedError(self._wait()[1]) from None

    def _wait(self) -> tuple[int, str]:
        """Waits for the end of the process; returns its exit code and its last line."""
        code = self._process.wait()
        self._pipe.close()
        with self._stderr as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").splitlines()
        return code, next((line for line in reversed(lines) if line), f"its process ended with exit code {code}")


FACTORIES: Final[dict[TrackerName, Callable[[Job], Tracker]]] = {
    "tensorboard": TensorBoard,
    "mlflow": lambda job: ProcessTracker("mlflow", job),
    "wandb": lambda job: ProcessTracker("wandb", job),
}
"""Creates a tracker by its name, which is that of the package and of the extra too."""
