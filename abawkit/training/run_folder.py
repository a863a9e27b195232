"""The folder of a run: created or resumed, locked while it is written; its manifest and its metrics."""

import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from abawkit.choices import TRACKERS, InferencePrecision
from abawkit.curation.curated_set import CuratedSet
from abawkit.errors import ConfigError, DataWarning
from abawkit.models.devices import Precision, describe_precision
from abawkit.run_names import CHECKPOINTS, MANIFEST, RECIPE, STOP, TIMING, WRITTEN
from abawkit.system.files import new_folder, write_json
from abawkit.system.filesystems import describe_weakness
from abawkit.system.locks import LOCK, lock
from abawkit.system.provenance import digest_code, read_git_commit
from abawkit.training.batches import AugmentedFrames
from abawkit.training.checkpoint import has_checkpoints, remove_checkpoints
from abawkit.training.run_files import refuse_run_folder

FORMAT: Final = "abawkit.run.2"
"""Of `MANIFEST`; the first one had no name and counted epochs from 0."""


class RunDrawer(Protocol):
    """Draws into the folder of a run, as `abawkit.reports.run_pictures.RunPictures` does; raises no error."""

    def show_batch(self, frames: AugmentedFrames) -> None:
        """Draws frames of the first batch, before the first step of a new run."""

    def show_results(self) -> None:
        """Draws the metrics so far, after each epoch."""

    def write_report(self) -> None:
        """Draws what a finished run has come to, once its manifest is written."""


def describe_environment(
    device: torch.device,
    operators: dict[str, str],
    training: Precision | None = None,
    evaluation: InferencePrecision = "float32",
) -> dict[str, Any]:
    """Versions and hardware that results depend on.

    Args:
        device: Where it ran.
        operators: Names of the implementations that it ran on, by operator.
        training: What steps computed with, where there were any.
        evaluation: What networks predicted with.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else read_processor_name()
    packages = ("abawkit", "torch", "numpy", "pandas", "pillow", "simplejpeg")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "device": f"{device} ({name})",
        "code": digest_code(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "ops": operators,
        "precision": describe_precision(training, evaluation),
        "git": read_git_commit(Path.cwd()),
    }


def read_processor_name() -> str:
    """What the processor calls itself, or its architecture where it has no name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def write_manifest(
    out: Path,
    curated: CuratedSet,
    environment: dict[str, Any],
    content: dict[str, Any],
    features: list[dict[str, str]] | None = None,
) -> None:
    """Writes ``manifest.json``: data, with the stores of features where there are any, environment, and `content`."""
    data: dict[str, Any] = {"policy": curated.policy, "table_digest": curated.digest}
    data |= {"folder": str(curated.folder.resolve()), **({"features": features} if features else {})}
    write_json(out / MANIFEST, {"format": FORMAT, "data": data, "environment": environment, **content})


@contextmanager
def run_folder(path: Path, *, resume: bool, force: bool) -> Iterator[None]:
    """Makes the folder of a run, or takes it up, and keeps other runs out of it for the length of the block.

    Args:
        path: The folder.
        resume: Whether it may hold a run, which is continued.
        force: Whether it may hold a run, which is replaced.

    Raises:
        ConfigError: If it holds anything else, can't be written to, or another run is writing to it.

    Warns:
        DataWarning: Of what its file system does not promise about locks and renames.
    """
    refuse_run_folder(path, resume=resume and is_run(path), force=force)
    new_folder(path, force=True)
    with lock(path):
        if weakness := describe_weakness(path):
            warnings.warn(f"{path}: {weakness}", DataWarning, stacklevel=3)
        if not (resume or force) and has_checkpoints(path):  # of a run that ended just before the lock was taken
            raise ConfigError(f"{path}: holds a run; --resume continues it, --force replaces it")
        for name in WRITTEN:  # what a killed process had not yet renamed
            for leftover in path.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
        if force and not resume:
            for tracker in TRACKERS:  # else the new run would be logged as more of the old one
                shutil.rmtree(path / tracker, ignore_errors=True)
        yield


def is_run(path: Path) -> bool:
    """Whether a folder holds a run that can be continued: with checkpoints, or killed before there was one."""
    if not path.is_dir():
        return False
    if has_checkpoints(path):
        return True
    names = {RECIPE, LOCK, CHECKPOINTS, STOP, TIMING, *TRACKERS}  # times are written while the first checkpoint is
    return all(entry.name in names or entry.name.startswith(".") for entry in path.iterdir())


def clear_run(path: Path) -> None:
    """Removes what an earlier run left in a folder."""
    remove_checkpoints(path)
    for name in WRITTEN:
        (path / name).unlink(missing_ok=True)
