"""Frames that can't be had: refused by name, or answered as the nearest frame of the same video."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.errors import DataError
from abawkit.formats.editions import ABAW7
from abawkit.models.inference import Probabilities
from abawkit.prediction.predict import fill_from_neighbours, predict
from abawkit.prediction.sources import ListedFrames
from abawkit.probabilities.members import read_probabilities

Frames = Callable[[Path, Path], ListedFrames]


def answers(rows: int) -> Probabilities:
    """Each row's answer is its number."""
    numbers = np.arange(rows, dtype=np.float32)[:, None]
    return Probabilities(*(np.repeat(numbers, width, axis=1) for width in (2, 8, 12)))


@pytest.mark.parametrize(
    ("images", "missing", "expected"),
    [
        (["v/00001.jpg", "v/00010.jpg", "v/00012.jpg"], [1], {1: 2}),
        (["v/00001.jpg", "v/00009.jpg", "v/00010.jpg", "v/00100.jpg"], [1, 2], {1: 0, 2: 0}),
        (["v/00001.jpg", "v/00003.jpg", "v/00005.jpg"], [1], {1: 0}),  # equally near: the earlier frame
        (["v/00005.jpg", "v/00003.jpg", "v/00001.jpg"], [1], {1: 2}),  # frame numbers count, not places in the list
        (["a/00001.jpg", "b/00002.jpg", "a/00900.jpg"], [0], {0: 2}),  # never another video, however near
        (["a/b/00001.jpg", "a/00002.jpg", "a/b/00900.jpg"], [0], {0: 2}),
        (["v/00001.jpg", "v/00002.jpg", "v/00001.jpg"], [2], {2: 0}),
        (["v/00002.jpg", "v/00010.jpg", "v/00009.jpg"], [2], {2: 1}),  # 9 is nearer to 10: numbers, not text
        (["v_left/00001.jpg", "v/00002.jpg", "v/00003.jpg"], [1], {1: 2}),
        (["v/00001.jpg", "v/00002.jpg"], [], {}),
    ],
)
def test_the_nearest_frame_number_of_the_same_video_answers(
    images: list[str], missing: list[int], expected: dict[int, int]
) -> None:
    probabilities = answers(len(images))
    seen = np.ones(len(images), dtype=bool)
    seen[missing] = False
    assert fill_from_neighbours(probabilities, seen, images) == expected
    wanted = [expected.get(row, row) for row in range(len(images))]
    assert all(column[:, 0].tolist() == wanted for column in probabilities)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["a/00001.jpg", "b/00001.jpg"], "a/00001.jpg: no frame of its video can be read"),
        (["a/cover.jpg", "a/00001.jpg"], "a/cover.jpg: has no frame number"),
    ],
)
def test_a_frame_without_a_neighbour_is_refused(images: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fill_from_neighbours(answers(2), np.array([False, True]), images)


@pytest.fixture
def broken(listed: ListedFrames, root: Path, frames: Frames, tmp_path: Path) -> tuple[ListedFrames, int, int]:
    """The list over a folder that lacks one frame and holds another that is cut short; with their rows."""
    folder = tmp_path / "frames"
    shutil.copytree(root, folder)
    lost, cut = 3, 5
    (folder / listed.images[lost]).unlink()
    content = (folder / listed.images[cut]).read_bytes()
    (folder / listed.images[cut]).write_bytes(content[:40])
    assert listed.images.count(listed.images[lost]) == listed.images.count(listed.images[cut]) == 1
    assert listed.path
    return frames(listed.path, folder), lost, cut


def test_a_missing_frame_is_refused_by_name_before_any_network_runs(
    members: list[Path],
    broken: tuple[ListedFrames, int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, lost, _ = broken

    def never(*_: object) -> None:
        raise AssertionError("a network ran")

    monkeypatch.setattr("abawkit.prediction.networks.infer", never)
    with pytest.raises(DataError, match=rf"row {lost + 1}: {source.images[lost]}: missing") as refusal:
        predict(members[:1], source, tmp_path / "p.txt", ABAW7(), device="cpu")
    assert "--missing neighbour" in str(refusal.value)


def test_an_unreadable_frame_is_refused_by_name(
    members: list[Path], broken: tuple[ListedFrames, int, int], root: Path, tmp_path: Path
) -> None:
    source, lost, cut = broken
    assert isinstance(source.root, Path)
    shutil.copyfile(root / source.images[lost], source.root / source.images[lost])
    with pytest.raises(DataError, match=rf"row {cut + 1}: {source.images[cut]}: unreadable"):
        predict(members[:1], source, tmp_path / "p.txt", ABAW7(), device="cpu")


def test_neighbours_answer_and_the_manifest_says_for_which_rows(
    members: list[Path], broken: tuple[ListedFrames, int, int], tmp_path: Path
) -> None:
    source, lost, cut = broken
    result = predict(members[:1], source, tmp_path / "p.txt", ABAW7(), missing="neighbour", device="cpu")
    filled = {entry["row"] - 1: entry for entry in json.loads(result.manifest.read_text())["filled"]}
    assert set(filled) == set(result.filled) == {lost, cut}
    found = read_probabilities(result.probabilities)
    assert found.images.to_pylist() == source.images
    for row, other in result.filled.items():
        assert filled[row]["image"] == source.images[row]
        assert filled[row]["from"] == source.images[other]
        assert source.images[other].rpartition("/")[0] == source.images[row].rpartition("/")[0]
        assert np.array_equal(found.au[row], found.au[other])
        assert np.array_equal(found.va[row], found.va[other])


def test_the_other_rows_are_as_if_no_frame_were_missing(
    members: list[Path], broken: tuple[ListedFrames, int, int], listed: ListedFrames, tmp_path: Path
) -> None:
    source, *gone = broken
    filled = predict(members[:1], source, tmp_path / "a.txt", ABAW7(), missing="neighbour", device="cpu")
    whole = predict(members[:1], listed, tmp_path / "b.txt", ABAW7(), device="cpu")
    rest = np.setdiff1d(np.arange(len(listed.images)), gone)
    pair = [read_probabilities(result.probabilities).select(rest) for result in (filled, whole)]
    np.testing.assert_allclose(pair[0].va, pair[1].va, rtol=0, atol=1e-5)
    np.testing.assert_allclose(pair[0].expression, pair[1].expression, rtol=0, atol=1e-5)
