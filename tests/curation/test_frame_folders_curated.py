"""Frames in two folders, frames that are no crops, and frames that lie elsewhere, as `curate` meets them."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abawkit.curation import Sources, curate, find_sources, open_curated
from abawkit.errors import DataError, DataWarning
from abawkit.frames.paths import FrameFolders

Release = Callable[..., Sources]
Row = Callable[..., str]
Pictures = Callable[..., Path]


def write_picture(path: Path, width: int, height: int) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 60, np.uint8)).save(file, "JPEG")
    path.write_bytes(file.getvalue())


@pytest.fixture
def two(release: Release, row: Row, pictures: Pictures) -> Sources:
    """Frames of three videos, of which the validation split's lies in a second folder."""
    first = pictures("v/1.jpg", "w/1.jpg", "clip/1.jpg")
    second = first.with_name("more")
    second.mkdir()
    (first / "clip").rename(second / "clip")
    return release([row("v/1.jpg"), row("w/1.jpg")], frames=FrameFolders((first, second)))


def test_frames_of_two_folders_are_packed_and_counted_by_folder(two: Sources, out: Path) -> None:
    assert isinstance(two.frames, FrameFolders)
    first, second = two.frames.folders
    assert curate(two, out, workers=1).frames == 3
    found = json.loads((out / "ledger.json").read_text())["frames"]
    assert found["folders"] == {str(first): 2, str(second): 1}
    assert (found["sizes"], found["differing"]) == ({"112x112": 3}, 0)
    assert (open_curated(out).splits["validation"].frames >= 0).all()


def test_an_image_that_both_have_with_different_bytes_is_named_and_the_first_is_taken(two: Sources, out: Path) -> None:
    assert isinstance(two.frames, FrameFolders)
    first, second = two.frames.folders
    (second / "v").mkdir()
    shutil.copyfile(first / "w/1.jpg", second / "v/1.jpg")
    with pytest.warns(DataWarning, match=r"different bytes; .*: v/1\.jpg \("):
        curate(two, out, workers=1)
    opened = open_curated(out)
    assert opened.open_frames().take(opened.splits["train"].frames[:1])[0, 50, 50, 0] == pytest.approx(20, abs=2)


def test_the_second_archive_of_a_release_is_found_beside_the_first(tmp_path: Path) -> None:
    for name in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        (tmp_path / name).touch()
    folders = [tmp_path / "cropped_aligned", tmp_path / "cropped_aligned_new_50_vids"]
    for folder in folders:
        folder.mkdir()
    assert find_sources(tmp_path).frames == FrameFolders(tuple(folders))
    assert find_sources(tmp_path, frames=folders[1]).frames == folders[1]
    folders[1].rmdir()
    assert find_sources(tmp_path).frames == folders[0]
    assert find_sources(tmp_path, follow_links=True).frames == FrameFolders((folders[0],), follow_links=True)


@pytest.mark.parametrize("size", [(640, 360), (1, 1)])
def test_pictures_that_are_no_crops_are_refused_and_leave_nothing(
    release: Release, row: Row, pictures: Pictures, out: Path, size: tuple[int, int]
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    for name in ("v/1.jpg", "clip/1.jpg"):
        write_picture(root / name, *size)
    found = f"2 of 2 frames are not aligned crops: {size[0]} x {size[1]} pixels"
    with pytest.raises(DataError, match=rf"{found}(?s:.*)expected aligned face crops of 112 x 112"):
        curate(release([row("v/1.jpg")], frames=root), out, workers=1)
    assert list(out.iterdir()) == []


def test_a_set_that_was_there_stays_where_the_new_frames_are_no_crops(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    sources = release([row("v/1.jpg")], frames=root)
    curate(sources, out, workers=1)
    write_picture(root / "v/1.jpg", 640, 360)
    with pytest.raises(DataError, match="not aligned crops"):
        curate(sources, out, workers=1)
    assert len(open_curated(out).open_frames()) == 2


def test_square_frames_of_another_size_are_counted_and_said(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    write_picture(root / "v/1.jpg", 224, 224)
    with pytest.warns(DataWarning, match="1 of 2 frames are not 112 x 112 pixels and were resized: 224 x 224"):
        curate(release([row("v/1.jpg")], frames=root), out, workers=1)
    assert json.loads((out / "ledger.json").read_text())["frames"]["sizes"] == {"224x224": 1, "112x112": 1}


def test_frames_one_folder_deeper_are_said_to_be_there(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    deeper = pictures("cropped/v/1.jpg", "cropped/clip/1.jpg") / "cropped"
    with pytest.raises(DataError) as caught:
        curate(release([row("v/1.jpg")], frames=deeper.parent), out, workers=1)
    assert f"none of 2 frames found in {deeper.parent}; {deeper} has them" in str(caught.value)


def test_a_video_on_another_disk_is_packed_when_links_are_followed(
    release: Release, row: Row, pictures: Pictures, out: Path, tmp_path: Path
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    (root / "v").rename(tmp_path / "disk")
    (root / "v").symlink_to(tmp_path / "disk")
    with pytest.raises(DataError, match="--follow-links"):
        curate(release([row("v/1.jpg")], frames=root), out, workers=1)
    sources = release([row("v/1.jpg")], frames=FrameFolders((root,), follow_links=True))
    assert curate(sources, out, workers=1).frames == 2
