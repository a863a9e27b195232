"""Nearly equal frames: neighbours and crops that occur again, and their labels."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abawkit.curation import open_curated
from abawkit.frames.packed import PackedFrames
from abawkit.labels import TASKS
from abawkit.review.duplicate_labels import find_different_labels
from abawkit.review.near_duplicates import SimilarRows, find_similar_rows, hash_thumbnails, make_thumbnails
from abawkit.tables import Annotations, Array

Rows = Callable[..., Annotations]


@pytest.fixture
def faces(curated: Path) -> PackedFrames:
    return open_curated(curated).open_frames()


class Store:
    """Packed frames that are in memory."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels

    def take(self, indices: Array) -> Array:
        return self.pixels[indices]


def find(rows: Annotations, pixels: Array, frames: Array | None = None) -> list[tuple[int, int]]:
    found = find_similar_rows(rows, np.arange(len(rows)) if frames is None else frames, Store(pixels))  # type: ignore[arg-type]
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


def encode_again(pixels: Array, quality: int) -> Array:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_a_thumbnail_is_the_mean_of_grey_and_its_hash_compares_neighbours() -> None:
    pixels = np.zeros((1, 112, 112, 3), np.uint8)
    pixels[0, :4, :4] = [100, 200, 50]
    thumbnail = make_thumbnails(pixels)
    assert thumbnail.shape == (1, 28, 28)
    assert thumbnail[0, 0, 0] == round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)
    assert thumbnail[0].sum() == thumbnail[0, 0, 0]
    rising = np.tile(np.arange(28, dtype=np.uint8), (1, 28, 1))
    assert hash_thumbnails(rising)[0] == (1 << 52) - 1
    assert hash_thumbnails(rising[:, :, ::-1])[0] == 0


def test_neighbours_that_were_encoded_again_are_found_and_other_faces_are_not(rows: Rows, faces: PackedFrames) -> None:
    kept = np.flatnonzero(np.ones(min(len(faces), 40), bool))
    pixels = np.array(faces.take(kept))
    again = encode_again(pixels[5], 75)
    stack = np.concatenate([pixels, again[None]])
    names = [f"v/{10 * i:05d}.jpg" for i in range(len(pixels))]
    assert find(rows([*names, "v/00051.jpg"]), stack) == [(5, len(pixels))]


def test_a_crop_that_occurs_again_in_another_video_is_found(rows: Rows, faces: PackedFrames) -> None:
    pixels = np.array(faces.take(np.array([0, 20, 0])))
    assert find(rows(["a/00001.jpg", "a/00002.jpg", "b/00009.jpg"]), pixels) == [(0, 2)]


def test_a_mouth_that_opens_is_another_picture(rows: Rows, faces: PackedFrames) -> None:
    pixels = np.array(faces.take(np.array([0, 0])))
    pixels[1, 88:96, 50:62] = 0
    assert find(rows(["a/00001.jpg", "a/00002.jpg"]), pixels) == []


def test_rows_of_one_image_are_equal_and_rows_without_a_frame_are_left_out(rows: Rows, faces: PackedFrames) -> None:
    names = ["a/00001.jpg", "a/00001.jpg", "a/00002.jpg"]
    assert find(rows(names), np.array(faces.take(np.array([0, 20]))), np.array([0, 0, -1])) == [(0, 1)]
    assert find(rows(names[:1]), np.array(faces.take(np.array([0])))) == []


def test_names_without_numbers_are_compared_in_the_order_of_the_list(rows: Rows, faces: PackedFrames) -> None:
    pixels = np.array(faces.take(np.array([0, 20, 0])))
    pixels[2, :2, :2] += 1
    assert find(rows(["a/x.jpg", "b/y.jpg", "a/z.jpg"]), pixels) == [(0, 2)]


def test_labels_that_differ_are_listed_for_both_rows(rows: Rows) -> None:
    images = [f"v/{i:05d}.jpg" for i in range(4)]
    va, au = np.array([[0.1, 0], [0.5, 0], [0.5, 0], [0.5, 0.1]]), np.zeros((4, 12), np.int8)
    au[1, [0, 11]] = 1
    table = rows(images, va=va, au=au, expression=np.array([3, 6, 6, 6], np.int8))
    pairs = SimilarRows(np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0.0, 0.75, 0.3]))
    found = {(one.row, one.task): one for one in find_different_labels(table, pairs, ("va", "expression", "au"))}
    assert sorted(found) == [
        (0, "au"),
        (0, "expression"),
        (0, "va"),
        (1, "au"),
        (1, "expression"),
        (1, "va"),
        (2, "au"),
    ]
    assert (found[0, "va"].label, found[0, "va"].suggestion) == ("valence=0.1", "valence=0.5")
    assert (found[1, "expression"].label, found[1, "expression"].suggestion) == (
        "expression=Surprise",
        "expression=Fear",
    )
    assert found[2, "au"].label == "AU1=0 AU26=0"
    assert [found[row, "au"].strength for row in (0, 1, 2)] == [1.0, 1.0, 0.5]
    assert found[1, "au"].detail.startswith("as v/00000.jpg, line 2;")


def test_a_task_that_one_of_them_is_not_annotated_with_does_not_differ(rows: Rows) -> None:
    table = rows(["v/1.jpg", "v/2.jpg"], expression=np.array([3, 0], np.int8), expression_valid=np.array([True, False]))
    pair = SimilarRows(np.array([0]), np.array([1]), np.array([0.0]))
    assert find_different_labels(table, pair, TASKS) == []
