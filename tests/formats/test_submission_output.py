"""Submissions are written whole or not at all, nothing is lost, and their digest is that of their content."""

import os
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.formats import writing as output
from abawkit.formats.base import Container
from abawkit.formats.writing import digest_submission, read_submission_bytes, refuse_submission, write_submission
from abawkit.system.files import sha256

OLD, NEW = {"a.txt": b"old\n"}, {"b.txt": b"new\n", "c.txt": b""}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder that was written before."""
    write_submission(tmp_path / "out", OLD)
    return tmp_path / "out"


def test_a_file_is_written_and_replaced_as_all_files_are(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    for content in (b"old", b"new"):
        write_submission(path, content)
        assert read_submission_bytes(path) == content
    assert left(tmp_path) == ["out.txt"]


def test_a_folder_is_written_whole(there: Path) -> None:
    assert read_submission_bytes(there) == OLD
    assert left(there.parent) == ["out"]
    assert oct(there.stat().st_mode)[-3:] == oct(0o777 & ~_umask())[-3:]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_folder_that_is_there_is_refused_and_with_force_replaced_without_a_trace(there: Path) -> None:
    with pytest.raises(ConfigError, match="exists already; give another path, or --force"):
        write_submission(there, NEW)
    assert read_submission_bytes(there) == OLD
    write_submission(there, NEW, force=True)
    assert read_submission_bytes(there) == NEW
    assert left(there.parent) == ["out"]


@pytest.mark.parametrize("name", ["photos/", ".git"])
def test_a_folder_that_is_no_submission_is_never_replaced(there: Path, name: str) -> None:
    (there / name).mkdir() if name.endswith("/") else (there / name).write_text("")
    with pytest.raises(ConfigError, match="so it is no submission, and is not replaced"):
        write_submission(there, NEW, force=True)
    assert (there / "a.txt").read_bytes() == b"old\n"


def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(there: Path) -> None:
    file = there.parent / "file.txt"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_submission(file, NEW, force=True)
    with pytest.raises(ConfigError, match="is a folder"):
        refuse_submission(there, "file", force=True)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_failure_on_the_way_leaves_what_was_there(there: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    rename = Path.rename
    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", refuse)
    else:  # the second move: the old folder is aside already
        monkeypatch.setattr(Path, "rename", lambda self, to: refuse() if self.name == "new" else rename(self, to))
    with pytest.raises(DataError, match=r"No space left on device.*nothing that was there is lost"):
        write_submission(there, NEW, force=True)
    assert read_submission_bytes(there) == OLD
    assert left(there.parent) == ["out"]


@pytest.mark.parametrize("name", ["../x.txt", "/x.txt", "a/b.txt", "..", ".", "", "a\\b.txt", "a\0.txt"])
def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="is not a valid file name; nothing was written"):
        write_submission(tmp_path / "out", {"a.txt": b"", name: b""})
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", get_args(Container))
def test_an_output_that_can_not_be_written_is_refused_before_any_work(tmp_path: Path, kind: Container) -> None:
    refuse_submission(tmp_path / "new", kind, force=False)
    with pytest.raises(ConfigError, match="no such folder"):
        refuse_submission(tmp_path / "none/new", kind, force=False)
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(ConfigError, match="would replace what is read from"):
        refuse_submission(data / "new", kind, force=True, inputs=[data])


def test_a_folder_that_is_read_is_not_replaced(there: Path) -> None:
    for source in (there, there / "a.txt", there.parent):
        with pytest.raises(ConfigError, match="would replace what is read from"):
            refuse_submission(there, "folder", force=True, inputs=[source])


def test_the_digest_of_a_file_is_that_of_its_bytes() -> None:
    assert digest_submission(b"x") == sha256(b"x")


def test_the_digest_of_a_folder_is_what_sha256sum_says_and_tells_names_and_contents_apart(tmp_path: Path) -> None:
    content = {"b.txt": b"1\n", "B.txt": b"2\n", "a b.txt": b"3\n", "é.txt": b"4\n", "-.txt": b"5\n"}
    write_submission(tmp_path / "out", content)
    command = "LC_ALL=C sha256sum -- * | sha256sum"
    said = subprocess.run(command, shell=True, cwd=tmp_path / "out", capture_output=True, text=True, check=True)  # noqa: S602
    assert digest_submission(content) == said.stdout.split()[0]
    assert digest_submission(read_submission_bytes(tmp_path / "out")) == digest_submission(content)
    assert digest_submission(dict(reversed(content.items()))) == digest_submission(content)
    assert digest_submission({**content, "b.txt": b"2\n", "B.txt": b"1\n"}) != digest_submission(content)


def test_what_is_no_submission_has_no_digest(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"can't be read \(No such file or directory\)"):
        read_submission_bytes(there.parent / "none")
    monkeypatch.setattr(output, "MAX_TEXT_BYTES", 3)
    with pytest.raises(DataError, match="holds 4 bytes, so it is no submission"):
        read_submission_bytes(there)
    (there / "inner").mkdir()
    with pytest.raises(DataError, match="holds 'inner', which is no file"):
        read_submission_bytes(there)
