"""A damaged checkpoint is found, named and passed over; nothing of it is loaded."""

import json
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from abawkit.errors import DataError, StoppedError
from abawkit.run_names import CHECKPOINTS, MANIFEST, STATE
from abawkit.system.files import sha256, sha256_of, write_bytes
from abawkit.system.signals import raise_on_signals
from abawkit.training.checkpoint import (
    Checkpoint,
    Position,
    find_newest_checkpoint,
    has_checkpoints,
    verify_checkpoint,
    write_checkpoint,
)

pytestmark = pytest.mark.faults

OLDER, NEWER = Position(0, 500), Position(1, 0)
FILES = ("average.bin", MANIFEST, STATE, "weights.bin")


def write(run: Path, place: Position, *, keep: int = 2) -> Path:
    def files(folder: Path) -> None:
        write_bytes(folder / "weights.bin", place.name.encode() * 50)
        write_bytes(folder / "average.bin", place.name.encode())

    return write_checkpoint(run, place, {"batch": place.batch, "values": torch.arange(100)}, files, keep=keep)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two checkpoints."""
    write(tmp_path, OLDER)
    write(tmp_path, NEWER)
    return tmp_path


def folder_of(run: Path, place: Position) -> Path:
    return run / CHECKPOINTS / place.name


def places(run: Path) -> list[str]:
    return sorted(path.name for path in (run / CHECKPOINTS).iterdir())


def newest(run: Path) -> Checkpoint:
    checkpoint, problems = find_newest_checkpoint(run)
    assert checkpoint is not None
    assert problems == []
    return checkpoint


def passed_over(run: Path) -> str:
    """What is said of the newer checkpoint, where the older one is found in its stead."""
    checkpoint, problems = find_newest_checkpoint(run)
    assert checkpoint is not None
    assert checkpoint.position == OLDER
    assert checkpoint.state()["batch"] == OLDER.batch
    (problem,) = problems
    assert problem.startswith(f"{folder_of(run, NEWER)}: ")
    return problem


def forge(folder: Path, **changes: Any) -> None:
    """Gives a checkpoint a manifest that agrees with its files and with itself."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["sha256"]
    for name, entry in manifest["files"].items():
        entry |= {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
    manifest |= changes
    digest = sha256(json.dumps(manifest, sort_keys=True).encode())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "sha256": digest}))


def flipped(content: bytes, mask: int) -> Iterator[bytes]:
    """The content with one byte changed: near both ends, and every 53rd between them; in a manifest, every one."""
    step = 1 if content.startswith(b"{") else 53
    for i in sorted({*range(min(len(content), 40)), *range(0, len(content), step), *range(len(content))[-40:]}):
        yield content[:i] + bytes([content[i] ^ mask]) + content[i + 1 :]


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_and_the_older_checkpoint_taken(run: Path, name: str, mask: int) -> None:
    path = folder_of(run, NEWER) / name
    tried = 0
    for content in flipped(path.read_bytes(), mask):
        path.write_bytes(content)
        assert name in passed_over(run)
        tried += 1
    assert tried >= 11


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_longer_file_is_found_and_the_older_checkpoint_taken(run: Path, name: str) -> None:
    path = folder_of(run, NEWER) / name
    content = path.read_bytes()
    for cut in (0, 1, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:cut])
        assert name in passed_over(run)
    path.write_bytes(content + b"0")
    assert name in passed_over(run)


def test_a_manifest_without_its_last_newline_says_all_that_it_said(run: Path) -> None:
    path = folder_of(run, NEWER) / MANIFEST
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert newest(run).position == NEWER


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (folder_of(run, NEWER) / name).unlink()
    assert f"{name} can't be read (No such file or directory)" in passed_over(run)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_named(run: Path, name: str) -> None:
    path = folder_of(run, NEWER) / name
    path.unlink()
    path.mkdir()
    assert name in passed_over(run)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/null"])
def test_what_never_ends_in_place_of_a_file_is_named_and_not_read(run: Path, name: str, kind: str) -> None:
    folder = folder_of(run, NEWER)
    (folder / name).write_bytes(b"")
    if name != MANIFEST:
        forge(folder)
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(kind)
    assert f"{name} can't be read (not a regular file)" in passed_over(run)


