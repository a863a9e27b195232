"""The process in which MLflow or Weights & Biases runs; `abawkit.training.tracker_libraries` starts it.

It reads JSON lines: first the run, then ``{"values": {...}, "step": ...}``, at last ``{"failed": ...}``. It imports
nothing of abawkit, so that it starts as fast as the library.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

RUN_ID: Final = "run_id"
"""Name of the file with a run's id, in the folder of the library; a resumed run continues under it."""

PARAMETERS: Final = 100
"""Parameters that MLflow takes in one call at most."""


class Writer(Protocol):
    """The interface of both libraries."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Writes the values of a step."""

    def close(self, *, failed: bool) -> None:
        """Ends the run."""


class MLflow:
    """A run of MLflow, in the store that ``MLFLOW_TRACKING_URI`` names, or else in files under ``mlflow``.

    The experiment is ``MLFLOW_EXPERIMENT_ID`` or ``MLFLOW_EXPERIMENT_NAME``, or else abawkit.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, resumed: bool) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        note = out / "mlflow" / RUN_ID
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or note.parent.as_uri())
        self._run = _read_run_id(note) if resumed else ""
        if self._run and self._continue_run():
            return
        self._run = self._client.create_run(self._find_experiment(), run_name=out.name).info.run_id
        _write_run_id(note, self._run)
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
        parameters = [Param(key, text) for key, text in texts.items()]
        for first in range(0, len(parameters), PARAMETERS):
            self._client.log_batch(self._run, params=parameters[first : first + PARAMETERS])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Writes the values of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    def _continue_run(self) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(self._run, "RUNNING")
        except MlflowException:  # another store than before, or it was deleted there
            return False
        return True

    def _find_experiment(self) -> str:
        if chosen := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return chosen
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "abawkit"
        known = self._client.get_experiment_by_name(name)
        return str(known.experiment_id if known else self._client.create_experiment(name))


class WandB:
    """A run of Weights & Biases; offline, in ``wandb``, unless ``WANDB_MODE`` says otherwise.

    The project is ``WANDB_PROJECT``, or else abawkit. Offline, each part of a resumed run is a folder; they share an
    id, by which ``wandb sync`` joins them.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, resumed: bool) -> None:
        import wandb

        note = out / "wandb" / RUN_ID
        known = _read_run_id(note) if resumed else ""
        self._run = wandb.init(
            id=known or None,
            resume="allow" if known else None,
            mode=cast("Any", os.environ.get("WANDB_MODE") or "offline"),  # the library checks it
            dir=out,
            project=os.environ.get("WANDB_PROJECT") or "abawkit",
            name=os.environ.get("WANDB_NAME") or out.name,
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off"),
        )
        _write_run_id(note, self._run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Writes the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._run.finish(exit_code=int(failed))


WRITERS: Final[dict[str, type[MLflow] | type[WandB]]] = {"mlflow": MLflow, "wandb": WandB}


def _read_run_id(note: Path) -> str:
    return note.read_text().strip() if note.is_file() else ""


def _write_run_id(note: Path, run: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{run}\n")


def main(name: str, lines: Iterable[str]) -> None:
    """Writes the values in the lines, until they end.

    Args:
        name: ``mlflow`` or ``wandb``.
        lines: As in the module's docstring. Without the last one, the run was killed, and counts as failed.
    """
    # A signal to the whole job is for the run, which reports here how it ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    messages = (json.loads(line) for line in lines if line.endswith("\n"))
    start = next(messages)
    writer: Writer = WRITERS[name](Path(start["out"]), start["settings"], resumed=start["resumed"])
    failed = True
    for message in messages:
        if "failed" in message:
            failed = message["failed"]
            break
        writer.log(message["values"], message["step"])
    writer.close(failed=failed)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.stdin)
    except BaseException as error:
        sys.stderr.write(f"\n{type(error).__name__}: {' '.join(str(error).split())}\n")
        sys.stderr.flush()
        os._exit(1)  # what the library does at exit may wait without end
