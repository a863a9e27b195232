import os
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.frames.paths import find_frame_paths
from abawkit.frames.reader import read_frames
from tests.frames.conftest import find_path


def test_a_name_is_a_path_below_the_root(root: Path) -> None:
    assert find_path(root, "video0/00001.jpg") == root.resolve() / "video0" / "00001.jpg"


def test_paths_come_in_the_order_of_names_repeats_kept(root: Path) -> None:
    names = ["video1/00008.jpg", "video0/00001.jpg", "video1/00008.jpg"]
    assert find_frame_paths(root, names) == [str(root.resolve() / name) for name in names]


def test_a_file_that_does_not_exist_has_a_path_too(root: Path) -> None:
    assert not find_path(root, "video7/00001.jpg").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "video0/../../x.jpg",
        "video0/../video1/00001.jpg",
        "/etc/x.jpg",
        "//x/y.jpg",
        "C:\\frames\\x.jpg",
        "C:/frames/x.jpg",
        "video0\\00001.jpg",
        "..\\x.jpg",
        "video0//00001.jpg",
        "./video0/00001.jpg",
        "video0/./00001.jpg",
        "video0/00001.jpg/",
        "video0/00001\0.jpg",
        "video0/00001\n.jpg",
        "",
        ".",
        "..",
    ],
)
def test_a_name_that_could_lead_out_is_refused_before_a_file_is_opened(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda path, *_, **__: opened.append(path))
    with pytest.raises(DataError, match="No frame was read"):
        read_frames(["video0/00001.jpg", name], root, workers=1)
    assert not opened


def test_a_file_link_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"")
    (root / "video0" / "00099.jpg").symlink_to("../../secret.jpg")
    with pytest.raises(DataError, match=r"'video0/00099\.jpg': got a symbolic link that leaves"):
        find_frame_paths(root, ["video0/00001.jpg", "video0/00099.jpg"])


def test_a_folder_link_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "video9").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="symbolic link"):
        find_path(root, "video9/00001.jpg")


def test_a_link_to_a_folder_whose_name_begins_like_the_root_is_refused(root: Path) -> None:
    sibling = root.with_name(root.name + "_private")
    sibling.mkdir()
    (root / "video9").symlink_to(sibling)
    with pytest.raises(DataError, match="symbolic link"):
        find_path(root, "video9/00001.jpg")


def test_a_dangling_link_out_of_the_root_is_refused(root: Path) -> None:
    (root / "video0" / "00099.jpg").symlink_to("/nonexistent/x.jpg")
    with pytest.raises(DataError, match="symbolic link"):
        find_path(root, "video0/00099.jpg")


def test_links_within_the_root_and_a_linked_root_are_fine(root: Path, tmp_path: Path) -> None:
    (root / "video0" / "00099.jpg").symlink_to("../video1/00001.jpg")
    (root / "video9").symlink_to(root / "video1")
    link = tmp_path / "link"
    link.symlink_to(root)
    (failures,) = (chunk.failures for chunk in read_frames(["video0/00099.jpg", "video9/00001.jpg"], link, workers=1))
    assert not failures


def test_a_link_that_leads_to_itself_is_unreadable_not_a_crash(root: Path) -> None:
    (root / "video0" / "00099.jpg").symlink_to("00099.jpg")
    (chunk,) = read_frames(["video0/00099.jpg"], root, workers=1)
    assert [failure.reason for failure in chunk.failures] == ["unreadable"]


def test_twenty_refusals_are_shown_and_the_rest_counted(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_frame_paths(root, [f"../{k}.jpg" for k in range(25)])
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[20] == "... and 5 more names"


def test_a_name_that_would_move_the_cursor_is_escaped(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_path(root, "../\x1b[2J\u202ex.jpg")
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "a file"])
def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "frames"
    if kind == "a file":
        path.write_bytes(b"")
    with pytest.raises(DataError, match="does not exist" if kind == "absent" else "is a file"):
        find_frame_paths(path, [])
