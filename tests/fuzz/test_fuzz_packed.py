"""Encoded frames: whatever is damaged or forged, a frame is refused, or has the pixels that were packed."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from abawkit.errors import DataError
from abawkit.frames import packing
from abawkit.frames.packed import HEADER_FILE, INDEX_FILE, INDEX_ROW, PackedFrames, name_shard
from abawkit.frames.packing import pack_frames
from abawkit.tables import Array
from tests.fuzz.damage import damage_file

Fuzz = Callable[..., None]

FRAMES = 4
FILES = [HEADER_FILE, INDEX_FILE, name_shard(0), name_shard(1)]

files = st.sampled_from(FILES)
fraction = st.floats(0, 1, exclude_max=True)
number = st.one_of(st.integers(-2, 5), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.just("6"))
DAMAGES = st.one_of(
    st.tuples(st.just("flip"), files, fraction, st.integers(1, 255)),
    st.tuples(st.just("cut"), files, fraction),
    st.tuples(st.just("extend"), files, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("delete"), files),
    st.tuples(st.just("pipe"), files),
    st.tuples(st.just("swap"), files, files),
    st.tuples(st.just("end"), st.integers(0, FRAMES - 1), st.integers(-50, 50)),
    st.tuples(st.just("end"), st.integers(0, FRAMES - 1), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("header"), st.sampled_from(["frames", "sha256", "format", "files"]), number),
    st.tuples(st.just("file"), st.integers(0, 2), st.sampled_from(["name", "bytes", "sha256"]), number),
)


def damage(folder: Path, how: tuple[Any, ...]) -> None:
    """Does one thing to packed frames; nothing where what came before has left nothing to do it to."""
    path = folder / how[1] if how[1] in FILES else folder
    match how:
        case ("swap", _, other) if path.is_file() and (folder / other).is_file():
            path.write_bytes((folder / other).read_bytes())
        case ("end", row, change) if (index := folder / INDEX_FILE).is_file():
            if index.stat().st_size == FRAMES * INDEX_ROW.itemsize:
                rows = np.fromfile(index, INDEX_ROW)
                end = int(rows["end"][row]) + change if abs(change) <= 50 else change
                rows["end"][row] = end % 2**64
                index.write_bytes(rows.tobytes())
        case ("header", key, value):
            edit(folder / HEADER_FILE, lambda header: header.update({key: value}))
        case ("file", entry, key, value):
            edit(folder / HEADER_FILE, lambda header: header["files"][entry].update({key: value}))
        case _:
            damage_file(path, how)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    if not path.is_file():
        return
    try:
        header = json.loads(path.read_bytes())
        change(header)
    except (ValueError, TypeError, LookupError, AttributeError):
        return
    path.write_text(json.dumps(header))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames in two shards."""
    base, random = tmp_path_factory.mktemp("packed"), np.random.default_rng(0)
    (base / "v").mkdir()
    names = [f"v/{k}.jpg" for k in range(FRAMES)]
    for name in names:
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((112, 112)).save(file, "JPEG")
        (base / name).write_bytes(file.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SHARD_BYTES", 2 * max((base / name).stat().st_size for name in names))
        pack_frames(names, base, base / "frames", form="encoded", workers=1)
    assert sorted(path.name for path in (base / "frames").iterdir()) == sorted(FILES)
    return base / "frames"


def test_frames_are_those_that_were_packed_or_refused(fuzz: Fuzz, whole: Path, tmp_path: Path) -> None:
    expected = PackedFrames.open(whole).take(np.arange(FRAMES))
    folder = tmp_path / "frames"

    def check(damages: list[tuple[Any, ...]]) -> str:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        for how in damages:
            damage(folder, how)
        try:
            store = PackedFrames.open(folder)
        except DataError as error:
            refusal = str(error)
        else:
            return read_all(store)
        assert str(folder) in refusal
        return "not opened"

    def read_all(store: PackedFrames) -> str:
        found = [read(store, number, expected[number]) for number in range(min(FRAMES, len(store)))]
        return "read" if all(found) else "not decoded"

    def read(store: PackedFrames, frame: int, pixels: Array) -> bool:
        try:
            taken = store.take(np.array([frame]))
        except DataError as error:
            refusal = str(error)
        else:
            assert np.array_equal(taken[0], pixels)
            return True
        assert refusal.startswith(f"{folder}: packed frames are damaged:\nframe {frame} in frames-0000")
        return False

    damaged = st.lists(DAMAGES, min_size=1, max_size=3)
    fuzz(check, damaged, outcomes=["read", "not opened", "not decoded"], examples=150)
