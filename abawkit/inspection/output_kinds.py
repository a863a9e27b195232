"""Kinds of outputs, told apart quickly, so that ``--force`` replaces only an output of the same kind.

Nothing is checked for damage.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from abawkit.curation import release as sources
from abawkit.curation.curated_set import (
    CURATED_TABLE,
    CURATION_LEDGER,
    DROPPED_LABELS,
    DROPPED_ROWS,
    FRAMES_FOLDER,
)
from abawkit.curation.label_drops import REVIEW_COLUMNS
from abawkit.errors import ConfigError, printable
from abawkit.features.store import FEATURES_FILE, MIRRORED_FILE, NAMES_FILE, STORE_FORMAT, STORE_MANIFEST
from abawkit.formats.base import get_format, list_format_names
from abawkit.frames.packed import is_packed_file
from abawkit.labels import TASKS
from abawkit.probabilities.files import COLUMNS, NOTE_ARRAYS
from abawkit.run_names import SYNTHETIC_MANIFEST
from abawkit.system.files import Kind, list_entries, sha256_of

_NO_TABLE: Final = "is no table of probabilities"

_ONNX_HEAD: Final = re.compile(rb"\x08.\x12\x07abawkit\x1a", re.DOTALL)
"""How an ONNX file begins that abawkit wrote: the version of its form, then the producer. Source: onnx.proto."""

_MOST: Final = 1 << 24
"""Bytes that are read of a file, at most."""


def _first_lines(path: Path) -> list[str]:
    """The first two lines; none of a file that is not text."""
    try:
        with path.open("rb") as file:
            lines = [file.readline(4096).decode("utf-8-sig").strip() for _ in range(2)]
    except (OSError, UnicodeDecodeError):
        return []
    return lines


def _list_headers() -> set[str]:
    """The headers of all installed formats."""
    found = set()
    for name in list_format_names():
        try:
            found.add(str(getattr(get_format(name), "header", "")))
        except ConfigError:
            continue  # a format of another package that can't be loaded
    return found - {""}


def _read_json_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; empty if it contains anything else."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _difference_from_submission(path: Path) -> str:
    if _is_of_manifest(path):
        return ""
    if path.is_dir():
        headers = _list_headers()
        odd = [entry for entry in list_entries(path) if not entry.is_file() or _read_header(entry) not in headers]
        return f"holds '{printable(odd[0].name)}'" if odd else ""
    rows = _first_lines(path)[1:]
    if _read_header(path) not in _list_headers():
        return "does not begin with the header of a submission"
    return "" if any(row.partition(",")[2].strip(", ") for row in rows) else "is a list of frames"


def _is_of_manifest(path: Path) -> bool:
    """Whether a manifest of a prediction lies beside it that is about no other file beside it."""
    digest = _read_json_object(path.with_suffix(".json")).get("submission_sha256")
    others = [entry for entry in list_entries(path.parent) if entry.stem == path.stem and entry.name != path.name]
    files = [entry for entry in others if entry.is_file() and entry.suffix not in (".json", ".npz")]
    return digest is not None and digest not in [sha256_of(entry) for entry in files]


def _read_header(path: Path) -> str:
    """The first line, without blanks behind its commas, as headers are written too."""
    return next(iter(_first_lines(path)), "").replace(", ", ",")


def _difference_from_probabilities(path: Path) -> str:
    if path.suffix == ".csv":
        return "" if _are_of_probabilities("image", _read_header(path).split(","), COLUMNS.values()) else _NO_TABLE
    if path.suffix == ".parquet":
        try:
            names = parquet.read_schema(path).names
        except (OSError, pa.ArrowException):
            return _NO_TABLE
        return "" if _are_of_probabilities("image", names, COLUMNS.values()) else _NO_TABLE
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return "is no .npz"
    return (
        ""
        if _are_of_probabilities("images", names, [(task,) for task in TASKS], NOTE_ARRAYS)
        else "holds no probabilities"
    )


def _are_of_probabilities(
    images: str, names: Sequence[str], tasks: Iterable[Sequence[str]], notes: Sequence[str] = ()
) -> bool:
    """Whether a file has these names: that of the images, all of a task or more, and no others but notes."""
    there = [part for part in tasks if set(part) <= set(names)]
    return (
        images in names and bool(there) and set(names) <= {images, *notes, *(name for part in there for name in part)}
    )


def _difference_from_weights(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < _MOST else {}
    except (OSError, ValueError, RecursionError):
        header = {}
    notes = header.get("__metadata__") if isinstance(header, dict) else None
    return "" if isinstance(notes, dict) and "abawkit" in notes else "is no file of weights that abawkit wrote"


def _difference_from_exported_network(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                own = any(name.endswith("/extra/abawkit.json") for name in archive.namelist())
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
            own = False
    else:
        own = _ONNX_HEAD.match(head) is not None
    return "" if own else "is no network that abawkit exported"


def _difference_from_curated_set(folder: Path) -> str:
    own = {CURATED_TABLE, CURATION_LEDGER, DROPPED_ROWS, DROPPED_LABELS, FRAMES_FOLDER}
    if odd := _find_unknown_entry(folder, own):
        return odd
    packed = {entry.name for entry in list_entries(folder / FRAMES_FOLDER) if is_packed_file(entry.name)}
    if odd := _find_unknown_entry(folder / FRAMES_FOLDER, packed):
        return odd
    return (
        ""
        if {"abawkit", "policy"} <= set(_read_json_object(folder / CURATION_LEDGER))
        else f"holds no {CURATION_LEDGER} of a curated set"
    )


def _difference_from_features(folder: Path) -> str:
    if odd := _find_unknown_entry(folder, {FEATURES_FILE, MIRRORED_FILE, NAMES_FILE, STORE_MANIFEST}):
        return odd
    known = _read_json_object(folder / STORE_MANIFEST).get("format") == STORE_FORMAT
    return "" if known else f"holds no {STORE_MANIFEST} of stored features"


def _difference_from_explanation(path: Path) -> str:
    """A picture names the program in its notes, which are at its start."""
    with path.open("rb") as file:
        start = file.read(256)
    return "" if start.startswith(b"\x89PNG") and b"abawkit explain" in start else "is no such picture"


def _difference_from_release(folder: Path) -> str:
    """A licensed release has the same names, but no truth of its test set."""
    names = {
        sources.TRAIN_ANNOTATIONS,
        sources.VALIDATION_ANNOTATIONS,
        SYNTHETIC_MANIFEST,
        sources.CROPS_FOLDER,
        "test_data",
        "test_set_examples",
        "held_out",
    }
    truth = Path("held_out", "test_set_annotations.txt")
    return _find_unknown_entry(folder, names) or ("" if (folder / truth).is_file() else f"holds no {truth}")


def _difference_from_demo(folder: Path) -> str:
    predictions = {f"{name}{end}" for name in ("seed1", "seed2", "predictions") for end in (".txt", ".npz", ".json")}
    begun = {"demo.json", "stamps", "report.html"}
    if odd := _find_unknown_entry(folder, {"release", "curated", "runs", "constant.txt", *begun, *predictions}):
        return odd
    if (folder / "demo.json").is_file() and not (folder / "release").exists():
        return ""  # it was stopped before the first step had ended
    if not (folder / "release").exists():
        return "holds no release"
    return _difference_from_release(folder / "release")


def _find_unknown_entry(folder: Path, known: set[str]) -> str:
    """The first entry of a folder that is not known, for messages; empty if there is none."""
    odd = [entry.name for entry in list_entries(folder) if entry.name not in known]
    return f"holds '{printable(odd[0])}'" if odd else ""


def _require_keys(*keys: str) -> Callable[[Path], str]:
    return lambda path: "" if set(keys) <= set(_read_json_object(path)) else f"has no {' and no '.join(keys)}"


def _difference_from_review(path: Path) -> str:
    return "" if _read_header(path) == ",".join(REVIEW_COLUMNS) else "is no list of labels of abawkit review"


REVIEW: Final = Kind("a list of doubtful labels", _difference_from_review)
SUBMISSION: Final = Kind("a submission", _difference_from_submission)
PROBABILITIES: Final = Kind("a file of stored probabilities", _difference_from_probabilities)
PREDICTION_MANIFEST: Final = Kind("the manifest of a prediction", _require_keys("submission_sha256"))
RULE: Final = Kind("a rule", _require_keys("rule"))
WEIGHTS: Final = Kind("a file of weights", _difference_from_weights)
EXPLANATION: Final = Kind("a picture of abawkit explain", _difference_from_explanation)
EXPORTED_NETWORK: Final = Kind("an exported network", _difference_from_exported_network)
FEATURES: Final = Kind("a store of features", _difference_from_features)
CURATED_SET: Final = Kind("a curated set", _difference_from_curated_set)
RELEASE: Final = Kind("a synthetic release", _difference_from_release)
DEMO: Final = Kind("the folder of a demo", _difference_from_demo)
