"""Files are written whole or not at all, and nothing that was there before is lost."""

import hashlib
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.system.files import new_folder, refuse_output, replacing, sha256, sha256_of, write_bytes, write_json


def test_the_new_content_is_there_only_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_old_file_stays_whole_when_the_block_fails(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises((DataError, KeyboardInterrupt)):
        write_half()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_file_stays_whole_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match="Input/output"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_new_file_has_the_permissions_that_any_program_would_give_it(tmp_path: Path) -> None:
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_is_read_back_and_nan_is_refused_with_the_old_file_kept(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}


def test_an_output_that_exists_is_refused_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a"
    refuse_output(path, force=False)
    path.touch()
    with pytest.raises(ConfigError, match=r"exists already.*--force"):
        refuse_output(path, force=False)
    refuse_output(path, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_refused_where_a_file_is_to_be_written(tmp_path: Path, force: bool) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        refuse_output(tmp_path, force=force)


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert new_folder(tmp_path / "a" / "b", force=False).is_dir()


def test_a_folder_that_holds_anything_is_refused_without_force_and_left_as_it_is_with_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        new_folder(tmp_path, force=False)
    new_folder(tmp_path, force=True)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_is_refused_where_a_folder_is_needed(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"is a file|can't make this folder"):
        new_folder(tmp_path / "file" / below, force=True)


def test_a_read_only_folder_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # a superuser may write anywhere
    with pytest.raises(ConfigError, match="read-only"):
        new_folder(tmp_path, force=False)


def test_digests_are_sha_256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(content)
    assert sha256(content) == sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_what_is_read_is_never_replaced_even_by_force(tmp_path: Path) -> None:
    read = tmp_path / "list.txt"
    read.write_text("image\n")
    run = tmp_path / "run"
    run.mkdir()
    for out in (read, tmp_path / "run" / ".." / "list.txt", run / "manifest.json"):
        with pytest.raises(ConfigError, match="would replace what is read"):
            refuse_output(out, force=True, inputs=[read, run])


def test_an_output_in_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        refuse_output(tmp_path / "no" / "p.txt", force=False)
    with pytest.raises(ConfigError, match="is a folder"):
        refuse_output(Path(), force=False)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(DataError, match="file: can't be written"):
            write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
