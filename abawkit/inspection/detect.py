"""What a path is, by its content more than by its name."""

import re
import zipfile
from pathlib import Path
from typing import Final

from abawkit.curation.curated_set import CURATED_TABLE, CURATION_LEDGER
from abawkit.curation.release import CROPS_FOLDER, TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS
from abawkit.errors import ConfigError, DataError, printable
from abawkit.frames.headers import describe_content
from abawkit.inspection.curated import inspect_curated
from abawkit.inspection.probabilities import inspect_probabilities
from abawkit.inspection.report import Inspection, describe_present, explain_missing_torch
from abawkit.inspection.submissions import inspect_manifest, inspect_submission
from abawkit.models.weight_files import LEGACY
from abawkit.run_names import BEST, CHECKPOINTS, LAST, MANIFEST, METRICS, NETWORK, RECIPE, STATE

KNOWN: Final = "a file of weights, a run, a checkpoint of one, a submission or a curated set"

_OF_RUN: Final = {RECIPE, METRICS, CHECKPOINTS, BEST, LAST}
_OF_CHECKPOINT: Final = {STATE, NETWORK}
_OUTPUTS: Final = "outputs"
_PREDICTIONS: Final = "predictions"
_CHECKPOINT: Final = re.compile(r"\d{4,}-\d{6,}(\.partial)?")
_PARTS: Final = {MANIFEST, STATE, RECIPE, METRICS, CURATION_LEDGER, CURATED_TABLE}
"""Files that say something of the folder that they lie in."""

_HEAD: Final = 512


def inspect(path: Path, *, verify: bool = True) -> Inspection:
    """Says what a path is, what it was made of, and what is damaged or differs from what its own records say.

    Nothing is unpickled that could run code, nothing is written, and nothing but what `path` holds is needed. Files
    that its records name elsewhere are compared where they still are.

    Args:
        path: A file of weights, a run, a checkpoint, a curated set, a submission, or what lies beside one.
        verify: Whether the packed frames of a curated set are read through.

    Raises:
        DataError: If there is nothing, or something else; the message says what it looks like.
        ConfigError: If it takes torch to look at it, and torch can't be used here.
    """
    if path.is_dir():
        return _folder(path, verify)
    if path.is_file():
        return _file(path, verify)
    if path.exists():
        raise DataError(f"{path}: is neither a file nor a folder; {_expected()}")
    raise DataError(f"{path}: no such file or folder; {_expected()}")


def _folder(path: Path, verify: bool) -> Inspection:
    kind = _kind(path)
    if kind == "curated set":
        return inspect_curated(path, verify=verify)
    if kind == "checkpoint":
        _need_torch(path)
        from abawkit.inspection.checkpoints import inspect_checkpoint

        return inspect_checkpoint(path)
    if kind == "run":
        _need_torch(path)
        from abawkit.inspection.runs import inspect_run

        return inspect_run(path)
    names = {entry.name for entry in path.iterdir()}
    if kind == "submission":
        return inspect_submission(_written(path))
    if (
        names
        and not names & {TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS}
        and all(name.endswith(".txt") for name in names)
    ):  # a file a video
        try:
            return inspect_submission(path)
        except DataError as error:
            raise DataError(f"{error}\n{_expected()}") from error
    raise DataError(f"{path}: {_likeness(names)}; {_expected()}")


def _written(folder: Path) -> Path:
    """The official file, or folder, of a submission's folder.

    Raises:
        DataError: If it was not made yet.
    """
    for name in (f"{_PREDICTIONS}.txt", _PREDICTIONS):
        if describe_present(path := folder / _OUTPUTS / name):
            return path
    raise DataError(f"{folder}: is the folder of a submission that was not made yet; `abawkit submit` makes it")


def _kind(folder: Path) -> str:
    """What a folder is by the names in it; the empty string where they say nothing."""
    names = {entry.name for entry in folder.iterdir()}
    if names & {CURATED_TABLE, CURATION_LEDGER}:
        return "curated set"
    of_run = folder.resolve().parent.name == CHECKPOINTS and _CHECKPOINT.fullmatch(folder.name)
    if names & _OF_CHECKPOINT or of_run:
        return "checkpoint"
    if RECIPE in names and not names & (_OF_RUN - {RECIPE}) and names & {"README.md", _OUTPUTS}:
        return "submission"
    return "run" if names & _OF_RUN else ""


def _likeness(names: set[str]) -> str:
    """What a folder of these names seems to be."""
    if not names:
        return "is an empty folder"
    if names & {
        TRAIN_ANNOTATIONS,
        VALIDATION_ANNOTATIONS,
        f"{TRAIN_ANNOTATIONS}.gz",
        f"{VALIDATION_ANNOTATIONS}.gz",
        CROPS_FOLDER,
    }:
        return "looks like a release; `abawkit curate` makes a curated set of it"
    if "frames.u8" in names:
        return "looks like the packed frames of a curated set; give the folder that it lies in"
    if all(_CHECKPOINT.fullmatch(name) for name in names):
        return "looks like the checkpoints of a run; give the run's folder, or one of them"
    listed = ", ".join(printable(name) for name in sorted(names)[:3])
    return f"is a folder of {len(names):,} entries ({listed}{', ...' if len(names) > 3 else ''})"


def _file(path: Path, verify: bool) -> Inspection:
    if path.name in _PARTS and _kind(path.parent):
        return _folder(path.parent, verify)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        _need_torch(path)
        from abawkit.inspection.weights import inspect_published, inspect_weights
        from abawkit.models.starting_weights import is_abawkit_weights

        own = head[8:9] != b"{" or is_abawkit_weights(
            path
        )  # what is damaged from its first bytes on counts as abawkit's
        return inspect_weights(path) if own else inspect_published(path)
    if path.suffix == ".npz":
        return inspect_probabilities(path)
    if path.suffix in (".pth", ".pt", ".ckpt") or head.startswith(LEGACY) or _is_torch_archive(path, head):
        _need_torch(path)
        from abawkit.inspection.weights import inspect_published

        return inspect_published(path)
    if b"\0" in head and path.suffix != ".gz" and not path.with_suffix(".json").exists():
        raise DataError(f"{path}: looks like {describe_content(head)}; {_expected()}")
    try:
        return inspect_manifest(path) if path.suffix == ".json" else inspect_submission(path)
    except DataError as error:
        raise DataError(f"{error}\n{_expected()}") from error


def _is_torch_archive(path: Path, head: bytes) -> bool:
    """Whether a file is what `torch.save` writes: an archive with a pickle."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _need_torch(path: Path) -> None:
    if trouble := explain_missing_torch():
        raise ConfigError(f"{path}: needs torch, which can't be used here ({trouble}); `abawkit doctor` says more")


def _expected() -> str:
    return f"expected {KNOWN}"
