"""Folders of checkpoints: the newest whole one is found, whatever lies in the place of its files."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from abawkit.errors import AbawkitError, DataError
from abawkit.models.weights import load_weights
from abawkit.run_names import AVERAGE, BEST, CHECKPOINTS, MANIFEST, NETWORK, STATE
from abawkit.system.files import sha256, sha256_of
from abawkit.training.checkpoint import Checkpoint, find_newest_checkpoint
from abawkit.training.checkpoint_state import read_run_state
from abawkit.training.resume import read_recorded
from tests.fuzz.damage import damage_file, remove

pytestmark = pytest.mark.faults

OLDER, NEWER = "0000-000003", "0001-000002"
FILES = [STATE, NETWORK, AVERAGE, BEST, MANIFEST]
TARGETS = [".", "..", "nothing", STATE, MANIFEST, f"../{OLDER}/{STATE}", "/dev/null", "/dev/zero", "/dev/full"]
NAMES = ["9999-999999", "0000-000001", "00000-000009", "0001-000003.partial", "٠٠٠٢-٠٠٠٠٠٢", "1-2", "0001-0000020"]

Damage = tuple[Any, ...]
files = st.sampled_from(FILES)
fraction = st.floats(0, 1, exclude_max=True)
DAMAGES: st.SearchStrategy[Damage] = st.one_of(
    st.tuples(st.just("flip"), files, fraction, st.integers(1, 255)),
    st.tuples(st.just("cut"), files, fraction),
    st.tuples(st.just("extend"), files, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("swap"), files, files),
    st.tuples(st.just("older"), files),
    st.tuples(st.just("delete"), files),
    st.tuples(st.just("add"), st.sampled_from(["x", ".hidden", "é\x1b[2J", "a" * 255])),
    st.tuples(st.just("folder"), files),
    st.tuples(st.just("pipe"), files),
    st.tuples(st.just("link"), files, st.sampled_from(TARGETS)),
    st.tuples(st.just("copy"), st.sampled_from(NAMES)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES)),
    st.tuples(st.just("exchange")),
)


def damage(folder: Path, how: Damage) -> None:
    """Does one thing to a checkpoint; nothing where what came before has left nothing to do it to."""
    path = folder / how[1] if len(how) > 1 else folder
    match how:
        case ("swap", _, other) if path.is_file() and (folder / other).is_file():
            first, second = path.read_bytes(), (folder / other).read_bytes()
            path.write_bytes(second)
            (folder / other).write_bytes(first)
        case ("older", name) if (folder.parent / OLDER / name).is_file() and path.is_file():
            path.write_bytes((folder.parent / OLDER / name).read_bytes())
        case ("add", _):
            path.write_bytes(b"more")
        case ("folder", _):
            remove(path)
            path.mkdir()
        case ("link", _, target):
            remove(path)
            path.symlink_to(target)
        case ("copy", name) if not folder.with_name(name).exists():
            shutil.copytree(folder, folder.with_name(name), symlinks=True, copy_function=copy_file)
        case ("rename", name) if not folder.with_name(name).exists():
            folder.rename(folder.with_name(name))
        case ("exchange",):
            folder.rename(folder.with_name("x"))
            (folder.parent / OLDER).rename(folder)
            folder.with_name("x").rename(folder.parent / OLDER)
        case _:
            damage_file(path, how)


def copy_file(source: str, target: str) -> None:
    if Path(source).is_file():
        shutil.copy(source, target)


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Writes a manifest that agrees with itself."""
    digest = sha256(json.dumps(content, sort_keys=True).encode())
    (folder / MANIFEST).write_text(json.dumps({**content, "sha256": digest}))


def agree(folder: Path) -> None:
    """Makes the manifest agree with the files, as whoever forged them would; what is no file counts as empty."""
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        return
    try:
        content = json.loads(path.read_bytes())
        names = [name for name in content["files"] if os.path.lexists(folder / name)]
    except (ValueError, TypeError, KeyError):
        return
    texts = {name: (folder / name).read_bytes() if usual(folder / name) else b"" for name in names}
    entries = {name: {"bytes": len(text), "sha256": sha256(text)} for name, text in texts.items()}
    seal(folder, {key: value for key, value in content.items() if key != "sha256"} | {"files": entries})


