import errno
import gc
import json
import mmap
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from abawkit.choices import PackedForm
from abawkit.errors import DataError
from abawkit.frames.decode import FRAME_BYTES, decode
from abawkit.frames.packed import PackedFrames, RawFrames
from abawkit.frames.packing import pack_frames
from abawkit.system.files import sha256_of

NAMES = [f"video{video}/{number:05}.jpg" for video in (1, 0) for number in (17, 1, 8)]


@pytest.fixture
def packed(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    pack_frames(NAMES, root, folder, workers=1)
    return folder


def open_raw(folder: Path) -> RawFrames:
    store = PackedFrames.open(folder)
    assert isinstance(store, RawFrames)
    return store


def test_frames_lie_in_the_order_of_the_list(root: Path, packed: Path) -> None:
    store = open_raw(packed)
    assert len(store) == 6
    for name, pixels in zip(NAMES, store.pixels, strict=True):
        assert np.array_equal(pixels, decode((root / name).read_bytes(), name).pixels)


def test_a_repeated_image_is_stored_once_and_no_row_is_lost(root: Path, tmp_path: Path) -> None:
    names = [NAMES[0], NAMES[1], NAMES[0], NAMES[2], NAMES[1]]
    report = pack_frames(names, root, tmp_path / "packed", workers=1)
    assert report.frame_of_row.tolist() == [0, 1, 0, 2, 1]
    assert report.frame_of_row.dtype == np.int64
    assert report.frames == 3


def test_missing_and_unreadable_frames_leave_no_hole_and_shift_no_row(root: Path, tmp_path: Path) -> None:
    (root / NAMES[1]).unlink()
    (root / NAMES[3]).write_bytes(b"")
    names = [NAMES[0], NAMES[0], *NAMES[1:], NAMES[1]]
    report = pack_frames(names, root, tmp_path / "packed", workers=1)
    assert report.frame_of_row.tolist() == [0, 0, -1, 1, -1, 2, 3, -1]
    assert [(failure.row, failure.image, failure.reason) for failure in report.failures] == [
        (2, NAMES[1], "missing"),
        (4, NAMES[3], "unreadable"),
    ]
    store = open_raw(tmp_path / "packed")
    assert np.array_equal(store.pixels[1], decode((root / NAMES[2]).read_bytes(), "").pixels)


def test_a_list_of_no_readable_frame_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 2 listed images could be read; the first, 'video7/1.jpg'"):
        pack_frames(["video7/1.jpg", "video7/2.jpg"], root, tmp_path / "packed", workers=1)
    assert not (tmp_path / "packed").exists()


def test_conversions_and_progress_are_reported(
    root: Path, tmp_path: Path, encode: Callable[..., bytes], scene: Callable[..., object]
) -> None:
    (root / NAMES[0]).write_bytes(encode(scene(200, 200)))
    seen: list[tuple[int, int]] = []
    report = pack_frames(
        NAMES, root, tmp_path / "packed", workers=1, progress=lambda done, total: seen.append((done, total))
    )
    assert report.conversions == {"resized": 1}
    assert seen == [(6, 6)]


def test_the_content_does_not_depend_on_workers(root: Path, packed: Path, tmp_path: Path) -> None:
    report = pack_frames(NAMES, root, tmp_path / "again", workers=4)
    assert report.digest == PackedFrames.open(packed).digest == sha256_of(packed / "frames.u8")


def test_take_gives_frames_in_the_order_asked_for(packed: Path) -> None:
    store = open_raw(packed)
    indices = np.array([5, 0, 3, 3])
    taken = store.take(indices)
    assert type(taken) is np.ndarray
    assert taken.flags.c_contiguous
    assert taken.flags.writeable
    assert np.array_equal(taken, np.stack([store.pixels[k] for k in indices]))
    assert store.take(np.array([], np.int64)).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("index", [-1, 6])
def test_take_refuses_a_row_without_a_frame(packed: Path, index: int) -> None:
    with pytest.raises(IndexError, match=r"expected 0\.\.5"):
        PackedFrames.open(packed).take(np.array([0, index]))


def mapping_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All bytes of the mapped part of a file that an array is a view of."""
    base: Any = pixels
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    assert isinstance(base, mmap.mmap)
    return np.frombuffer(base, np.uint8)


@pytest.mark.parametrize(("start", "stop"), [(0, 6), (0, 1), (3, 5), (5, 6)])
def test_rows_are_a_view_of_the_mapped_file(packed: Path, start: int, stop: int) -> None:
    store = open_raw(packed)
    pixels = store.rows(start, stop)
    assert np.array_equal(pixels, store.pixels[start:stop])
    assert np.shares_memory(pixels, mapping_of(pixels))
    assert type(pixels) is np.ndarray
    assert pixels.flags.c_contiguous
    assert np.shares_memory(torch.from_numpy(pixels).numpy(), pixels)  # torch warns of what can't be written to


def test_no_rows_are_rows(packed: Path) -> None:
    assert open_raw(packed).rows(6, 6).shape == (0, 112, 112, 3)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (4, 7), (3, 2), (7, 7)])
def test_rows_that_are_not_in_the_store_are_refused(packed: Path, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=r"expected a range within 0\.\.6"):
        open_raw(packed).rows(start, stop)


def test_taking_consecutive_frames_makes_no_copy(packed: Path) -> None:
    store = open_raw(packed)
    taken = store.take(np.arange(2, 5))
    assert np.array_equal(taken, store.pixels[2:5])
    assert np.shares_memory(taken, mapping_of(taken))
    for indices in ([2, 4], [4, 3, 2], [2, 2, 3], [2, 3, 3]):
        assert np.array_equal(store.take(np.array(indices)), store.pixels[indices])


def test_writing_to_rows_changes_neither_the_file_nor_other_rows(packed: Path) -> None:
    store = open_raw(packed)
    before = store.rows(0, 6).copy()
    first, second = store.rows(1, 4), store.take(np.arange(1, 4))
    first[:] = 255 - first
    assert np.array_equal(second, before[1:4])
    assert np.array_equal(store.rows(0, 6), before)
    assert np.array_equal(store.pixels, before)
    del first
    gc.collect()
    assert sha256_of(packed / "frames.u8") == store.digest


def test_a_dropped_store_closes_its_file_and_its_rows_stay(packed: Path) -> None:
    store = open_raw(packed)
    file, pixels, expected = store._files[0], store.rows(0, 2), store.pixels[:2].copy()
    del store
    gc.collect()
    assert file.closed
    assert np.array_equal(pixels, expected)


def test_pixels_are_read_only(packed: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_raw(packed).pixels[0] = 0


def test_a_pickled_store_is_its_path(packed: Path) -> None:
    store = open_raw(packed)
    content = pickle.dumps(store)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).pixels, store.pixels)  # noqa: S301 - made in this test


def test_a_pickled_store_is_refused_where_another_one_is_by_now(packed: Path) -> None:
    content = pickle.dumps(PackedFrames.open(packed))
    header = json.loads((packed / "frames.json").read_bytes())
    (packed / "frames.json").write_text(json.dumps({**header, "sha256": "0" * 64}))
    with pytest.raises(DataError, match="holds other frames than when it was opened"):
        pickle.loads(content)  # noqa: S301 - made in this test


def test_a_sound_store_verifies(packed: Path) -> None:
    PackedFrames.open(packed).verify()


def test_a_flipped_bit_is_found(packed: Path) -> None:
    with (packed / "frames.u8").open("r+b") as file:
        file.seek(4 * FRAME_BYTES + 1234)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    store = PackedFrames.open(packed)
    with pytest.raises(DataError, match=r"frames\.u8: is damaged, its SHA-256 is .*abawkit curate"):
        store.verify()


@pytest.mark.parametrize("change", [-1, 1, -FRAME_BYTES])
def test_a_file_of_another_size_is_refused_when_it_is_opened(packed: Path, change: int) -> None:
    os.truncate(packed / "frames.u8", 6 * FRAME_BYTES + change)
    with pytest.raises(DataError, match=r"frames\.u8: has .* bytes, expected 225,792; .*abawkit curate"):
        PackedFrames.open(packed)


@pytest.mark.parametrize("name", ["frames.u8", "frames.json"])
def test_an_absent_file_is_named(packed: Path, name: str) -> None:
    (packed / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .*No such file.*abawkit curate"):
        PackedFrames.open(packed)


@pytest.mark.parametrize(
    "change",
    [{"frames": 5}, {"frames": 0, "bytes": 0}, {"frames": "6"}, {"frames": True}, {"format": "2"}, {"sha256": None}],
)
def test_a_wrong_header_is_refused(packed: Path, change: dict[str, object]) -> None:
    path = packed / "frames.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"frames\.json: .*abawkit curate"):
        PackedFrames.open(packed)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"6"])
def test_a_header_that_is_no_json_object_is_refused(packed: Path, content: bytes) -> None:
    (packed / "frames.json").write_bytes(content)
    with pytest.raises(DataError, match=r"frames\.json: .*abawkit curate"):
        PackedFrames.open(packed)


def test_a_full_disk_is_refused_at_the_start(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5 * FRAME_BYTES))
    with pytest.raises(DataError, match="6 packed frames take"):
        pack_frames(NAMES, root, tmp_path / "packed", workers=1)


@pytest.mark.parametrize("form", ["raw", "encoded"])
@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_when_writing_fails_the_old_store_stays_whole(
    root: Path, packed: Path, failing: str, form: PackedForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PackedFrames.open(packed).digest

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if failing == "fsync" else (Path, "rename", fail)))
        with pytest.raises(DataError, match="No space left on device"):
            pack_frames(NAMES[:2], root, packed, form=form, workers=1)
    assert PackedFrames.open(packed).digest == before
    PackedFrames.open(packed).verify()
    assert sorted(path.name for path in packed.parent.iterdir()) == ["cropped_aligned", "packed"]


def test_a_store_is_replaced_by_a_new_one(root: Path, packed: Path) -> None:
    old = open_raw(packed)
    report = pack_frames(NAMES[:2], root, packed, workers=1)
    new = open_raw(packed)
    assert len(new) == report.frames == 2
    assert len(old.pixels) == 6
    assert np.array_equal(old.rows(3, 6), old.pixels[3:])  # of the file that was opened, not of the new one
    new.verify()
