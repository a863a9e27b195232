"""A submission whose list's frames are in several folders, or on another disk."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from abawkit.errors import DataError, DataWarning
from abawkit.frames.paths import FrameFolders
from abawkit.submissions.workspace import digest_frames
from tests.submissions.conftest import Bench


@pytest.fixture
def two(release: Path, tmp_path: Path) -> FrameFolders:
    """The test frames in two folders, the second of which is links to another disk."""
    first, second, disk = (tmp_path / name for name in ("first", "second", "disk"))
    shutil.copytree(release / "test_data/cropped_aligned", first)
    second.mkdir()
    disk.mkdir()
    for video in sorted(first.iterdir())[::2]:
        video.rename(disk / video.name)
        (second / video.name).symlink_to(disk / video.name)
    return FrameFolders((first, second), follow_links=True)


def test_the_list_is_predicted_from_all_folders(bench: Bench, two: FrameFolders) -> None:
    bench.inputs = replace(bench.inputs, frames=two)
    bench.submit()
    calls = [call for call in bench.commands.calls if call[0] == "predict" and "--list" in call]
    assert calls
    for call in calls:
        assert [call[k + 1] for k, part in enumerate(call) if part == "--frames"] == [str(p) for p in two.folders]
        assert "--follow-links" in call


def test_links_are_not_followed_unasked(bench: Bench, two: FrameFolders) -> None:
    bench.inputs = replace(bench.inputs, frames=FrameFolders(two.folders))
    with pytest.raises(DataError, match="--follow-links"):
        bench.submit()
    assert bench.commands.calls == []


def test_an_image_of_two_folders_with_different_bytes_is_named_at_once(bench: Bench, two: FrameFolders) -> None:
    first, second = two.folders
    frame = sorted(first.rglob("*.jpg"))[0]
    name = frame.relative_to(first)
    shutil.copytree(frame.parent, second / name.parent)
    (second / name).write_bytes(frame.read_bytes() + b"\0")
    bench.inputs = replace(bench.inputs, frames=two)
    with pytest.warns(DataWarning, match=f"different bytes.*{name}"):
        bench.submit()


def test_the_digest_is_of_the_files_that_are_read(two: FrameFolders) -> None:
    first, second = two.folders
    frame = sorted(first.rglob("*.jpg"))[0]
    name = str(frame.relative_to(first))
    (second / name).parent.mkdir(exist_ok=True)
    shutil.copyfile(frame, second / name)
    (second / name).write_bytes(b"another")
    swapped = FrameFolders((second, first), follow_links=True)
    assert digest_frames(two, [name]) == digest_frames(first, [name])
    assert digest_frames(swapped, [name]) != digest_frames(two, [name])
