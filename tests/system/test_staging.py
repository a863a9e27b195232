"""Copies on a disk of this machine: made once, used by all, verified, and removed by the last."""

import hashlib
import shutil
import tempfile
import threading
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.system import staging
from abawkit.system.filesystems import FileSystem
from abawkit.system.staging import StageFile, find_copy, find_stage_folder, stage_files

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "frames.u8"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def file(source: Path) -> StageFile:
    return StageFile(source, hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for copies; it is not there yet."""
    monkeypatch.setattr(staging, "WAIT", 0.01)
    return tmp_path / "local" / "stage"


@pytest.fixture
def copied() -> list[str]:
    """A line for each file that is copied."""
    return []


@pytest.fixture(autouse=True)
def make_local(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()


def test_within_the_block_a_file_is_read_from_its_copy_and_then_nothing_is_left(
    file: StageFile, folder: Path, copied: list[str]
) -> None:
    with stage_files([file], folder, on_copy=copied.append):
        copy = find_copy(file.path)
        assert copy.parent == folder
        assert copy.read_bytes() == CONTENT
        assert find_copy(folder / "another") == folder / "another"
    assert find_copy(file.path) == file.path
    assert not folder.exists()
    assert copied == [f"copying {file.path} (0.0 GB) to {folder}"]


def test_a_file_is_found_by_any_of_its_paths(file: StageFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage_files([file], folder):
        monkeypatch.chdir(file.path.parent)
        assert find_copy(Path(file.path.name)).parent == folder


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_copies_are_removed_when_the_block_fails(file: StageFile, folder: Path, error: type[BaseException]) -> None:
    def work() -> None:
        with stage_files([file], folder):
            raise error

    with pytest.raises(error):
        work()
    assert not folder.exists()


def test_a_copy_that_a_killed_process_left_is_used_if_it_is_whole(
    file: StageFile, folder: Path, copied: list[str]
) -> None:
    folder.mkdir()
    (folder / file.sha256).write_bytes(CONTENT)
    (folder / f"{file.sha256}.lock").touch()
    with stage_files([file], folder, on_copy=copied.append):
        assert copied == []
    assert not folder.exists()


@pytest.mark.parametrize("left", [CONTENT[:-1], b"\0" * len(CONTENT)])
def test_a_copy_that_is_not_whole_is_made_again(file: StageFile, folder: Path, copied: list[str], left: bytes) -> None:
    folder.mkdir()
    (folder / file.sha256).write_bytes(left)
    (folder / f"{file.sha256}.part").write_bytes(CONTENT[:100])
    with stage_files([file], folder, on_copy=copied.append):
        assert find_copy(file.path).read_bytes() == CONTENT
        assert len(copied) == 1
    assert not folder.exists()


def test_one_of_many_processes_copies_the_others_wait_and_the_last_one_removes(
    file: StageFile, folder: Path, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, copy_content = threading.Barrier(4), staging._copy_content
    monkeypatch.setattr(staging, "_copy_content", lambda *paths: (threading.Event().wait(0.1), copy_content(*paths))[1])
    seen: list[bool] = []

    def work(number: int) -> None:
        with stage_files([file], folder, on_copy=copied.append):
            seen.append(find_copy(file.path).read_bytes() == CONTENT)
            together.wait(30)
            threading.Event().wait(0.02 * number)  # they end one after another
            seen.append(find_copy(file.path).parent == folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert seen == [True] * 8
    assert len(copied) == 1
    assert not folder.exists()


def test_two_files_of_one_content_have_one_copy(file: StageFile, folder: Path, copied: list[str]) -> None:
    twin = file._replace(path=file.path.with_name("twin"))
    twin.path.write_bytes(CONTENT)
    with stage_files([file, twin], folder, on_copy=copied.append):
        assert find_copy(file.path) == find_copy(twin.path)
        assert len(copied) == 1
    assert not folder.exists()


def refused(file: StageFile, folder: Path) -> str:
    def work() -> None:
        with stage_files([file], folder):
            raise AssertionError("it was copied")

    with pytest.raises(DataError) as caught:
        work()
    assert not folder.exists()
    return str(caught.value)


def test_a_disk_without_room_for_all_files_is_refused_before_anything_is_copied(
    file: StageFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = StageFile(file.path.with_name("other"), hashlib.sha256(CONTENT[1:]).hexdigest())
    other.path.write_bytes(CONTENT[1:])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2 * len(CONTENT) - 2))
    monkeypatch.setattr(staging, "_copy_content", lambda *_: pytest.fail("it was copied"))
    with (
        pytest.raises(DataError, match=r"GB free, and what is to be copied takes 0\.0 GB; set TMPDIR"),
        stage_files([file, other], folder),
    ):
        raise AssertionError("it was copied")
    assert not folder.exists()


def test_what_is_copied_already_needs_no_room(
    file: StageFile, folder: Path, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with stage_files([file], folder):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))
        with stage_files([file], folder, on_copy=copied.append):
            assert find_copy(file.path).parent == folder
    assert copied == []


def test_a_damaged_file_is_refused(file: StageFile, folder: Path) -> None:
    file.path.write_bytes(CONTENT[::-1])
    assert f"{file.path}: is damaged, its SHA-256 is " in refused(file, folder)


def test_a_file_that_is_gone_is_refused(file: StageFile, folder: Path) -> None:
    file.path.unlink()
    assert "(No such file or directory)" in refused(file, folder)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "local"))
    return tmp_path / "local"


def test_the_folder_is_in_that_for_temporary_files_and_ours_alone(temporary: Path) -> None:
    found = find_stage_folder()
    assert found.parent == temporary
    assert found.stat().st_mode & 0o777 == 0o700
    assert find_stage_folder() == found


def make_link(folder: Path) -> None:
    folder.symlink_to(folder.parent)


def make_open(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("make", [make_link, make_open])
def test_a_folder_that_others_can_write_to_is_refused(temporary: Path, make: Callable[[Path], None]) -> None:
    folder = find_stage_folder()
    folder.rmdir()
    make(folder)
    with pytest.raises(ConfigError, match="others may write to it"):
        find_stage_folder()


def test_a_folder_on_another_machine_is_no_place_for_copies(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "find_file_system", lambda _: FileSystem("nfs4", frozenset()))
    with pytest.raises(ConfigError, match="type nfs4, not on a disk of this machine; set TMPDIR"):
        find_stage_folder()
    assert list(temporary.iterdir()) == []
