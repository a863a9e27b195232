"""Prediction from folders: without a list, from several, by links; pictures that are no crops, equal answers."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.formats.base import get_format
from abawkit.formats.editions import ABAW7
from abawkit.frames.paths import FrameFolders
from abawkit.inspection.submissions import inspect_submission
from abawkit.prediction.predict import predict
from abawkit.prediction.sources import ListedFrames, list_folder_frames
from abawkit.probabilities.members import read_probabilities

Frames = Callable[[Path, Path], ListedFrames]
PLUGIN = ABAW7()


def paint(folder: Path, *names: str, size: tuple[int, int] = (112, 112), shade: int = 60) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        Image.fromarray(np.full((size[1], size[0], 3), shade, np.uint8)).save(file, "JPEG")
        (folder / name).write_bytes(file.getvalue())
    return folder


def names_of(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*.jpg")]


def test_every_image_of_a_folder_is_a_row_in_natural_order(members: list[Path], root: Path, tmp_path: Path) -> None:
    source = list_folder_frames(root, PLUGIN)
    assert sorted(source.images) == sorted(names_of(root))
    result = predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")
    assert PLUGIN.read(result.submission).images.to_pylist() == source.images
    manifest = json.loads(result.manifest.read_text())
    assert "list" not in manifest["source"]
    assert manifest["source"]["frames"] == str(root)
    assert manifest["source"]["frame_counts"]["sizes"] == {"112x112": len(source.images)}
    assert inspect_submission(result.submission).problems == []


def test_an_answer_is_that_of_the_same_frame_in_a_list(
    members: list[Path], listed: ListedFrames, root: Path, tmp_path: Path
) -> None:
    free = predict(members[:1], list_folder_frames(root, PLUGIN), tmp_path / "a.txt", PLUGIN, device="cpu")
    bound = predict(members[:1], listed, tmp_path / "b.txt", PLUGIN, device="cpu")
    first, second = (read_probabilities(result.probabilities) for result in (free, bound))
    rows = [first.images.to_pylist().index(name) for name in listed.images]
    np.testing.assert_allclose(first.va[rows], second.va, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["abaw3-va", "abaw3-expr", "abaw3-au"])
def test_a_format_with_a_line_for_each_frame_of_a_video_needs_a_list(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"--format {name}: needs --list"):
        list_folder_frames(root, get_format(name))


def test_files_that_are_no_images_are_said_to_be_left_out(tmp_path: Path) -> None:
    paint(tmp_path, "v/1.jpg")
    (tmp_path / "v/landmarks.csv").touch()
    with pytest.warns(DataWarning, match="1 file is no image and is left out"):
        assert list_folder_frames(tmp_path, PLUGIN).images == ["v/1.jpg"]


def test_two_folders_are_searched_in_order_and_the_manifest_says_what_each_gave(
    members: list[Path], listed: ListedFrames, root: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(root, first)
    second.mkdir()
    video = sorted(path.name for path in first.iterdir())[0]
    (first / video).rename(second / video)
    source = ListedFrames(listed.path, FrameFolders((first, second)), listed.images)
    result = predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")
    whole = predict(members[:1], listed, tmp_path / "q.txt", PLUGIN, device="cpu")
    assert result.submission.read_bytes() == whole.submission.read_bytes()
    found = json.loads(result.manifest.read_text())["source"]
    assert found["frames"] == [str(first), str(second)]
    images = set(listed.images)
    moved = sum(image.startswith(f"{video}/") for image in images)
    assert found["frame_counts"]["folders"] == {str(first): len(images) - moved, str(second): moved}
    assert inspect_submission(result.submission).problems == []


def test_pictures_that_are_no_crops_are_refused_and_nothing_is_written(members: list[Path], tmp_path: Path) -> None:
    source = list_folder_frames(paint(tmp_path / "frames", "v/1.jpg", "v/2.jpg", size=(640, 360)), PLUGIN)
    with pytest.raises(DataError, match="2 of 2 frames are not aligned crops: 640 x 360 pixels"):
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_answers_that_are_all_equal_are_a_warning(members: list[Path], tmp_path: Path) -> None:
    source = list_folder_frames(paint(tmp_path / "frames", "v/1.jpg", "v/2.jpg", "w/1.jpg"), PLUGIN)
    with pytest.warns(DataWarning, match="all 3 answers are equal: the frames are blank"):
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")


def test_one_frame_alone_or_repeated_gives_no_warning(members: list[Path], frames: Frames, tmp_path: Path) -> None:
    folder = paint(tmp_path / "frames", "v/1.jpg")
    predict(members[:1], list_folder_frames(folder, PLUGIN), tmp_path / "p.txt", PLUGIN, device="cpu")
    (tmp_path / "MTL.txt").write_text("image\nv/1.jpg\nv/1.jpg\n")
    predict(members[:1], frames(tmp_path / "MTL.txt", folder), tmp_path / "q.txt", PLUGIN, device="cpu")


@pytest.mark.parametrize("missing", ["refuse", "neighbour"])
def test_frames_that_are_all_under_another_name_are_said_to_be_there(
    members: list[Path], listed: ListedFrames, frames: Frames, root: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(root, folder)
    for path in list(folder.rglob("*.jpg")):
        path.rename(path.with_suffix(".JPG"))
    assert listed.path
    source = frames(listed.path, folder)
    with pytest.raises(DataError) as caught:
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu", missing=missing)  # type: ignore[arg-type]
    assert f"none of {len(listed.images)} frames found in {folder}" in str(caught.value)
    assert re.search(r"(\S+) has (\d+)\.JPG, the list has \2\.jpg", str(caught.value))


def test_a_listed_link_that_leaves_is_refused_before_a_network_runs(
    members: list[Path], frames: Frames, tmp_path: Path
) -> None:
    paint(tmp_path / "disk", "1.jpg")
    paint(tmp_path / "frames", "w/1.jpg", shade=90)
    (tmp_path / "frames/v").symlink_to(tmp_path / "disk")
    (tmp_path / "MTL.txt").write_text("image\nv/1.jpg\nw/1.jpg\n")
    source = frames(tmp_path / "MTL.txt", tmp_path / "frames")
    with pytest.raises(DataError, match="--follow-links follows links to other disks"):
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")
    followed = ListedFrames(source.path, FrameFolders((tmp_path / "frames",), True), source.images)
    assert predict(members[:1], followed, tmp_path / "p.txt", PLUGIN, device="cpu").rows == 2
