"""The drawing: action units move what they should, and a frame depends on its own arguments alone."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from abawkit.synth import contact_sheet
from abawkit.synth.action_units import UNITS
from abawkit.synth.face.eyes import Gaze
from abawkit.synth.face.face import Face
from abawkit.synth.people import make_person
from abawkit.synth.rates import SynthSplit
from abawkit.synth.rendering import VideoRenderer

BARE = next(
    video
    for video in range(100)
    if (p := make_person(0, "train", video)).glasses == "none" and p.beard == "none" and p.hair in ("bald", "parted")
)
REST = np.zeros(len(UNITS))


def only(*units: str, intensity: float = 1.0) -> NDArray[np.float64]:
    return np.array([intensity if unit in units else 0.0 for unit in UNITS])


def pixels(intensity: NDArray[np.float64], video: int = BARE) -> NDArray[np.float64]:
    image = VideoRenderer(0, "train", video, 0.0).image(1, intensity)
    return np.asarray(image, dtype=np.float64)


def change(intensity: NDArray[np.float64], top: int, bottom: int) -> float:
    """Largest change of a grey level against the face at rest, in the rows from `top` to before `bottom`."""
    return float(np.abs(pixels(intensity) - pixels(REST))[top:bottom].max())


@pytest.mark.parametrize(
    ("unit", "moved", "still"),
    [
        ("AU1", (20, 48), (56, 112)),
        ("AU2", (20, 48), (56, 112)),
        ("AU4", (32, 50), (56, 112)),
        ("AU5", (44, 54), (62, 112)),
        ("AU6", (50, 80), (84, 112)),
        ("AU7", (45, 60), (64, 112)),
        ("AU9", (50, 80), (0, 36)),
        ("AU10", (72, 96), (0, 60)),
        ("AU12", (72, 104), (0, 60)),
        ("AU15", (84, 108), (0, 60)),
        ("AU17", (86, 112), (0, 60)),
        ("AU20", (84, 104), (0, 60)),
        ("AU23", (82, 104), (0, 60)),
        ("AU24", (82, 104), (0, 60)),
        ("AU25", (84, 104), (0, 60)),
        ("AU26", (84, 112), (0, 60)),
        ("AU43", (45, 56), (64, 112)),
    ],
)
def test_a_unit_moves_its_part_of_the_face_and_no_other(
    unit: str, moved: tuple[int, int], still: tuple[int, int]
) -> None:
    assert change(only(unit), *moved) > 20
    assert change(only(unit), *still) == 0


@pytest.mark.parametrize("unit", UNITS)
def test_more_intensity_shows_more(unit: str) -> None:
    difference = [np.abs(pixels(only(unit, intensity=x)) - pixels(REST)).mean() for x in (0.35, 0.7, 1.0)]
    assert 0 < difference[0] < difference[1] < difference[2]


def test_jaw_drop_widens_the_gap_of_parted_lips_only() -> None:
    def dark_or_teeth(intensity: NDArray[np.float64]) -> int:
        face = np.abs(pixels(intensity) - pixels(REST)).max(axis=2)
        return int((face[86:104, 48:64] > 60).sum())

    parted, wide, closed = (dark_or_teeth(only(*units)) for units in (("AU25",), ("AU25", "AU26"), ("AU26",)))
    assert wide > 1.5 * parted > 1.5 * closed


def test_eyes_are_where_aligned_crops_have_them() -> None:
    open_eyes = Face(make_person(0, "train", BARE)).draw(REST)
    shut = Face(make_person(0, "train", BARE)).draw(REST, gaze=Gaze(blink=1.0))
    differs = np.abs(np.asarray(open_eyes, dtype=float) - np.asarray(shut, dtype=float)).sum(axis=2) > 90
    rows, columns = np.nonzero(differs)
    x, y = columns / 2 - 14, rows / 2 - 14
    assert x[x < 56].mean() == pytest.approx(38.5, abs=1.5)
    assert x[x > 56].mean() == pytest.approx(73.5, abs=1.5)
    assert y.mean() == pytest.approx(51.5, abs=2.0)


def test_a_frame_does_not_depend_on_what_was_drawn_before() -> None:
    first = VideoRenderer(7, "test", 2, 1.0)
    for frame in (5, 6, 90):
        first.jpeg(frame, only("AU12"))
    assert first.jpeg(8, only("AU4")) == VideoRenderer(7, "test", 2, 1.0).jpeg(8, only("AU4"))


def test_seed_split_video_and_frame_each_matter() -> None:
    keys: list[tuple[int, SynthSplit, int, int]] = [
        (0, "train", 0, 1),
        (1, "train", 0, 1),
        (0, "test", 0, 1),
        (0, "train", 1, 1),
        (0, "train", 0, 2),
    ]
    drawn = {VideoRenderer(seed, split, video, 0.45).jpeg(frame, REST) for seed, split, video, frame in keys}
    assert len(drawn) == 5


def test_neighbouring_frames_are_held_alike() -> None:
    renderer = VideoRenderer(0, "train", BARE, 0.3)
    a, near, far = (np.asarray(renderer.image(n, REST), dtype=float) for n in (100, 101, 400))
    assert np.abs(a - near).mean() < np.abs(a - far).mean()


def test_frames_are_colour_jpegs_of_the_crops_size() -> None:
    for video in range(12):
        with Image.open(io.BytesIO(VideoRenderer(0, "validation", video, 1.0).jpeg(3, only("AU12", "AU25")))) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (112, 112))
            assert np.asarray(image).std() > 8, "something can be seen"


def test_contact_sheet_has_a_row_a_person_and_a_column_an_expression() -> None:
    sheet = contact_sheet(people=2)
    assert sheet.size == (896, 224)
    assert sheet.tobytes() == contact_sheet(people=2).tobytes()
    cells = np.asarray(sheet).reshape(2, 112, 8, 112, 3).transpose(0, 2, 1, 3, 4).reshape(16, -1)
    assert len(np.unique(cells, axis=0)) == 16
