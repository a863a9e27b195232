"""Detects what a path is, by its content rather than its name, and inspects it."""

import re
import zipfile
from pathlib import Path
from typing import Final

from abawkit.curation.curated_set import CURATED_TABLE, CURATION_LEDGER
from abawkit.curation.release import CROPS_FOLDER, TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS
from abawkit.errors import ConfigError, DataError, printable
from abawkit.features.store import FEATURES_FILE, MIRRORED_FILE
from abawkit.frames.headers import describe_content
from abawkit.frames.packed import INDEX_FILE, PIXELS_FILE
from abawkit.inspection.curated import inspect_curated
from abawkit.inspection.exported import inspect_onnx, inspect_program, is_program
from abawkit.inspection.features import inspect_features
from abawkit.inspection.label_lists import inspect_label_list, is_label_list
from abawkit.inspection.probabilities import inspect_probabilities
from abawkit.inspection.report import Inspection, explain_missing_torch, is_present
from abawkit.inspection.rules import inspect_rule, is_rule
from abawkit.inspection.submissions import inspect_manifest, inspect_submission
from abawkit.models.weight_files import LEGACY
from abawkit.run_names import (
    BEST,
    CHECKPOINTS,
    FOLDS_RECORD,
    LAST,
    MANIFEST,
    METRICS,
    NETWORK,
    OUT_OF_FOLD_NAME,
    RECIPE,
    STATE,
    SYNTHETIC_MANIFEST,
)
from abawkit.system.json_records import read_object

KNOWN: Final = (
    "a file of weights, an exported network, a run, a checkpoint of one, a submission, a curated set, stored features, "
    "a rule or a list of doubtful labels"
)

_OF_RUN: Final = {RECIPE, METRICS, CHECKPOINTS, BEST, LAST}
_OF_CHECKPOINT: Final = {STATE, NETWORK}
_OUTPUTS: Final = "outputs"
_PREDICTIONS: Final = "predictions"
_CHECKPOINT: Final = re.compile(r"\d{4,}-\d{6,}(\.partial)?")
_MEMBER_FILES: Final = {
    *(MANIFEST, STATE, RECIPE, METRICS, CURATION_LEDGER, CURATED_TABLE, FEATURES_FILE, MIRRORED_FILE),
    *(FOLDS_RECORD, f"{OUT_OF_FOLD_NAME}.json"),
}
"""Files that are inspected with the folder that they are in."""

_HEAD: Final = 512


def inspect(path: Path, *, verify: bool = True) -> Inspection:
    """Detects what a path is, lists its inputs, and finds damage and differences to its own records.

    Nothing is unpickled that could run code, nothing is written, and only the content of `path` is needed. Files
    elsewhere that its records name are compared if they exist.

    Args:
        path: Weights, an exported network, a run, a folder of folds, a checkpoint, a curated set, stored features, a
            rule, a list of doubtful labels, a submission, or a file beside one.
        verify: Whether all packed frames of a curated set, or all stored features, are read.

    Raises:
        DataError: If it is absent or anything else; the message describes what it seems to be.
        ConfigError: If it needs torch, and torch can't be used here.
    """
    if path.is_dir():
        return _inspect_folder(path, verify)
    if path.is_file():
        return _inspect_file(path, verify)
    if path.exists():
        raise DataError(f"{path}: is neither a file nor a folder; expected {KNOWN}")
    raise DataError(f"{path}: no such file or folder; expected {KNOWN}")


def _inspect_folder(path: Path, verify: bool) -> Inspection:
    kind = _detect_folder_kind(path)
    if kind == "folds":
        _need_torch(path)
        from abawkit.inspection.folds import inspect_folds

        return inspect_folds(path)
    if kind == "curated set":
        return inspect_curated(path, verify=verify)
    if kind == "features":
        return inspect_features(path, verify=verify)
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
        return inspect_submission(_find_official(path))
    if (
        names
        and not names & {TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS}
        and all(name.endswith(".txt") for name in names)
    ):  # a file a video
        try:
            return inspect_submission(path)
        except DataError as error:
            raise DataError(f"{error}\nexpected {KNOWN}") from error
    raise DataError(f"{path}: {_describe_folder(path, names)}; expected {KNOWN}")


