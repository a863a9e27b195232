"""Writes a store of features in chunks; they survive a kill, and the folder appears when it is complete."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.errors import DataError, printable
from abawkit.features.store import (
    FEATURES_FILE,
    MIRRORED_FILE,
    NAMES_FILE,
    STORE_MANIFEST,
    FeatureStore,
    StoredType,
    StoreManifest,
    digest_names,
)
from abawkit.system.files import find_workspace, replacing_folder, sha256_of, write_bytes, write_json
from abawkit.system.json_records import read_object
from abawkit.tables import Array

_PROGRESS: Final = "progress.json"
_UNFINISHED: Final = ".unfinished"
"""End of the name of the folder beside the output that holds the rows that are written already."""


class StoreWriter:
    """Writes a store row by row, in the order of its names.

    Until `finish`, the rows are in a folder beside the output, whose name begins with ``.`` and ends with
    ``.unfinished``. A writer of the same arguments continues there, behind the last chunk that was written whole; one
    of other arguments starts anew. The lock of the output (`abawkit.claims.claim`) must be held.

    Attributes:
        folder: The store to write.
        manifest: What it will hold; not complete.
        written: Rows that are written.
        resumed: How many of them were there before.
        discarded: In what an unfinished store differed that was there and was not continued: keys of the manifest.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        dimension: int,
        dtype: StoredType = "float16",
        *,
        mirrored: bool = False,
        source: Mapping[str, Any],
        frames: Mapping[str, Any],
        preprocessing: Mapping[str, Any],
        versions: Mapping[str, Any],
    ) -> None:
        """Opens the unfinished store of these arguments, or begins one.

        Args:
            folder: The store to write.
            names: The image name of each row, at least one.
            dimension: Numbers of each row.
            dtype: Type in which they are stored.
            mirrored: Whether the mirrored frames' features are stored too.
            source: What computes the features, for the manifest, as are the following: JSON values.
            frames: The table or list whose frames they are.
            preprocessing: What is done to each frame before.
            versions: Of abawkit and of libraries.

        Raises:
            DataError: If the disk is too small, full or failing.
        """
        self.folder = folder
        self.manifest = StoreManifest(
            complete=False,
            rows=len(names),
            dimension=dimension,
            dtype=dtype,
            names_sha256=digest_names(names),
            mirrored=mirrored,
            source=dict(source),
            frames=dict(frames),
            preprocessing=dict(preprocessing),
            versions=dict(versions),
        )
        base, prefix = find_workspace(folder)
        self._unfinished = base / f"{prefix}{_UNFINISHED}"
        self._files = [FEATURES_FILE, *([MIRRORED_FILE] if mirrored else [])]
        self.discarded: list[str] = []
        self.written = self._find_written()
        self.resumed = self.written
        if not self.written:
            self._begin(names)

    @property
    def remaining(self) -> int:
        """Rows that are not written yet."""
        return self.manifest.rows - self.written

    def append(self, values: Array, mirrored: Array | None = None) -> None:
        """Writes the next rows; when it returns, they survive a kill and a failure of power.

        Args:
            values: The features, (n, dimension), any floating-point type.
            mirrored: Those of the mirrored frames, likewise.

        Raises:
            DataError: If a number is not finite or too large for the type, or the disk is full or failing.
        """
        rows = len(values)
        blocks = [values, *([mirrored] if mirrored is not None else [])]
        if len(blocks) != len(self._files) or any(b.shape != (rows, self.manifest.dimension) for b in blocks):
            expected = f"{len(self._files)} x ({rows}, {self.manifest.dimension})"
            raise ValueError(f"got arrays {[block.shape for block in blocks]}, expected {expected}")
        if rows > self.remaining:
            raise ValueError(f"got {rows} rows, {self.remaining} remain")
        converted = [self._convert(block) for block in blocks]
        try:
            for name, block in zip(self._files, converted, strict=True):
                with (self._unfinished / name).open("r+b") as file:
                    file.seek(self._offset(self.written))
                    file.write(block.data)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise self._make_error(error) from error
        self.written += rows
        write_json(self._unfinished / _PROGRESS, {"rows": self.written})

    def finish(self, *, force: bool = False) -> FeatureStore:
        """Completes the store, puts it in its place, and opens it.

        Args:
            force: Whether a store that is there is replaced.

        Raises:
            ConfigError: If something came there meanwhile and `force` is false.
            DataError: If the disk is full or failing.
        """
        if self.remaining:
            raise ValueError(f"{self.remaining} rows are not written yet")
        digests = {name: sha256_of(self._unfinished / name) for name in self._files}
        complete = self.manifest.model_copy(
            update={
                "complete": True,
                "features_sha256": digests[FEATURES_FILE],
                "mirrored_sha256": digests.get(MIRRORED_FILE),
            }
        )
        with replacing_folder(self.folder, force=force) as new:
            for name in (*self._files, NAMES_FILE):
                _link(self._unfinished / name, new / name)
            write_json(new / STORE_MANIFEST, complete.model_dump(mode="json"))
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return FeatureStore.open(self.folder)

    def discard(self) -> None:
        """Removes what was written of the unfinished store: nobody will continue it."""
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _find_written(self) -> int:
        """Rows of an unfinished store that this one continues; 0 where there is none."""
        try:
            known = read_object(self._unfinished / STORE_MANIFEST, "the manifest of an unfinished store of features")
            rows = read_object(self._unfinished / _PROGRESS, "the progress of a store of features").get("rows")
            sizes = [(self._unfinished / name).stat().st_size for name in (*self._files, NAMES_FILE)]
        except (DataError, OSError):
            return 0
        self.discarded = _find_differences(known, json.loads(self.manifest.model_dump_json()))
        if self.discarded or type(rows) is not int:
            return 0
        whole = 0 < rows <= self.manifest.rows and all(size >= self._offset(rows) for size in sizes[:-1])
        return rows if whole else 0

    def _begin(self, names: Sequence[str]) -> None:
        try:
            self._unfinished.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir()
            self._check_space()
            write_bytes(self._unfinished / NAMES_FILE, ("\n".join(names) + "\n").encode())
            for name in self._files:
                write_bytes(self._unfinished / name, self._header)
            write_json(self._unfinished / STORE_MANIFEST, self.manifest.model_dump(mode="json"))
        except OSError as error:
            raise self._make_error(error) from error

    def _check_space(self) -> None:
        free, needed = shutil.disk_usage(self._unfinished).free, self._offset(self.manifest.rows) * len(self._files)
        if free < needed:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise DataError(
                f"{printable(str(self.folder))}: {free / 1e9:.1f} GB free, and {self.manifest.rows:,} rows of "
                f"{self.manifest.dimension:,} numbers take {needed / 1e9:.1f} GB; free the disk or give a folder on "
                "another"
            )

    def _convert(self, values: Array) -> Array:
        with np.errstate(over="ignore"):
            block: Array = np.ascontiguousarray(values, dtype=self.manifest.dtype)
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            got = float(values[row, column])
            advice = "store float32" if np.isfinite(got) else "the source must return finite numbers"
            raise DataError(
                f"{printable(str(self.folder))}: row {self.written + row + 1:,}, number {column + 1:,} is {got:.6g}, "
                f"expected a finite {self.manifest.dtype}; {advice}"
            )
        return block

    @cached_property
    def _header(self) -> bytes:
        """The first bytes of an ``.npy`` file of the whole array."""
        file = BytesIO()
        shape = (self.manifest.rows, self.manifest.dimension)
        descr = np.lib.format.dtype_to_descr(np.dtype(self.manifest.dtype))
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        return file.getvalue()

    def _offset(self, row: int) -> int:
        """Where a row begins in a file, bytes."""
        return len(self._header) + row * self.manifest.dimension * np.dtype(self.manifest.dtype).itemsize

    def _make_error(self, error: OSError) -> DataError:
        return DataError(
            f"{printable(str(self.folder))}: can't write the features ({error.strerror}); free or check the disk, and "
            "give the same command again: what was written is kept"
        )


def _find_differences(known: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The keys in which two manifests differ, with dots between those of nested objects."""
    found = []
    for key in sorted(known.keys() | own.keys()):
        a, b = known.get(key), own.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += [f"{key}.{name}" for name in _find_differences(a, b)]
        elif a != b:
            found.append(key)
    return found


def _link(path: Path, target: Path) -> None:
    """Gives a file a second name, so that a kill before the end loses neither; moves it where there are no links."""
    with suppress(OSError):
        os.link(path, target)
        return
    path.replace(target)
