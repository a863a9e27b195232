import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.features import store_writer
from abawkit.features.store import FeatureStore
from abawkit.features.store_writer import StoreWriter
from tests.features.conftest import NAMES, Begin, make_values


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_is_at_the_output_until_the_end(begin: Begin, tmp_path: Path) -> None:
    writer = begin()
    writer.append(make_values(4))
    assert (writer.written, writer.remaining) == (4, 1)
    assert [path.name for path in tmp_path.iterdir()] == [".out.abawkit.unfinished"]
    writer.append(make_values(1))
    store = writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(read_all(store.folder)) == ["features.npy", "manifest.json", "names.txt"]
    assert store.values.dtype == np.float16
    assert store.mirrored is None
    assert store.manifest.complete


def test_chunks_give_the_file_that_numpy_writes(begin: Begin, tmp_path: Path) -> None:
    writer = begin(dtype="float32")
    for rows in (slice(0, 2), slice(2, 3), slice(3, 5)):
        writer.append(make_values(5)[rows])
    store = writer.finish()
    np.save(tmp_path / "expected.npy", make_values(5))
    assert (store.folder / "features.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


@pytest.mark.parametrize("left", [b"", b"\x07" * 7])
def test_it_continues_behind_the_last_whole_chunk(begin: Begin, tmp_path: Path, left: bytes) -> None:
    whole = begin(mirrored=True)
    whole.append(make_values(5), -make_values(5))
    expected = read_all(whole.finish().folder)
    shutil.rmtree(tmp_path / "out")

    begin(mirrored=True).append(make_values(5)[:2], -make_values(5)[:2])
    with (tmp_path / ".out.abawkit.unfinished" / "features.npy").open("ab") as file:
        file.write(left)  # of a chunk that a kill cut
    resumed = begin(mirrored=True)
    assert resumed.resumed == 2
    resumed.append(make_values(5)[2:], -make_values(5)[2:])
    assert read_all(resumed.finish().folder) == expected


def test_a_kill_during_the_last_step_loses_nothing(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = begin()
    writer.append(make_values(5))

    def die(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store_writer, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            writer.finish()
    again = begin()
    assert (again.resumed, again.remaining) == (5, 0)
    assert again.finish().values.tolist() == make_values(5).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float32"},
        {"mirrored": True},
        {"dimension": 4},
        {"names": NAMES[::-1]},
        {"source": {"kind": "other"}},
        {"frames": {"list": "b"}},
        {"preprocessing": {"size": 224}},
        {"versions": {"torch": "3"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_rows_of_other_features_are_not_continued(begin: Begin, changes: dict[str, Any]) -> None:
    begin().append(make_values(2))
    assert begin(**changes).written == 0
    assert begin().written == 0  # the first one's rows are gone


@pytest.mark.parametrize("name", ["features.npy", "progress.json", "manifest.json", "names.txt"])
def test_a_damaged_unfinished_store_is_not_continued(begin: Begin, tmp_path: Path, name: str) -> None:
    begin().append(make_values(2))
    path = tmp_path / ".out.abawkit.unfinished" / name
    if name == "names.txt":
        path.unlink()
    else:
        path.write_bytes(b"{}")
    writer = begin()
    assert writer.written == 0
    writer.append(make_values(5))
    writer.finish().verify()


def test_a_store_is_replaced_only_by_force(begin: Begin) -> None:
    for values in (make_values(5), make_values(5) + 1):
        writer = begin()
        writer.append(values)
        if (writer.folder / "manifest.json").exists():
            with pytest.raises(ConfigError, match="exists already"):
                writer.finish()
        store = writer.finish(force=True)
        assert store.values.tolist() == values.tolist()


def test_numbers_that_are_not_finite_are_refused(begin: Begin) -> None:
    values = make_values(5)
    values[3, 1] = np.nan
    with pytest.raises(DataError, match=r"row 4, number 2 is nan, expected a finite float16; the source must return"):
        begin().append(values)
    values[3, 1] = 70_000
    with pytest.raises(DataError, match=r"row 4, number 2 is 70000, expected a finite float16; store float32"):
        begin().append(values)
    writer = begin(dtype="float32")
    writer.append(values)
    assert writer.finish().values[3, 1] == 70_000


def test_wrong_arrays_are_a_bug_of_the_caller(begin: Begin) -> None:
    for arguments in ([make_values(5, 2)], [make_values(5), make_values(5)], [make_values(6)]):
        with pytest.raises(ValueError, match=r"expected|remain"):
            begin().append(*arguments)
    with pytest.raises(ValueError, match="5 rows are not written yet"):
        begin().finish()


def test_a_small_disk_is_refused_at_once(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"0\.0 GB free, and 5 rows of 3 numbers take .* GB; free the disk"):
        begin()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_was_written(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = begin()
    writer.append(make_values(2))

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(DataError, match=r"can't write the features \(No space left on device\); free or check"):
            writer.append(make_values(3))
    assert begin().resumed == 2


def test_without_hard_links_files_are_moved(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", fail)
    writer: StoreWriter = begin()
    writer.append(make_values(5))
    assert isinstance(writer.finish(), FeatureStore)