def usual(path: Path) -> bool:
    return path.is_file() and not str(path.resolve()).startswith("/dev")


def attempt(function: Callable[[], object]) -> object:
    """What a reader returns; None where it refuses."""
    try:
        return function()
    except AbawkitError:
        return None


def found_in(run: Path) -> Checkpoint | None:
    """The newest whole checkpoint, which must be what it says; None where none is whole."""
    try:
        checkpoint, problems = find_newest_checkpoint(run)
    except DataError:
        return None
    assert checkpoint
    assert checkpoint.folder.name == checkpoint.position.name
    assert STATE in checkpoint.digests
    assert all(sha256_of(checkpoint.folder / name) == digest for name, digest in checkpoint.digests.items())
    newer = [path for path in (run / CHECKPOINTS).iterdir() if path.name > checkpoint.folder.name]
    assert len(problems) <= len(newer)
    return checkpoint


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of a run with two checkpoints, in the place of the one before."""

    def copy() -> Path:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return Path(shutil.copytree(base, tmp_path / "run"))

    return copy


def test_what_was_damaged_is_passed_over_and_what_is_taken_up_is_as_it_was_written(
    fuzz: Callable[..., None], copy: Callable[[], Path], base: Path
) -> None:
    written = {name: json.loads((base / CHECKPOINTS / name / MANIFEST).read_text())["files"] for name in (OLDER, NEWER)}

    def check(damages: list[Damage]) -> str:
        run = copy()
        for how in damages:
            if (run / CHECKPOINTS / NEWER).is_dir():
                damage(run / CHECKPOINTS / NEWER, how)
        checkpoint = found_in(run)
        if checkpoint is None:
            return "none is whole"
        digests = {name: entry["sha256"] for name, entry in written[checkpoint.folder.name].items()}
        assert checkpoint.digests == digests
        assert read_run_state(checkpoint)["progress"]["steps"] == {OLDER: 3, NEWER: 5}[checkpoint.folder.name]
        assert read_recorded(run)
        return "the newer one" if checkpoint.folder.name == NEWER else "the older one"

    outcomes = ("the older one", "the newer one")
    fuzz(check, st.lists(DAMAGES, min_size=1, max_size=3), outcomes=outcomes, examples=80)


def test_damage_that_its_manifest_agrees_with_is_refused_or_whole(
    fuzz: Callable[..., None], copy: Callable[[], Path]
) -> None:
    def check(damages: list[Damage]) -> str:
        run = copy()
        folder = run / CHECKPOINTS / NEWER
        for how in damages:
            if folder.is_dir():
                damage(folder, how)
        agree(folder)
        checkpoint = found_in(run)
        state = attempt(lambda: read_run_state(checkpoint)) if checkpoint else None
        assert (attempt(lambda: read_recorded(run)) is not None) == (state is not None)
        for name in (NETWORK, AVERAGE, BEST):
            attempt(partial(load_weights, folder / name))
        return "whole" if state else "passed over" if checkpoint else "none is whole"

    fuzz(check, st.lists(DAMAGES, min_size=1, max_size=3), outcomes=("whole", "passed over"), examples=80)


def test_a_forged_manifest_is_refused_or_right(
    fuzz: Callable[..., None], copy: Callable[[], Path], forged: Callable[..., Any], json_values: Any, base: Path
) -> None:
    manifest = json.loads((base / CHECKPOINTS / NEWER / MANIFEST).read_text())
    del manifest["sha256"]

    def check(content: Any) -> str:
        run = copy()
        if isinstance(content, dict):
            seal(run / CHECKPOINTS / NEWER, content)
        else:
            (run / CHECKPOINTS / NEWER / MANIFEST).write_text(json.dumps(content))
        checkpoint = found_in(run)
        assert checkpoint
        attempt(lambda: read_run_state(checkpoint))
        return "right" if checkpoint.folder.name == NEWER else "passed over"

    fuzz(check, forged(manifest, json_values), outcomes=("passed over",), examples=100)
