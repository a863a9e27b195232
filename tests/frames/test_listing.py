"""A folder of crops without a list: every image is a row, in natural order."""

import os
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.frame_names import make_natural_key
from abawkit.frames.listing import list_images
from abawkit.frames.paths import FrameFolders


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_videos_and_frames_come_as_people_count(tmp_path: Path) -> None:
    names = ["v10/1.jpg", "v2/10.jpg", "v2/9.jpg", "v2/00009.png", "a/1.JPG", "v2_left/1.jpg", "v2/sub/1.jpg"]
    assert list_images(touch(tmp_path, *names)).images == [
        "a/1.JPG",
        "v2/9.jpg",
        "v2/00009.png",
        "v2/10.jpg",
        "v2/sub/1.jpg",
        "v2_left/1.jpg",
        "v10/1.jpg",
    ]


def test_the_order_is_one_whatever_the_names() -> None:
    names = ["v/٣.jpg", "v/3.jpg", "v/03.jpg", "v/²", "v/", "v", "é/1", "1/v"]
    again = list(reversed(names))
    assert sorted(names, key=make_natural_key) == sorted(again, key=make_natural_key)


def test_other_files_are_counted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "v/1.jpg", "v/notes.txt", "readme.md", "v/._1.jpg", ".cache/v/1.jpg", "v/.DS_Store")
    listing = list_images(tmp_path)
    assert (listing.images, listing.others) == (["v/1.jpg"], 2)


def test_a_folder_of_one_video_names_it(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "crops/2.jpg", "crops/10.jpg") / "crops")
    assert listing.images == ["crops/2.jpg", "crops/10.jpg"]
    assert listing.root.folders == (tmp_path.resolve(),)


def test_folders_of_one_video_each_are_named_by_it(tmp_path: Path) -> None:
    touch(tmp_path, "a/v2/1.jpg", "a/v10/1.jpg", "b/w/1.jpg")
    listing = list_images(FrameFolders((tmp_path / "a/v10", tmp_path / "a/v2", tmp_path / "b/w")))
    assert listing.images == ["v2/1.jpg", "v10/1.jpg", "w/1.jpg"]
    assert listing.root.folders == (tmp_path / "a", tmp_path / "b")


def test_several_folders_are_one_list(tmp_path: Path) -> None:
    touch(tmp_path, "a/v/1.jpg", "a/v/2.jpg", "b/v/2.jpg", "b/w/1.jpg")
    assert list_images(FrameFolders((tmp_path / "a", tmp_path / "b"))).images == ["v/1.jpg", "v/2.jpg", "w/1.jpg"]


def test_images_beside_folders_of_videos_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'stray\.jpg': an image beside folders of videos"):
        list_images(touch(tmp_path, "v/1.jpg", "stray.jpg"))


@pytest.mark.parametrize("name", ["v/a,b.jpg", "v/a\nb.jpg", "v,w/1.jpg", "v/ 1.jpg", " v/1.jpg", "v/a\\1.jpg"])
def test_a_name_that_no_row_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    if name == "v/ 1.jpg":
        assert list_images(touch(tmp_path, name)).images == [name]
        return
    with pytest.raises(DataError, match="every image is a row; rename"):
        list_images(touch(tmp_path, "v/1.jpg", name))


@pytest.mark.parametrize("name", [b"v\xff/1.jpg", b"v/\xff.jpg"])
def test_a_name_that_is_not_utf_8_is_refused_by_name(tmp_path: Path, name: bytes) -> None:
    touch(tmp_path, "v/1.jpg", os.fsdecode(name))
    with pytest.raises(DataError, match=r"udcff.*: is not UTF-8"):
        list_images(tmp_path)


def test_links_that_leave_are_refused_or_followed(tmp_path: Path) -> None:
    root = touch(tmp_path, "root/v/1.jpg", "disk/w/1.jpg") / "root"
    (root / "w").symlink_to(tmp_path / "disk/w")
    with pytest.raises(DataError, match="'w': a symbolic link that leaves the folder; --follow-links follows it"):
        list_images(root)
    assert list_images(FrameFolders((root,), follow_links=True)).images == ["v/1.jpg", "w/1.jpg"]


def test_a_link_that_leads_round_is_walked_once(tmp_path: Path) -> None:
    touch(tmp_path, "v/1.jpg")
    (tmp_path / "v/again").symlink_to(tmp_path)
    assert list_images(tmp_path).images == ["v/1.jpg"]


@pytest.mark.parametrize("kind", ["absent", "a file", "empty", "no image"])
def test_a_folder_without_images_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "crops"
    if kind == "a file":
        path.touch()
    elif kind != "absent":
        path.mkdir()
        if kind == "no image":
            touch(path, "v/1.gif")
    with pytest.raises(DataError, match=r"no such folder|is a file|holds no image"):
        list_images(path)
