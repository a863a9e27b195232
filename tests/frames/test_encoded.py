"""Packed frames of the encoded form: the bytes of image files in shards, with the pixels of the files, bit for bit."""

import gc
import hashlib
import json
import os
import pickle
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from abawkit.errors import DataError
from abawkit.frames import packed as reading
from abawkit.frames import packing
from abawkit.frames.decode import FRAME_BYTES, Decoded, decode
from abawkit.frames.packed import INDEX_ROW, EncodedFrames, PackedFrames
from abawkit.frames.packing import pack_frames

NAMES = [f"video{video}/{number:05}.jpg" for video in (1, 0) for number in (17, 1, 8)]
SHARDS = ["frames-00000.shard", "frames-00001.shard", "frames-00002.shard"]

Scene = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]


@pytest.fixture
def folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six frames in three shards, two in each."""
    sizes = [(root / name).stat().st_size for name in NAMES]
    monkeypatch.setattr(packing, "SHARD_BYTES", max(a + b for a, b in zip(sizes[::2], sizes[1::2], strict=True)))
    pack_frames(NAMES, root, tmp_path / "packed", form="encoded", workers=2)
    return tmp_path / "packed"


def decode_files(root: Path, names: list[str]) -> NDArray[np.uint8]:
    return np.stack([decode((root / name).read_bytes(), name).pixels for name in names])


def edit_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    header = json.loads((folder / "frames.json").read_bytes())
    change(header)
    (folder / "frames.json").write_text(json.dumps(header))


def edit_index(folder: Path, change: Callable[[NDArray[Any]], object]) -> None:
    """Changes the index, and its digest in the header, as one who damages it on purpose."""
    rows = np.fromfile(folder / "frames.index", INDEX_ROW)
    change(rows)
    rows.tofile(folder / "frames.index")
    digest = hashlib.sha256(rows.tobytes()).hexdigest()
    edit_header(folder, lambda header: header["files"][0].update(sha256=digest))


def flip_byte(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_shards_hold_the_bytes_of_the_files_one_after_another(root: Path, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [*SHARDS, "frames.index", "frames.json"]
    for number, shard in enumerate(SHARDS):
        first, second = NAMES[2 * number : 2 * number + 2]
        assert (folder / shard).read_bytes() == (root / first).read_bytes() + (root / second).read_bytes()
    ends = np.cumsum([(root / name).stat().st_size for name in NAMES])
    assert np.fromfile(folder / "frames.index", INDEX_ROW)["end"].tolist() == ends.tolist()


@pytest.mark.parametrize("indices", [[5, 0, 3, 3], [0, 1, 2, 3, 4, 5], [4], []])
def test_frames_are_those_of_the_files_and_of_raw_ones_in_any_order(
    root: Path, folder: Path, tmp_path: Path, indices: list[int]
) -> None:
    pack_frames(NAMES, root, tmp_path / "raw", workers=1)
    raw, encoded = PackedFrames.open(tmp_path / "raw"), PackedFrames.open(folder)
    chosen = np.array(indices, np.int64)
    found = encoded.take(chosen)
    assert np.array_equal(found, decode_files(root, NAMES)[chosen])
    assert np.array_equal(found, raw.take(chosen))
    assert (len(encoded), encoded.digest) == (len(raw), raw.digest)
    assert found.flags.c_contiguous
    assert torch.from_numpy(found).shape == (len(indices), 112, 112, 3)  # torch warns of what can't be written to


def test_every_kind_of_image_is_stored_as_it_is_and_has_the_pixels_of_its_file(
    root: Path, tmp_path: Path, scene: Scene, encode: Encode, png: Callable[..., bytes], four_one_zero: bytes
) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "plain.jpg": encode(scene(seed=1), quality=95),
        "grey.jpg": encode(Image.fromarray(scene()).convert("L")),
        "cmyk.jpg": encode(Image.fromarray(scene(seed=2)).convert("CMYK"), quality=60),
        "turned.jpg": encode(scene(seed=3), exif=turned),
        "unusual.jpg": four_one_zero,
        "larger.jpg": encode(scene(150, 150)),
        "palette.png": encode(Image.fromarray(scene(seed=4)).quantize(32), "PNG"),
        "deep.png": png(np.full((112, 112, 3), 0x1234, np.uint16), 16, 2),
    }
    for name, content in files.items():
        (root / "video0" / name).write_bytes(content)
    names = [f"video0/{name}" for name in files]
    report = pack_frames(names, root, tmp_path / "packed", form="encoded", workers=2)
    assert set(report.conversions) == {"grayscale", "cmyk", "rotated", "resized", "16-bit"}
    assert (tmp_path / "packed" / SHARDS[0]).read_bytes() == b"".join(files.values())
    assert np.array_equal(PackedFrames.open(tmp_path / "packed").take(np.arange(8)), decode_files(root, names))


def test_of_a_file_larger_than_its_pixels_the_pixels_are_stored(root: Path, tmp_path: Path, encode: Encode) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    (root / NAMES[1]).write_bytes(encode(noise, "PNG"))
    (root / NAMES[2]).write_bytes((root / NAMES[2]).read_bytes().ljust(FRAME_BYTES, b"\0"))  # as many, after its end
    report = pack_frames(NAMES[:3], root, tmp_path / "packed", form="encoded", workers=1)
    store = PackedFrames.open(tmp_path / "packed")
    expected = decode_files(root, NAMES[:3])
    assert (tmp_path / "packed" / SHARDS[0]).read_bytes()[-2 * FRAME_BYTES :] == expected[1:].tobytes()
    assert np.array_equal(store.take(np.arange(3)), expected)
    assert report.bytes == store.bytes == (root / NAMES[0]).stat().st_size + 2 * FRAME_BYTES + 3 * INDEX_ROW.itemsize


def test_missing_repeated_and_unreadable_images_leave_no_hole(root: Path, tmp_path: Path) -> None:
    (root / NAMES[1]).unlink()
    (root / NAMES[3]).write_bytes(b"")
    names = [NAMES[0], NAMES[0], *NAMES[1:], NAMES[1]]
    report = pack_frames(names, root, tmp_path / "packed", form="encoded", workers=1)
    assert report.frame_of_row.tolist() == [0, 0, -1, 1, -1, 2, 3, -1]
    store = PackedFrames.open(tmp_path / "packed")
    assert np.array_equal(store.take(np.arange(4)), decode_files(root, [NAMES[k] for k in (0, 2, 4, 5)]))
    store.verify()


def test_the_content_does_not_depend_on_workers(root: Path, folder: Path, tmp_path: Path) -> None:
    pack_frames(NAMES, root, tmp_path / "again", form="encoded", workers=4)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("index", [-1, 6])
def test_a_row_without_a_frame_is_refused(folder: Path, index: int) -> None:
    with pytest.raises(IndexError, match=r"expected 0\.\.5"):
        PackedFrames.open(folder).take(np.array([0, index]))


def test_a_pickled_store_is_its_path_and_a_dropped_one_closes_its_files(folder: Path) -> None:
    store = PackedFrames.open(folder)
    content, files = pickle.dumps(store), store._files
    assert len(content) < 1000
    expected = store.take(np.arange(6))
    assert np.array_equal(pickle.loads(content).take(np.arange(6)), expected)  # noqa: S301 - made in this test
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames")]
    del store
    gc.collect()
    assert all(file.closed for file in files)


def test_frames_that_were_opened_stay_when_others_take_their_place(root: Path, folder: Path) -> None:
    before = PackedFrames.open(folder)
    pack_frames(NAMES[:1], root, folder, workers=1)
    assert sorted(path.name for path in folder.iterdir()) == ["frames.json", "frames.u8"]
    assert np.array_equal(before.take(np.arange(6)), decode_files(root, NAMES))
    assert len(PackedFrames.open(folder)) == 1


# --- damage


@pytest.mark.parametrize("name", [*SHARDS, "frames.index"])
def test_a_flipped_bit_is_found_by_the_digest(folder: Path, name: str) -> None:
    PackedFrames.open(folder).verify()
    size = (folder / name).stat().st_size
    flip_byte(folder / name, size - 1)  # of the index, the last checksum
    store = PackedFrames.open(folder)
    with pytest.raises(DataError, match=rf"{name}: is damaged, its SHA-256 is .*abawkit curate"):
        store.verify()


def test_a_flipped_bit_is_found_when_its_frame_is_read_and_the_others_are_still_there(root: Path, folder: Path) -> None:
    found = 0
    for at in range(0, (root / NAMES[2]).stat().st_size, 97):
        flip_byte(folder / SHARDS[1], at)
        store = PackedFrames.open(folder)
        try:
            assert np.array_equal(store.take(np.arange(3)), decode_files(root, NAMES[:3]))  # a comment, or a fill bit
        except DataError as error:
            found += 1
            lines = str(error).splitlines()
            assert lines[0] == f"{folder}: packed frames are damaged:"
            assert lines[1].startswith(f"frame 2 in {SHARDS[1]}: ")
            assert lines[2:] == ["pack the frames again with `abawkit curate`"]
        assert np.array_equal(store.take(np.array([0, 1, 3])), decode_files(root, NAMES)[[0, 1, 3]])
        flip_byte(folder / SHARDS[1], at)
    assert found > 40  # of 50


def test_a_frame_that_does_not_decode_is_refused_by_its_number(root: Path, folder: Path) -> None:
    size = (root / NAMES[0]).stat().st_size
    shard = folder / SHARDS[0]
    shard.write_bytes(bytes(size) + shard.read_bytes()[size:])
    with pytest.raises(DataError, match=r"frame 0 in frames-00000\.shard: the content is zero bytes only"):
        PackedFrames.open(folder).take(np.arange(6))


def test_another_decoder_can_not_change_pixels_unnoticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PackedFrames.open(folder)

    def decode_otherwise(content: bytes, name: str) -> Decoded:
        found = decode(content, name)
        found.pixels[50, 50, 1] ^= 1
        return found

    monkeypatch.setattr(reading, "decode", decode_otherwise)
    with pytest.raises(DataError, match=r"frame 4 .*its bytes or the image decoder have changed since"):
        store.take(np.array([4]))


@pytest.mark.parametrize("change", [-1, 1, -100_000])
@pytest.mark.parametrize("name", [SHARDS[1], "frames.index"])
def test_a_file_of_another_size_is_refused_when_it_is_opened(folder: Path, name: str, change: int) -> None:
    size = (folder / name).stat().st_size
    os.truncate(folder / name, max(0, size + change))
    with pytest.raises(DataError, match=rf"{name}: has .* bytes, expected {size:,}; .*abawkit curate"):
        PackedFrames.open(folder)


def test_a_shard_that_is_cut_off_while_it_is_open_is_named(folder: Path) -> None:
    store = PackedFrames.open(folder)
    os.truncate(folder / SHARDS[2], 100)
    with pytest.raises(DataError, match=r"frame 4 in frames-00002\.shard: the shard ends before it"):
        store.take(np.arange(5))


@pytest.mark.parametrize("name", [*SHARDS, "frames.index", "frames.json"])
def test_an_absent_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .*No such file.*abawkit curate"):
        PackedFrames.open(folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_the_place_of_a_shard_is_refused(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / SHARDS[1]).unlink()
    make(folder / SHARDS[1])
    with pytest.raises(DataError, match=r"frames-00001\.shard: is not a regular file; .*abawkit curate"):
        PackedFrames.open(folder)


@pytest.mark.parametrize(
    ("row", "end"),
    [
        (5, lambda ends: ends[5] - 1),
        (5, lambda ends: ends[5] + 1),
        (2, lambda ends: ends[1]),
        (2, lambda ends: ends[4]),
        (1, lambda ends: ends[1] + 1),
        (0, lambda _: 0),
        (0, lambda _: 2**63),
    ],
    ids=["too few", "too many", "no bytes", "backwards", "in two shards", "empty", "negative"],
)
def test_an_index_that_does_not_fit_its_shards_is_refused_when_it_is_opened(
    folder: Path, row: int, end: Callable[[NDArray[Any]], int]
) -> None:
    edit_index(folder, lambda rows: rows["end"].__setitem__(row, end(rows["end"])))
    with pytest.raises(DataError, match=r"frames\.index: is damaged, or of other shards .*abawkit curate"):
        PackedFrames.open(folder)


def test_a_frame_larger_than_its_pixels_is_refused_when_it_is_opened(folder: Path) -> None:
    """Two entries, of which one takes both frames of a shard and more, ask for no memory."""
    size = 10 * FRAME_BYTES
    (folder / SHARDS[0]).write_bytes(bytes(size))
    edit_header(folder, lambda header: header["files"][1].update(bytes=size))
    edit_index(folder, lambda rows: rows["end"].__iadd__(size - rows["end"][1]))
    with pytest.raises(DataError, match=r"frames\.index: is damaged"):
        PackedFrames.open(folder)


@pytest.mark.parametrize("shift", [-1, 1, 400])
def test_a_wrong_offset_is_found_when_a_frame_beside_it_is_read(root: Path, folder: Path, shift: int) -> None:
    edit_index(folder, lambda rows: rows["end"].__setitem__(2, int(rows["end"][2]) + shift))
    store = PackedFrames.open(folder)
    with pytest.raises(DataError, match=r"frame 3 in frames-00001\.shard"):
        store.take(np.arange(6))
    assert np.array_equal(store.take(np.array([1, 4])), decode_files(root, NAMES)[[1, 4]])


def test_a_wrong_checksum_is_found(folder: Path) -> None:
    edit_index(folder, lambda rows: rows["crc32"].__setitem__(5, zlib.crc32(b"")))
    with pytest.raises(DataError, match=r"frame 5 in frames-00002\.shard: its pixels are not those that were packed"):
        PackedFrames.open(folder).take(np.array([5]))


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(frames=5),
        lambda header: header.update(frames=True),
        lambda header: header.update(format="abawkit encoded frames 2"),
        lambda header: header.update(sha256=None),
        lambda header: header.update(files=[]),
        lambda header: header.update(files={}),
        lambda header: header["files"].pop(),
        lambda header: header["files"].reverse(),
        lambda header: header["files"].append("frames-00003.shard"),
        lambda header: header["files"][1].update(name="../frames-00000.shard"),
        lambda header: header["files"][2].update(bytes="6"),
        lambda header: header["files"][2].update(bytes=-6),
        lambda header: header["files"][3].update(sha256=3),
    ],
)
def test_a_wrong_header_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit_header(folder, change)
    with pytest.raises(DataError, match=r"frames\.(json|index): .*abawkit curate"):
        PackedFrames.open(folder)


# --- packing that does not come to its end


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("there", [True, False])
def test_interrupted_packing_leaves_what_was_there_and_nothing_else(
    root: Path, folder: Path, tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    target = folder if there else tmp_path / "new"

    def interrupt(done: int, total: int) -> None:
        raise error

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error):
        pack_frames(NAMES[:3], root, target, form="encoded", workers=2, progress=interrupt)
    assert sorted(tmp_path.rglob("*")) == before
    if there:
        PackedFrames.open(folder).verify()


def test_a_full_disk_is_refused_by_an_estimate(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum((root / name).stat().st_size + INDEX_ROW.itemsize for name in NAMES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(DataError, match=r"packed: 0\.0 GB free, and 6 packed frames take about 0\.0 GB"):
        pack_frames(NAMES, root, tmp_path / "packed", form="encoded", workers=1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed))
    pack_frames(NAMES, root, tmp_path / "packed", form="encoded", workers=1)
    assert isinstance(PackedFrames.open(tmp_path / "packed"), EncodedFrames)


def test_a_list_of_no_readable_frame_is_an_error(root: Path, tmp_path: Path) -> None:
    for names in (["video7/1.jpg", "video7/2.jpg"], []):
        with pytest.raises(DataError, match=rf"none of the {len(names)} listed images could be read"):
            pack_frames(names, root, tmp_path / "packed", form="encoded", workers=1)
    assert not (tmp_path / "packed").exists()
