"""The store of features on disk: one vector of numbers for each row of a table, in the order of the table.

A folder with ``features.npy`` (rows x dimension), ``mirrored.npy`` where the mirrored frames' features were requested,
``names.txt`` (the image name of each row, one a line) and ``manifest.json``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from abawkit.errors import DataError, format_count, list_first, printable
from abawkit.frame_columns import count_occurrences
from abawkit.system.files import sha256, sha256_of
from abawkit.system.json_records import read_json
from abawkit.system.staging import StageFile, find_copy
from abawkit.tables import Array

StoredType = Literal["float16", "float32"]
"""The types of numbers in which features are stored."""

STORED_TYPES: Final[tuple[StoredType, ...]] = get_args(StoredType)

FEATURES_FILE: Final = "features.npy"
MIRRORED_FILE: Final = "mirrored.npy"
NAMES_FILE: Final = "names.txt"
STORE_MANIFEST: Final = "manifest.json"
STORE_FORMAT: Final = "abawkit features 1"

_AGAIN: Final = "make the features again with `abawkit features`"
_SHOWN_ABSENT: Final = 10

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Positive = Annotated[int, Field(ge=1, lt=2**53)]


class StoreManifest(BaseModel):
    """What a store holds, and what it was made of.

    Attributes:
        format: The version of this form.
        complete: Whether every row is there; only then are there digests of the arrays.
        rows: Number of rows.
        dimension: Numbers of each row.
        dtype: Their type.
        names_sha256: SHA-256 over the image names, one a line, as of the table that they are from.
        features_sha256: SHA-256 of ``features.npy``.
        mirrored: Whether there is ``mirrored.npy``.
        mirrored_sha256: Its SHA-256.
        source: What computed the features, with its digest.
        frames: The table or list whose frames they are.
        preprocessing: What was done to each frame before.
        versions: Of abawkit and of the libraries that computed them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal["abawkit features 1"] = STORE_FORMAT
    complete: bool
    rows: _Positive
    dimension: _Positive
    dtype: StoredType
    names_sha256: _Sha256
    features_sha256: _Sha256 | None = None
    mirrored: bool = False
    mirrored_sha256: _Sha256 | None = None
    source: dict[str, Any]
    frames: dict[str, Any]
    preprocessing: dict[str, Any]
    versions: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.features_sha256 is not None) != self.complete:
            raise ValueError("features_sha256: a complete store has one, and no other has")
        if (self.mirrored_sha256 is not None) != (self.complete and self.mirrored):
            raise ValueError("mirrored_sha256: a complete store with mirrored features has one, and no other has")
        return self


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """A store, opened. Its arrays are mapped: only the rows that are used are read from the disk.

    Attributes:
        folder: Where it is.
        manifest: What it holds, and what it was made of.
        images: The image name of each row, Arrow strings, in the order of the table; a name may be repeated.
        values: The features, (rows, dimension), float16 or float32, read-only.
        mirrored: Those of the mirrored frames, likewise; None where there are none.
    """

    folder: Path
    manifest: StoreManifest
    images: pa.StringArray
    values: Array
    mirrored: Array | None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens a store; checks its manifest, its names and the form of its arrays, but not their numbers.

        Raises:
            DataError: If it is absent, was not finished, or a part of it is absent, damaged or of another store.
        """
        if not (folder / STORE_MANIFEST).is_file():
            raise DataError(f"{folder}: holds no features ({STORE_MANIFEST} is absent); {_AGAIN}")
        manifest = read_json(folder / STORE_MANIFEST, StoreManifest, "the manifest of a store of features", _AGAIN)
        if not manifest.complete:
            raise DataError(f"{folder}: these features are not complete; {_AGAIN}")
        content = _read_name_bytes(folder / NAMES_FILE)
        if (found := sha256(content)) != manifest.names_sha256:
            raise DataError(
                f"{folder / NAMES_FILE}: is damaged, or of another store: the names' SHA-256 is {found}, "
                f"{STORE_MANIFEST} says {manifest.names_sha256}; {_AGAIN}"
            )
        images: pa.StringArray = pc.list_flatten(pc.split_pattern(pa.array([content], pa.string()), "\n"))
        if len(images) != manifest.rows:
            count = format_count(len(images), "name")
            raise DataError(f"{folder / NAMES_FILE}: has {count}, {STORE_MANIFEST} says {manifest.rows:,}; {_AGAIN}")
        values = _map_array(find_copy(folder / FEATURES_FILE), manifest)
        mirrored = _map_array(find_copy(folder / MIRRORED_FILE), manifest) if manifest.mirrored else None
        return cls(folder, manifest, images, values, mirrored)

    @cached_property
    def names(self) -> Sequence[str]:
        """The image name of each row."""
        names: list[str] = self.images.to_pylist()
        return names

    @property
    def dimension(self) -> int:
        """Numbers of each row."""
        return self.manifest.dimension

    @property
    def digest(self) -> str:
        """SHA-256 that identifies names and numbers: equal for two stores of the same rows and features."""
        m = self.manifest
        return sha256(json.dumps([m.dtype, m.names_sha256, m.features_sha256, m.mirrored_sha256]).encode())

    def verify(self) -> None:
        """Reads the whole store and compares its digests.

        Raises:
            DataError: If an array is not the one that was written.
        """
        for path, digest in self.list_arrays():
            if (found := sha256_of(find_copy(path))) != digest:
                raise DataError(f"{path}: is damaged, its SHA-256 is {found}, expected {digest}; {_AGAIN}")

    def list_arrays(self) -> list[StageFile]:
        """The files of the arrays, with their digests."""
        named = {FEATURES_FILE: self.manifest.features_sha256, MIRRORED_FILE: self.manifest.mirrored_sha256}
        return [StageFile(self.folder / name, digest) for name, digest in named.items() if digest is not None]

    def select(self, names: Sequence[str]) -> Array:
        """Finds the rows of a table: the k-th row of a name there is the k-th row of that name here.

        Args:
            names: Image names, n of them, in any order, which may be repeated.

        Returns:
            Row numbers, int64, shape (n,).

        Raises:
            DataError: If a name is not here, or not as often as there.
        """
        requested = names if isinstance(names, pa.StringArray) else pa.array(names, pa.string())
        rows = match_names(requested, self.images)
        if absent := np.flatnonzero(rows < 0).tolist():
            shown = list_first([printable(requested[row].as_py()) for row in absent], _SHOWN_ABSENT)
            known = pc.is_in(requested.take(pa.array(absent)), value_set=self.images)
            repeats = f" ({pc.sum(known).as_py():,} of them are here, but less often)" if pc.any(known).as_py() else ""
            count = f"{len(absent):,} of {format_count(len(requested), 'row')}"
            raise DataError(
                f"{self.folder}: has no features for {count}{repeats}: {', '.join(shown)}; "
                "extract features for this table or list with `abawkit features`"
            )
        return rows


def match_names(requested: pa.StringArray, known: pa.StringArray) -> Array:
    """For each requested row the known row of the same name and occurrence, int64, shape (n,); -1 where there is none.

    Args:
        requested: Image names, n of them.
        known: The image names to search.
    """
    unique = known.unique()
    occurrences = count_occurrences(known)
    most = int(occurrences.max(initial=0)) + 1
    keys = pc.index_in(known, value_set=unique).to_numpy(zero_copy_only=False).astype(np.int64) * most + occurrences
    rows = np.full(len(unique) * most, -1, np.int64)
    rows[keys] = np.arange(len(known))
    codes = pc.fill_null(pc.index_in(requested, value_set=unique), -1).to_numpy().astype(np.int64)
    wanted = count_occurrences(requested)
    found = np.full(len(requested), -1, np.int64)
    possible = (codes >= 0) & (wanted < most)
    found[possible] = rows[codes[possible] * most + wanted[possible]]
    return found


def digest_names(names: Sequence[str]) -> str:
    """SHA-256 over image names, one a line, as `abawkit.tables` has it of a table."""
    return sha256("\n".join(names).encode())


def read_names(path: Path) -> list[str]:
    """Image names, one a line; a byte-order mark and the line ends of Windows are no part of them.

    Raises:
        DataError: If the file can't be read, is not UTF-8 or holds no name.
    """
    return [name.removesuffix("\r") for name in _read_name_bytes(path).decode("utf-8-sig").split("\n")]


def _read_name_bytes(path: Path) -> bytes:
    """Image names as UTF-8 text, without the line end behind the last one; see `read_names`."""
    try:
        content = path.read_bytes().removesuffix(b"\n")
        content.decode()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); expected image names, one a line") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason}); expected image names, one a line") from error
    if not content:
        raise DataError(f"{path}: is empty; expected image names, one a line")
    return content


def _map_array(path: Path, manifest: StoreManifest) -> Array:
    try:
        values: Array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise DataError(f"{path}: can't be opened ({error.strerror or error}); {_AGAIN}") from error
    except ValueError as error:
        raise DataError(f"{path}: is damaged ({printable(str(error).splitlines()[0][:200])}); {_AGAIN}") from error
    shape = (manifest.rows, manifest.dimension)
    if values.shape != shape or values.dtype != np.dtype(manifest.dtype):
        raise DataError(
            f"{path}: is {values.dtype} {values.shape}, {STORE_MANIFEST} says {manifest.dtype} {shape}; {_AGAIN}"
        )
    return values