def test_a_manifest_of_a_thousand_gigabytes_is_not_read(run: Path) -> None:
    os.truncate(folder_of(run, NEWER) / MANIFEST, 1 << 40)
    assert f"{MANIFEST} is damaged (it is larger than any that a run writes)" in passed_over(run)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '"text"', "\ufeff{}", "[" * 100_000, "\0" * 700])
def test_a_manifest_that_is_none_is_damaged(run: Path, content: str) -> None:
    (folder_of(run, NEWER) / MANIFEST).write_text(content)
    assert f"{MANIFEST} is damaged" in passed_over(run)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [STATE],
        {STATE: None},
        {STATE: {}},
        {STATE: {"bytes": "many", "sha256": ""}},
        {STATE: {"bytes": float("inf"), "sha256": ""}},
        {STATE: {"bytes": 1, "sha256": None}},
        {},
        {"weights.bin": {"bytes": 550, "sha256": ""}},
        {"": {"bytes": 1, "sha256": ""}},
        {"\ud800": {"bytes": 1, "sha256": ""}},
        {"\x1b[2J": {"bytes": 1, "sha256": ""}},
        {"../x": {"bytes": 1, "sha256": ""}},
        {"/x": {"bytes": 1, "sha256": ""}},
        {"a\0": {"bytes": 1, "sha256": ""}},
    ],
)
def test_a_forged_manifest_that_makes_no_sense_is_damaged(run: Path, files: object) -> None:
    forge(folder_of(run, NEWER), files=files)
    assert f"{MANIFEST} is damaged" in passed_over(run)


def test_a_manifest_of_another_format_is_named(run: Path) -> None:
    forge(folder_of(run, NEWER), format="abawkit.checkpoint.9")
    assert "has format 'abawkit.checkpoint.9', expected 'abawkit.checkpoint.2'" in passed_over(run)


@pytest.mark.parametrize(
    "changes",
    [{"epochs_done": 7}, {"batches_done": 7}, {"epochs_done": "1"}, {"epochs_done": None}, {"batches_done": [0]}],
)
def test_a_manifest_of_another_place_is_not_that_of_its_folder(run: Path, changes: dict[str, Any]) -> None:
    forge(folder_of(run, NEWER), **changes)
    assert MANIFEST in passed_over(run)


def test_a_checkpoint_that_was_renamed_is_not_taken_for_a_newer_one(run: Path) -> None:
    folder_of(run, OLDER).rename(folder_of(run, Position(7, 0)))
    checkpoint, problems = find_newest_checkpoint(run)
    assert checkpoint is not None
    assert checkpoint.position == NEWER
    assert "is that of the checkpoint 0000-000500: its folder was renamed" in problems[0]


@pytest.mark.parametrize(
    "name", ["00001-000000", "0001-0000000", "\u0661\u0661\u0661\u0661-\u0661\u0661\u0661\u0661\u0661\u0661"]
)
def test_another_way_to_write_a_place_is_no_checkpoint_s_name(run: Path, name: str) -> None:
    folder_of(run, NEWER).rename(run / CHECKPOINTS / name)
    assert newest(run).position == OLDER


def test_a_file_with_a_checkpoint_s_name_is_passed_over(run: Path) -> None:
    (run / CHECKPOINTS / Position(2, 0).name).write_bytes(b"")
    checkpoint, problems = find_newest_checkpoint(run)
    assert checkpoint is not None
    assert checkpoint.position == NEWER
    assert len(problems) == 1


def test_where_all_are_damaged_the_error_names_each_and_what_to_do(run: Path) -> None:
    (folder_of(run, NEWER) / MANIFEST).write_bytes(b"")
    (folder_of(run, OLDER) / "weights.bin").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        find_newest_checkpoint(run)
    newer, older, advice = str(caught.value).splitlines()
    assert newer.startswith(f"{folder_of(run, NEWER)}: {MANIFEST} is damaged")
    assert older == f"{folder_of(run, OLDER)}: weights.bin has 0 bytes, expected 550"
    assert "--force" in advice


def test_a_checkpoint_asked_for_by_its_place_is_not_replaced_by_another(run: Path) -> None:
    (folder_of(run, NEWER) / STATE).write_bytes(b"")
    with pytest.raises(DataError, match="no checkpoint of this run is whole"):
        find_newest_checkpoint(run, NEWER)
    report = verify_checkpoint(folder_of(run, NEWER))
    assert report.defects.keys() == {STATE}
    assert report.defects[STATE].startswith("has 0 bytes, expected ")
    found, problems = find_newest_checkpoint(run, OLDER)
    assert found is not None
    assert problems == []


