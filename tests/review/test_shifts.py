"""Shifted annotations: a planted lag is found with its sign and an interval, and none where there is none."""

from collections.abc import Callable

import numpy as np
import pytest

from abawkit.review.shifted_videos import find_shifted_videos, list_shifted_rows
from abawkit.review.shifts import measure_shift
from abawkit.tables import Annotations, Array

Rows = Callable[..., Annotations]


def wander(n: int, rng: np.random.Generator, memory: float = 40.0) -> Array:
    """A slow process, standard normal, shape (n, 2)."""
    values, keep = rng.normal(size=(n, 2)), np.exp(-1 / memory)
    for i in range(1, n):
        values[i] = keep * values[i - 1] + np.sqrt(1 - keep**2) * values[i]
    return values


def film(late: int, seed: int, every: int = 5) -> tuple[Array, Array, Array]:
    """Frame numbers, labels that come late, and what a network says."""
    rng = np.random.default_rng(seed)
    shown, seen = wander(3000, rng), wander(3000, rng, 5.0)
    numbers = np.arange(400, 2600, every)
    return numbers, 0.3 * shown[numbers - late], 0.3 * (shown[numbers] + 0.7 * seen[numbers])


@pytest.mark.parametrize("late", [60, -45, 150])
def test_a_planted_lag_is_found_with_its_sign_and_interval(late: int) -> None:
    found = measure_shift(*film(late, seed=3))
    assert found is not None
    assert found.certain
    assert abs(found.lag - late) <= 10
    assert found.low - found.step <= late <= found.high + found.step
    assert found.after > found.before + 0.1


def test_an_annotation_in_time_is_left_alone() -> None:
    found = [measure_shift(*film(0, seed)) for seed in range(10)]
    assert all(one and not one.certain for one in found)


def test_a_network_that_knows_nothing_shifts_nothing() -> None:
    numbers, labels, _ = film(60, 0)
    said = wander(len(numbers), np.random.default_rng(9))
    found = measure_shift(numbers, labels, said)
    assert found is not None
    assert not found.certain


def test_short_videos_and_constant_labels_say_nothing() -> None:
    numbers, labels, said = film(60, 0)
    assert measure_shift(numbers[:30], labels[:30], said[:30]) is None
    assert measure_shift(numbers, np.zeros_like(labels), said) is None


def test_only_the_rows_of_the_shifted_video_are_listed_whatever_their_order(rows: Rows) -> None:
    parts = {"late": film(60, 3), "right": film(0, 4)}
    images = [f"{video}/{number:05d}.jpg" for video, (numbers, *_) in parts.items() for number in numbers]
    labels = np.clip(np.concatenate([part[1] for part in parts.values()]), -1, 1)
    said = np.concatenate([part[2] for part in parts.values()])
    order = np.random.default_rng(0).permutation(len(images))
    table = rows([images[i] for i in order], va=labels[order])
    (found,) = find_shifted_videos(table, {"va": [said[order]], "au": [np.zeros((len(order), 12))]})
    assert (found.video, found.task) == ("late", "va")
    listed = list_shifted_rows(table, [found])
    assert sorted(one.row for one in listed) == [
        i for i, image in enumerate(table.images.to_pylist()) if "late" in image
    ]
    assert listed[0].suggestion == f"{found.shift.lag} frames earlier"
    assert listed[0].label.startswith("valence=")
    assert f"{found.shift.lag} frames too late (95 % interval" in listed[0].detail


def test_names_without_numbers_have_no_time(rows: Rows) -> None:
    table = rows(["v/face.jpg", "v/other.jpg"], va=np.zeros((2, 2)))
    assert find_shifted_videos(table, {"va": [np.zeros((2, 2))]}) == []
