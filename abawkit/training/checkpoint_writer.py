"""Writes checkpoints in a thread while training goes on: a copy of the run's state is taken, and only that blocks."""

import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from torch import Tensor

from abawkit.errors import DataWarning
from abawkit.models.sequence_config import AnyConfig
from abawkit.models.weights import save_weights
from abawkit.run_names import BEST
from abawkit.system.files import sha256_of, write_bytes
from abawkit.training.checkpoint import Checkpoint, Position, write_checkpoint
from abawkit.training.learner import BaseLearner
from abawkit.training.progress import Progress, capture_generators


class Snapshot(NamedTuple):
    """What a checkpoint holds, in memory of its own: the run may go on while it is written.

    Attributes:
        position: Where the run was.
        state: Of ``state.pt``; see `write_checkpoint`.
        config: Of the network.
        weights: State dicts on the CPU, by the names of their files.
        notes: Of the files of weights.
        best: Whether there are best weights in the run's folder, which are copied when it is written.
    """

    position: Position
    state: Mapping[str, Any]
    config: AnyConfig
    weights: Mapping[str, Mapping[str, Tensor]]
    notes: Mapping[str, str]
    best: bool

    @classmethod
    def take(cls, learner: BaseLearner[Any], progress: Progress, notes: Mapping[str, Any]) -> Self:
        """Copies the state of a run; waits for the device.

        Args:
            learner: Of the run.
            progress: Of the run.
            notes: Further entries of the state, which never change.
        """
        state = {
            **notes,
            "progress": progress.as_dict(),
            **learner.state(),
            "generators": capture_generators(),
        }
        trained = {"tasks": ",".join(progress.trained)}
        best = progress.best_epoch > 0
        return cls(progress.position, state, learner.network.config, learner.copy_weights(), trained, best)

    def write(self, run: Path, *, keep: int) -> None:
        """Writes it as a checkpoint; see `write_checkpoint`.

        Raises:
            DataError: If the disk is full or failing, or weights are not finite.
        """

        def write_weights(folder: Path) -> None:
            for name, state in self.weights.items():
                save_weights(folder / name, self.config, state, self.notes)
            if self.best:  # a copy: a second name of the same file would share its fate
                write_bytes(folder / BEST, (run / BEST).read_bytes())

        write_checkpoint(run, self.position, self.state, write_weights, keep=keep)


def restore_best(run: Path, checkpoint: Checkpoint) -> None:
    """Sets the best weights of a run back to those of a checkpoint, or removes them where it has none."""
    best = run / BEST
    if BEST not in checkpoint.digests:
        best.unlink(missing_ok=True)
    elif not best.is_file() or sha256_of(best) != checkpoint.digests[BEST]:
        write_bytes(best, (checkpoint.folder / BEST).read_bytes())


class CheckpointWriter:
    """Writes one checkpoint at a time in a thread of its own.

    A context: at the end of the block nothing is being written any more.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], object]) -> None:
        """Begins to write; returns at once, or when what was begun before is written.

        Args:
            write: Writes a checkpoint.

        Raises:
            BaseException: That of the write before; nothing is begun then.
        """
        self.wait()

        def work() -> None:
            try:
                write()
            except BaseException as error:  # raised in the thread that trains
                self._error = error

        self._thread = threading.Thread(target=work, name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Raises the error of a write that has failed, once; does not wait for one."""
        if self._thread and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Waits until what was begun is written.

        Raises:
            BaseException: That of the write, once.
        """
        if self._thread:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Waits; beside an error of the block, that of the write is a warning."""
        try:
            self.wait()
        except Exception as failed:
            if error is None:
                raise
            warnings.warn(f"{failed}", DataWarning, stacklevel=2)
