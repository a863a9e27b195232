"""Folds of whole videos, and predictions of which no row has seen its own video."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.errors import DataError
from abawkit.tables import Array, Predictions
from abawkit.tuning.folds import cross_fit, iterate_folds, make_video_folds


def images_of(rows_of: list[int]) -> pa.StringArray:
    """Videos of these numbers of rows, their rows mixed among each other, every seventh row a repeat."""
    names = [f"video{v}/{row - (row % 7 == 6):05d}.jpg" for v, rows in enumerate(rows_of) for row in range(rows)]
    order = np.random.default_rng(sum(rows_of)).permutation(len(names))
    return pa.array([names[i] for i in order], pa.string())


def videos_in(images: pa.StringArray, rows: Array) -> set[str]:
    return {name.rpartition("/")[0] for name, chosen in zip(images.to_pylist(), rows, strict=True) if chosen}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=4, max_size=30), st.integers(2, 8), st.integers(0, 99))
def test_folds_are_whole_videos_two_at_least_and_differ_by_no_more_than_the_largest(
    rows_of: list[int], count: int, seed: int
) -> None:
    images = images_of(rows_of)
    folds = make_video_folds(images, count, seed)
    number = min(count, len(rows_of) // 2)
    assert sorted(set(folds.tolist())) == list(range(number))
    videos = [videos_in(images, folds == fold) for fold in range(number)]
    assert sum(map(len, videos)) == len(set().union(*videos)) == len(rows_of)
    assert min(map(len, videos)) >= 2
    sizes = np.bincount(folds)
    if min(map(len, videos)) > 2:  # no fold was filled up for the sake of its second video
        assert sizes.max() - sizes.min() <= max(rows_of)


def test_folds_of_many_videos_are_about_equal() -> None:
    rows_of = np.random.default_rng(0).integers(100, 1000, 50).tolist()
    sizes = np.bincount(make_video_folds(images_of(rows_of), 5))
    assert sizes.max() / sizes.min() < 1.1


def test_folds_do_not_depend_on_the_order_of_rows() -> None:
    images = images_of([9, 30, 4, 17, 22, 8, 11])
    order = np.random.default_rng(5).permutation(len(images))
    assert make_video_folds(images, 3)[order].tolist() == make_video_folds(images.take(pa.array(order)), 3).tolist()


def test_folds_are_those_of_their_seed() -> None:
    images = images_of([20] * 12)
    same, other = make_video_folds(images, 3, seed=1), make_video_folds(images, 3, seed=2)
    assert same.tolist() == make_video_folds(images, 3, seed=1).tolist() != other.tolist()


def test_folds_are_balanced_in_the_rows_that_count() -> None:
    rows_of = [50] * 8
    images = images_of(rows_of)
    number = np.array([int(name[5]) for name in images.to_pylist()])
    scored = number < 4  # half of the videos have no annotation: each fold needs two that have
    folds = make_video_folds(images, 5, scored=scored)
    assert [len(videos_in(images, (folds == fold) & scored)) for fold in range(2)] == [2, 2]
    assert set(folds.tolist()) == {0, 1}


def test_a_giant_video_does_not_stay_alone() -> None:
    images = images_of([500, 1, 1, 1])
    folds = make_video_folds(images)
    assert [len(videos_in(images, folds == fold)) for fold in range(2)] == [2, 2]


@pytest.mark.parametrize("videos", [0, 1, 3])
def test_too_few_videos_for_two_folds_are_an_error(videos: int) -> None:
    with pytest.raises(DataError, match=rf"found {videos} videos? with annotated rows, expected at least 4"):
        make_video_folds(images_of([5] * videos))


def test_nothing_of_a_video_is_on_both_sides_repeats_included() -> None:
    images = images_of([9, 30, 4, 17, 22, 8, 11])
    folds = make_video_folds(images, 3)
    decided_in_all = np.zeros(len(images), dtype=int)
    for fitted_on, decided in iterate_folds(images, folds):
        assert not videos_in(images, fitted_on) & videos_in(images, decided)
        assert (fitted_on ^ decided).all()
        decided_in_all += decided
    assert (decided_in_all == 1).all()


def test_folds_that_cut_a_video_are_refused() -> None:
    images = images_of([6, 6, 6, 6])
    folds = make_video_folds(images)
    folds[images.to_pylist().index("video2/00000.jpg")] ^= 1
    with pytest.raises(ValueError, match="rows of video2 are in more than one fold"):
        list(iterate_folds(images, folds))


def test_each_row_comes_from_what_was_fitted_without_its_video() -> None:
    images = images_of([9, 30, 4, 17, 22, 8, 11])
    folds = make_video_folds(images, 3)
    fitted_without: list[set[str]] = []

    def predict(rows: Array) -> Predictions:
        fitted_without.append(videos_in(images, ~rows))
        n, mark = len(images), np.float32(len(fitted_without) / 10)
        return Predictions(
            images, *(np.full((n, c), value, np.float32) for c, value in ((2, mark), (8, 1 / 8), (12, mark)))
        )

    found = cross_fit(images, folds, predict)
    assert len(fitted_without) == 3
    for row, image in enumerate(images.to_pylist()):
        made_by = round(float(found.va[row, 0]) * 10) - 1
        assert image.rpartition("/")[0] in fitted_without[made_by]
        assert (found.va[row, 1], found.au[row, 11]) == (found.va[row, 0], found.va[row, 0])