def test_every_file_at_fault_is_named(run: Path) -> None:
    (folder_of(run, NEWER) / STATE).write_bytes(b"")
    (folder_of(run, NEWER) / "weights.bin").unlink()
    assert list(verify_checkpoint(folder_of(run, NEWER)).defects) == [STATE, "weights.bin"]
    assert f"{STATE} has 0 bytes" in passed_over(run)
    assert "; weights.bin can't be read" in passed_over(run)


class RunsCode:
    """What it is loaded as makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.proof,)


@pytest.mark.parametrize("archive", [True, False], ids=["as torch.save writes it", "a plain pickle"])
def test_a_state_that_would_run_code_is_refused_even_with_a_matching_manifest(
    run: Path, tmp_path: Path, archive: bool
) -> None:
    proof, folder = tmp_path / "proof", folder_of(run, NEWER)
    if archive:
        torch.save({"batch": RunsCode(proof)}, folder / STATE)
    else:
        (folder / STATE).write_bytes(pickle.dumps(RunsCode(proof)))
    forge(folder)
    checkpoint = newest(run)
    assert checkpoint.position == NEWER
    with pytest.raises(DataError, match=rf"{STATE}: can't be loaded .*Nothing in it was run"):
        checkpoint.state()
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"text", b"\x80\x02.", b"\x80\x04N."])
def test_a_state_that_is_none_is_refused_even_with_a_matching_manifest(run: Path, content: bytes) -> None:
    folder = folder_of(run, NEWER)
    (folder / STATE).write_bytes(content)
    forge(folder)
    with pytest.raises(DataError, match=STATE):
        newest(run).state()


def test_a_state_that_is_no_dict_is_refused(run: Path) -> None:
    folder = folder_of(run, NEWER)
    torch.save([1, 2], folder / STATE)
    forge(folder)
    with pytest.raises(DataError, match="holds a list, expected a dict"):
        newest(run).state()


def test_a_signal_while_a_state_is_loaded_is_no_damage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(StoppedError, match=r"^stopped by SIGUSR1$"), raise_on_signals():
        newest(run).state()


def test_a_damaged_checkpoint_is_replaced_when_the_run_comes_to_its_place_again(run: Path) -> None:
    (folder_of(run, NEWER) / STATE).write_bytes(b"")
    write(run, NEWER)
    assert newest(run).position == NEWER
    assert places(run) == [OLDER.name, NEWER.name]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_newer_checkpoint_does_not_count_as_one_that_is_kept(run: Path, keep: int) -> None:
    between = Position(0, 700)
    (folder_of(run, NEWER) / STATE).write_bytes(b"")
    write(run, between, keep=keep)
    assert newest(run).position == between
    assert places(run) == [OLDER.name, between.name][-keep:]


def test_a_whole_newer_checkpoint_is_never_removed(run: Path) -> None:
    write(run, Position(0, 100), keep=1)
    assert newest(run).position == NEWER


def test_a_checkpoint_that_is_there_already_is_left_as_it_is_but_leftovers_go(run: Path) -> None:
    before = (folder_of(run, NEWER) / STATE).stat()
    (run / CHECKPOINTS / "0000-000001.gone.partial").mkdir()
    (run / CHECKPOINTS / "0000-000001.gone.partial" / STATE).write_bytes(b"half")
    write(run, NEWER, keep=1)
    assert (folder_of(run, NEWER) / STATE).stat() == before
    assert places(run) == [NEWER.name]


def test_a_file_where_the_folder_should_be_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINTS).write_bytes(b"mine")
    with pytest.raises(DataError, match=r"can't write this checkpoint \(File exists\)"):
        write(tmp_path, NEWER)
    assert (tmp_path / CHECKPOINTS).read_bytes() == b"mine"


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert find_newest_checkpoint(tmp_path) == (None, [])
    (tmp_path / CHECKPOINTS / "0000-000001.partial").mkdir(parents=True)
    (tmp_path / CHECKPOINTS / "notes").mkdir()
    assert find_newest_checkpoint(tmp_path) == (None, [])
    assert not has_checkpoints(tmp_path)