def _find_official(folder: Path) -> Path:
    """The official file, or folder, of a submission's folder.

    Raises:
        DataError: If it was not made yet.
    """
    for name in (f"{_PREDICTIONS}.txt", _PREDICTIONS):
        if is_present(path := folder / _OUTPUTS / name):
            return path
    raise DataError(f"{folder}: is the folder of a submission that was not made yet; `abawkit submit` makes it")


def _detect_folder_kind(folder: Path) -> str:
    """The kind of a folder by the names in it; empty if unknown."""
    names = {entry.name for entry in folder.iterdir()}
    if names & {CURATED_TABLE, CURATION_LEDGER}:
        return "curated set"
    if FOLDS_RECORD in names:
        return "folds"
    if FEATURES_FILE in names:
        return "features"
    of_run = folder.resolve().parent.name == CHECKPOINTS and _CHECKPOINT.fullmatch(folder.name)
    if names & _OF_CHECKPOINT or of_run:
        return "checkpoint"
    if RECIPE in names and not names & (_OF_RUN - {RECIPE}) and names & {"README.md", _OUTPUTS}:
        return "submission"
    return "run" if names & _OF_RUN else ""


def _describe_folder(path: Path, names: set[str]) -> str:
    """Describes a folder of no known kind by the names in it."""
    if not names:
        return "is an empty folder"
    if names & {
        TRAIN_ANNOTATIONS,
        VALIDATION_ANNOTATIONS,
        f"{TRAIN_ANNOTATIONS}.gz",
        f"{VALIDATION_ANNOTATIONS}.gz",
        CROPS_FOLDER,
    }:
        made = _describe_synthetic(path / SYNTHETIC_MANIFEST) if SYNTHETIC_MANIFEST in names else ""
        return f"looks like a release{made}; `abawkit curate` makes a curated set of it"
    if names & {PIXELS_FILE, INDEX_FILE}:
        return "looks like the packed frames of a curated set; give the folder that it lies in"
    if all(_CHECKPOINT.fullmatch(name) for name in names):
        return "looks like the checkpoints of a run; give the run's folder, or one of them"
    listed = ", ".join(printable(name) for name in sorted(names)[:3])
    return f"is a folder of {len(names):,} entries ({listed}{', ...' if len(names) > 3 else ''})"


def _describe_synthetic(manifest: Path) -> str:
    record = read_object(manifest, "the manifest of a synthetic release")
    made = ", ".join(f"{key} {printable(str(record.get(key)))}" for key in ("version", "size", "seed", "difficulty"))
    return f" (synthetic: {made})"


def _inspect_file(path: Path, verify: bool) -> Inspection:
    if path.name in _MEMBER_FILES and _detect_folder_kind(path.parent):
        return _inspect_folder(path.parent, verify)
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
    if path.suffix == ".onnx":
        return inspect_onnx(path)
    if is_program(path, head):
        return inspect_program(path)
    if path.suffix in (".pth", ".pt", ".ckpt") or head.startswith(LEGACY) or _is_torch_archive(path, head):
        _need_torch(path)
        from abawkit.inspection.weights import inspect_published

        return inspect_published(path)
    if b"\0" in head and path.suffix != ".gz" and not path.with_suffix(".json").exists():
        raise DataError(f"{path}: looks like {describe_content(head)}; expected {KNOWN}")
    if is_label_list(head):
        return inspect_label_list(path)
    try:
        if path.suffix != ".json":
            return inspect_submission(path)
        return inspect_rule(path) if is_rule(path) else inspect_manifest(path)
    except DataError as error:
        raise DataError(f"{error}\nexpected {KNOWN}") from error


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
