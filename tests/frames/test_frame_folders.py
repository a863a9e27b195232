"""Several folders of frames, searched in order, and links to other disks."""

import shutil
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.frames.crops import FrameSummary
from abawkit.frames.image_folder import FolderFrames
from abawkit.frames.paths import FrameFolders, find_frame_paths, search_folders
from abawkit.frames.reader import read_frames
from tests.frames.conftest import find_path

NAMES = ["video0/00001.jpg", "video1/00008.jpg", "video2/00001.jpg"]


@pytest.fixture
def second(root: Path) -> Path:
    """Beside the first folder: its video1, moved, and a video of its own."""
    folder = root.with_name("cropped_aligned_new_50_vids")
    folder.mkdir()
    (root / "video1").rename(folder / "video1")
    shutil.copytree(root / "video0", folder / "video2")
    return folder


def test_a_name_is_the_file_of_the_first_folder_that_has_it(root: Path, second: Path) -> None:
    frames = FrameFolders((root, second))
    expected = [root / NAMES[0], second / NAMES[1], second / NAMES[2]]
    assert find_frame_paths(frames, NAMES) == [str(path.resolve()) for path in expected]
    (chunk,) = read_frames(NAMES, frames, workers=1)
    assert not chunk.failures
    assert len(FolderFrames(NAMES, frames)) == 3


def test_the_order_of_folders_decides_where_both_have_a_name(root: Path, second: Path) -> None:
    shutil.copytree(root / "video0", second / "video0")
    for folders in ((root, second), (second, root)):
        assert find_path(FrameFolders(folders), NAMES[0]) == (folders[0] / NAMES[0]).resolve()


def test_what_no_folder_has_is_missing_in_the_first(root: Path, second: Path) -> None:
    name = "video0/00002.jpg"
    assert find_path(FrameFolders((root, second)), name) == root.resolve() / name


def test_an_image_of_two_folders_with_different_bytes_is_named(root: Path, second: Path) -> None:
    shutil.copytree(root / "video0", second / "video0")
    frames = FrameFolders((root, second))
    images = [*NAMES, "video0/00008.jpg", NAMES[0]]
    assert search_folders(frames, images).differing == []
    shutil.copyfile(root / "video0/00017.jpg", second / "video0/00001.jpg")
    with pytest.warns(
        DataWarning, match=r"^1 image is in two folders .* different bytes; the first .*: video0/00001\.jpg"
    ):
        counts = FrameSummary.begin(frames, images)
    assert [(image, other) for image, _, other in counts.differing] == [("video0/00001.jpg", second)]
    assert counts.folders == {str(root): 2, str(second): 2}
    assert counts.as_dict()["differing"] == 1


def test_an_image_of_equal_size_and_other_bytes_differs_too(root: Path, second: Path) -> None:
    shutil.copytree(root / "video0", second / "video0")
    content = bytearray((root / NAMES[0]).read_bytes())
    content[-10] ^= 1
    (second / NAMES[0]).write_bytes(content)
    assert len(search_folders(FrameFolders((root, second)), NAMES).differing) == 1


def test_the_same_folder_twice_is_refused_by_any_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    for other in (root, tmp_path / "link", root / ".." / root.name):
        with pytest.raises(ConfigError, match="is the same folder as --frames"):
            FrameFolders((root, other))


def test_no_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="no folder of frames was given"):
        FrameFolders(())


def test_one_of_several_folders_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: does not exist"):
        find_frame_paths(FrameFolders((root, tmp_path / "absent")), NAMES)


@pytest.fixture
def disk(root: Path, tmp_path: Path) -> Path:
    """Another disk, on which the folder's video1 lies, with a link in its place."""
    other = tmp_path / "disk"
    other.mkdir()
    (root / "video1").rename(other / "video1")
    (root / "video1").symlink_to(other / "video1")
    return other


def test_videos_on_another_disk_are_followed_when_asked(root: Path, disk: Path) -> None:
    with pytest.raises(DataError, match=r"a symbolic link that leaves.*\n.*--follow-links follows links"):
        find_frame_paths(root, NAMES[:2])
    (chunk,) = read_frames(NAMES[:2], FrameFolders((root,), follow_links=True), workers=1)
    assert not chunk.failures
    assert len(chunk.rows) == 2


def test_single_frames_on_another_disk_are_followed_when_asked(root: Path, tmp_path: Path) -> None:
    (root / "video0/00001.jpg").rename(tmp_path / "blob")
    (root / "video0/00001.jpg").symlink_to(tmp_path / "blob")
    (chunk,) = read_frames(NAMES[:1], FrameFolders((root,), follow_links=True), workers=1)
    assert not chunk.failures


@pytest.mark.parametrize(
    "name", ["../x.jpg", "video1/../../x.jpg", "/etc/x.jpg", "video1/./00001.jpg", "video1\\x.jpg"]
)
def test_a_name_never_leads_out_though_links_may(root: Path, disk: Path, name: str) -> None:
    with pytest.raises(DataError, match="No frame was read"):
        find_frame_paths(FrameFolders((root,), follow_links=True), [name])


def test_a_link_to_nothing_is_missing_and_looked_for_in_the_next_folder(root: Path, second: Path) -> None:
    (root / "video2").mkdir()
    (root / NAMES[2]).symlink_to("/nonexistent/1.jpg")
    followed = FrameFolders((root, second), follow_links=True)
    assert find_path(followed, NAMES[2]) == (second / NAMES[2]).resolve()
    (chunk,) = read_frames(NAMES[2:], FrameFolders((root,), follow_links=True), workers=1)
    assert [failure.reason for failure in chunk.failures] == ["missing"]
    with pytest.raises(DataError, match="symbolic link"):
        find_frame_paths(FrameFolders((root, second)), NAMES[2:])


def test_a_link_that_leads_to_itself_is_unreadable_when_followed(root: Path) -> None:
    (root / "video0/00099.jpg").symlink_to("00099.jpg")
    (chunk,) = read_frames(["video0/00099.jpg"], FrameFolders((root,), follow_links=True), workers=1)
    assert [failure.reason for failure in chunk.failures] == ["unreadable"]


def test_manifests_name_one_folder_by_its_path_and_several_in_a_list(root: Path, second: Path) -> None:
    assert FrameFolders((root,)).as_json() == str(root)
    assert FrameFolders((root, second)).as_json() == [str(root), str(second)]
