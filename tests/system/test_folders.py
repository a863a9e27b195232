"""Folders are written whole or not at all, beside their place or, where nothing can be moved there, within."""

import os
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.system.files import Kind, find_workspace, list_entries, refuse_folder, remove_leftovers, replacing_folder

THING = Kind("a thing", lambda folder: "" if (folder / "thing").exists() else "holds no thing")


@pytest.fixture(params=["beside", "mounted"])
def out(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is written beside its place, or one that nothing can be moved to the place of."""
    folder = tmp_path / "out"
    if request.param == "mounted":
        folder.mkdir()
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == folder)
    return folder


def make(out: Path, text: str, *, force: bool = False) -> None:
    with replacing_folder(out, force=force) as new:
        (new / "inner").mkdir()
        (new / "inner/thing").write_text(text)
        assert "inner" not in [entry.name for entry in list_entries(out)] or (out / "inner/thing").read_text() != text


def test_a_folder_is_there_when_the_block_ends_and_is_replaced_wholly(out: Path) -> None:
    make(out, "old")
    (out / "more").touch()
    with pytest.raises(ConfigError, match="exists already"):
        make(out, "new")
    assert (out / "inner/thing").read_text() == "old"
    make(out, "new", force=True)
    assert [path.name for path in out.rglob("*")] == ["inner", "thing"]
    assert (out / "inner/thing").read_text() == "new"
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_folder_that_came_meanwhile_is_not_replaced(out: Path) -> None:
    def make_too_late() -> None:
        with replacing_folder(out) as new:
            (new / "mine").touch()
            out.mkdir(exist_ok=True)
            (out / "theirs").touch()

    with pytest.raises(ConfigError, match="exists already"):
        make_too_late()
    assert [path.name for path in out.rglob("*")] == ["theirs"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_whole_when_the_block_fails(out: Path, failure: BaseException) -> None:
    make(out, "old")

    def fail() -> None:
        with replacing_folder(out, force=True) as new:
            (new / "half").touch()
            raise failure

    with pytest.raises((DataError, KeyboardInterrupt)):
        fail()
    assert (out / "inner/thing").read_text() == "old"
    assert [path.name for path in out.parent.rglob("*")] == ["out", "inner", "thing"]


@pytest.mark.parametrize("failing", ["old", "new"])
def test_what_was_there_is_brought_back_when_a_move_fails(
    out: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    make(out, "old")
    rename, moves = Path.rename, []

    def fail_once(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == (1 if failing == "old" else 2):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(DataError, match=r"Input/output error.*nothing that was there is lost"):
        make(out, "new", force=True)
    assert (out / "inner/thing").read_text() == "old"
    assert [path.name for path in out.parent.rglob("*")] == ["out", "inner", "thing"]


def test_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/real").mkdir()
    (tmp_path / "out").symlink_to("disk/real")
    assert find_workspace(tmp_path / "out") == find_workspace(tmp_path / "disk/real")
    make(tmp_path / "out", "new")
    assert (tmp_path / "disk/real/inner/thing").read_text() == "new"
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("name", ["n" * 255, "顔" * 85, "a.b", "é" * 100])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, "x")
    base, prefix = find_workspace(tmp_path / name)
    (base / f"{prefix}.lock").touch()


def test_names_that_begin_alike_have_workspaces_of_their_own(tmp_path: Path) -> None:
    found = {find_workspace(tmp_path / name) for name in ("a", "a.txt", "n" * 200 + "1", "n" * 200 + "2")}
    assert len(found) == 4


def test_leftovers_go_but_for_what_is_there_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    base, prefix = find_workspace(out)
    left, alone, other = (base / name for name in (f"{prefix}.part-1", f"{prefix}.part-2", ".outer.abawkit.part-1"))
    for folder in (left / "new", alone / "old", other):
        folder.mkdir(parents=True)
    remove_leftovers(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alone.name, other.name])
    out.mkdir()
    remove_leftovers(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", other.name])


def test_only_a_folder_of_its_kind_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refuse_folder(out, force=False, kind=THING)
    out.mkdir()
    refuse_folder(out, force=False, kind=THING)
    (out / "photo").touch()
    with pytest.raises(ConfigError, match="is not empty; give another folder, or --force to replace a thing"):
        refuse_folder(out, force=False, kind=THING)
    with pytest.raises(ConfigError, match="holds no thing, so it is not a thing, and --force does not replace it"):
        refuse_folder(out, force=True, kind=THING)
    (out / "thing").touch()
    refuse_folder(out, force=True, kind=THING)
    for source in (out, out / "thing"):
        with pytest.raises(ConfigError, match="would replace what is read from"):
            refuse_folder(out, force=True, kind=THING, inputs=[source])
    with pytest.raises(ConfigError, match="is a file"):
        refuse_folder(out / "photo", force=True, kind=THING)
