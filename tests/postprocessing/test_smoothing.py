"""Smoothing within a video over the distance between frames: against a loop in plain Python, and what must hold."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.errors import ConfigError, DataError
from abawkit.frame_columns import Timeline, read_frame_numbers
from abawkit.frame_names import parse_frame_number
from abawkit.labels import TASKS, Task
from abawkit.postprocessing import smoothing as windows
from abawkit.postprocessing.smoothing import (
    PUBLISHED_SMOOTHING,
    Smoothing,
    apply_smoothing,
    parse_smoothing,
    smooth_predictions,
)
from abawkit.tables import Array, Predictions

FINEST = 1.2e-7
"""Relative spacing of float32, in which results are given."""


def slow(values: Array, images: Sequence[str], how: Smoothing) -> Array:
    """The definition, frame by frame, in float64."""
    videos: dict[str, dict[int, list[int]]] = {}
    for row, image in enumerate(images):
        video, _, name = image.rpartition("/")
        videos.setdefault(video, {}).setdefault(int(name.partition(".")[0]), []).append(row)
    result = np.zeros(values.shape)
    for frames in videos.values():
        numbers = sorted(frames)
        means = [values[frames[number]].astype(np.float64).mean(axis=0) for number in numbers]
        for i, number in enumerate(numbers):
            window = range(max(0, i - how.radius), min(len(numbers), i + how.radius + 1))
            if how.kind == "median":
                result[frames[number]] = np.median([means[j] for j in window], axis=0)
            else:
                weights = [np.exp(-(float(numbers[j] - number) ** 2) / how.scale) for j in window]
                total = sum(weight * means[j] for weight, j in zip(weights, window, strict=True))
                result[frames[number]] = total / sum(weights)
    return result


def smooth(values: Array, images: Sequence[str], how: Smoothing) -> Array:
    return apply_smoothing(values, Timeline.of(pa.array(images, pa.string())), how)


def names(video: str, numbers: Sequence[int]) -> list[str]:
    return [f"{video}/{number:05d}.jpg" for number in numbers]


def draw(images: Sequence[str], seed: int = 0, columns: int = 3) -> Array:
    return np.random.default_rng(seed).standard_normal((len(images), columns), dtype=np.float32)


LISTS = {
    "no row": [],
    "one row": names("v", [7]),
    "one row, twice": names("v", [7, 7]),
    "sparse frames": names("v", [1, 8, 17, 21, 77, 78, 79, 300, 302]),
    "unsorted frames": names("v", [300, 8, 1, 79, 21, 77, 17, 302, 78]),
    "a frame named three times": names("v", [1, 8, 8, 17, 8, 21, 21, 77]),
    "interleaved videos": [f"{'ab'[k % 2]}/{k:05d}.jpg" for k in range(1, 60, 3)],
    "videos of one frame": [name for k in range(5) for name in names(f"v{k}", [k])],
    "a long video among short ones": names("a", [1]) + names("b", range(2, 200, 3)) + names("c", [1, 2]),
    "huge gaps": names("v", [0, 1, 999_999_999_999_999_998, 999_999_999_999_999_999]),
    "a video that is the beginning of another's name": names("v", [1, 2, 3]) + names("v_left", [2, 3, 4]),
    "a video within a folder of a video": names("v", [1, 2]) + names("v/w", [1, 3]),
}
GAUSSIANS = [(0, 5.0), (1, 1e-300), (2, 30.0), (10, 1e5), (400, 1e10)]
HOWS = [Smoothing("gaussian", *pair) for pair in GAUSSIANS] + [Smoothing("median", r) for r in (0, 1, 2, 5, 400)]


@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize("images", LISTS.values(), ids=LISTS)
def test_smoothing_is_what_the_plain_loop_says(images: list[str], how: Smoothing) -> None:
    values = draw(images)
    found = smooth(values, images, how)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow(values, images, how), rtol=0, atol=3e-7)


@pytest.mark.parametrize("how", [Smoothing("gaussian", 7, 900.0), Smoothing("median", 3)], ids=str)
def test_a_list_that_is_worked_on_in_pieces_is_smoothed_as_a_whole(
    how: Smoothing, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.cumsum(np.random.default_rng(0).integers(0, 12, 700))  # with repeats
    images = [image for video in "abc" for image in names(video, numbers.tolist())]
    values = draw(images)
    expected = slow(values, images, how)
    np.testing.assert_allclose(smooth(values, images, how), expected, rtol=0, atol=5e-7)
    for name in ("_WEIGHTS", "_ELEMENTS"):
        monkeypatch.setattr(windows, name, 2000)
    np.testing.assert_allclose(smooth(values, images, how), expected, rtol=0, atol=5e-7)


images_lists = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), min_size=1, max_size=70).map(
    lambda rows: [f"{video}/{number:03d}.jpg" for video, number in rows]
)
hows = st.one_of(
    st.builds(Smoothing, st.just("gaussian"), st.integers(0, 20), st.floats(1e-6, 1e10)),
    st.builds(Smoothing, st.just("median"), st.integers(0, 20)),
)


@settings(max_examples=60, deadline=None)
@given(images_lists, hows, st.integers(0, 2**32 - 1))
def test_any_list_is_smoothed_as_the_plain_loop_does(images: list[str], how: Smoothing, seed: int) -> None:
    values = draw(images, seed)
    np.testing.assert_allclose(smooth(values, images, how), slow(values, images, how), rtol=0, atol=5e-7)


@settings(max_examples=30, deadline=None)
@given(images_lists, hows, st.floats(-1, 1, width=32))
def test_smoothing_a_constant_changes_nothing(images: list[str], how: Smoothing, constant: float) -> None:
    values = np.full((len(images), 2), constant, dtype=np.float32)
    assert np.array_equal(smooth(values, images, how), values)


@settings(max_examples=30, deadline=None)
@given(images_lists, hows, st.integers(0, 2**32 - 1))
def test_smoothing_commutes_with_reversing_time(images: list[str], how: Smoothing, seed: int) -> None:
    def reversed_in_time(image: str) -> str:
        video, _, name = image.rpartition("/")
        return f"{video}/{100 - int(name[:3]):03d}.jpg"

    values = draw(images, seed)
    forwards, backwards = smooth(values, images, how), smooth(values, [reversed_in_time(i) for i in images], how)
    np.testing.assert_allclose(forwards, backwards, rtol=FINEST, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(images_lists, hows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_leaves_no_trace(images: list[str], how: Smoothing, random: Random) -> None:
    order = list(range(len(images)))
    random.shuffle(order)
    values = draw(images)
    moved = smooth(values[order], [images[row] for row in order], how)
    np.testing.assert_allclose(moved, smooth(values, images, how)[order], rtol=FINEST, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(images_lists, hows)
def test_values_stay_within_the_range_of_their_video(images: list[str], how: Smoothing) -> None:
    values = draw(images)
    found = smooth(values, images, how)
    videos = np.array([image[0] for image in images])
    for video in np.unique(videos):
        rows = videos == video
        assert (found[rows] >= values[rows].min(axis=0)).all()
        assert (found[rows] <= values[rows].max(axis=0)).all()


@settings(max_examples=30, deadline=None)
@given(images_lists, hows)
def test_no_bit_of_one_video_depends_on_the_values_of_another(images: list[str], how: Smoothing) -> None:
    others = np.array([not image.startswith("a/") for image in images])
    values = draw(images)
    changed = np.where(others[:, None], values, values * np.float32(-1e30))
    assert np.array_equal(smooth(values, images, how)[others], smooth(changed, images, how)[others])


@settings(max_examples=30, deadline=None)
@given(images_lists, hows)
def test_rows_that_repeat_a_frame_get_one_value_and_count_once(images: list[str], how: Smoothing) -> None:
    numbers = np.random.default_rng(3).standard_normal((3, 64, 2), dtype=np.float32)  # a value for each frame
    values = np.stack([numbers["abc".index(image[0]), int(image[2:5])] for image in images])
    once = sorted(set(images))
    found = smooth(values, images, how)
    alone = smooth(np.stack([values[images.index(image)] for image in once]), once, how)
    assert np.array_equal(found, alone[[once.index(image) for image in images]])


def participants(
    numbers: Sequence[int], values: Array, weight: Callable[[int, int], float], window: Callable[[int], range]
) -> Array:
    """A loop as participants write it, over the rows of a list that is sorted and has no repeats."""
    result = np.zeros_like(values)
    for i in range(len(numbers)):
        rows = [j for j in window(i) if 0 <= j < len(numbers)]
        weights = [weight(i, j) for j in rows]
        result[i] = sum(w * values[j] for w, j in zip(weights, rows, strict=True)) / sum(weights)
    return result


RADIUS, SCALE = 3, 200.0
NUMBERS = [1, 8, 17, 21, 77, 78, 80, 81, 95, 96, 130, 131]


def over_distance(i: int, j: int) -> float:
    return float(np.exp(-((NUMBERS[i] - NUMBERS[j]) ** 2) / SCALE))


def symmetric(i: int) -> range:
    return range(i - RADIUS, i + RADIUS + 1)


def test_where_the_loop_of_participants_is_right_smoothing_equals_it() -> None:
    images = names("v", NUMBERS)
    values = draw(images)
    found = smooth(values, images, Smoothing("gaussian", RADIUS, SCALE))
    np.testing.assert_allclose(found, participants(NUMBERS, values, over_distance, symmetric), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bug", "images", "weight", "window"),
    [
        ("an asymmetric window", names("v", NUMBERS), over_distance, lambda i: range(i - RADIUS, i + RADIUS)),
        (
            "sparse frames taken for consecutive ones",
            names("v", NUMBERS),
            lambda i, j: float(np.exp(-((i - j) ** 2) / SCALE)),
            symmetric,
        ),
        ("a window over two videos", names("v", NUMBERS[:6]) + names("w", NUMBERS[6:]), over_distance, symmetric),
    ],
)
def test_bugs_of_participants_give_another_result(
    bug: str, images: list[str], weight: Callable[[int, int], float], window: Callable[[int], range]
) -> None:
    values, how = draw(images), Smoothing("gaussian", RADIUS, SCALE)
    found = smooth(values, images, how)
    assert np.abs(found - participants(NUMBERS, values, weight, window)).max() > 0.05, bug
    np.testing.assert_allclose(found, slow(values, images, how), rtol=0, atol=1e-6)


def predictions(images: Sequence[str], seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    expression = rng.dirichlet(np.full(8, 0.2), len(images)).astype(np.float32)
    va, au = rng.uniform(-1, 1, (len(images), 2)), rng.random((len(images), 12))
    return Predictions(pa.array(images), va.astype(np.float32), expression, au.astype(np.float32))


def test_each_task_is_smoothed_in_its_own_way() -> None:
    images = names("a", range(0, 300, 7)) + names("b", range(0, 90, 2))
    before = predictions(images)
    after = smooth_predictions(before, {**PUBLISHED_SMOOTHING, "au": Smoothing("median", 2)})
    for task, how in (
        ("va", PUBLISHED_SMOOTHING["va"]),
        ("expression", PUBLISHED_SMOOTHING["expression"]),
        ("au", Smoothing("median", 2)),
    ):
        np.testing.assert_allclose(getattr(after, task), slow(getattr(before, task), images, how), atol=3e-7)


@pytest.mark.parametrize("plan", [{}, {"va": Smoothing(), "au": Smoothing()}])
def test_a_task_that_is_not_smoothed_keeps_its_bits_and_needs_no_frame_numbers(plan: dict[Task, Smoothing]) -> None:
    before = predictions(["v/cover.jpg", "v/00001.jpg"])
    after = smooth_predictions(before, plan)
    assert all(np.array_equal(getattr(after, task), getattr(before, task)) for task in TASKS)


@pytest.mark.parametrize("how", [Smoothing("median", 4), Smoothing("gaussian", 4, 100.0)], ids=str)
def test_probabilities_of_expressions_still_sum_to_one(how: Smoothing) -> None:
    after = smooth_predictions(predictions(names("v", range(0, 900, 3))), {"expression": how})
    np.testing.assert_allclose(after.expression.sum(axis=1), 1, atol=1e-6)


def test_medians_that_are_all_zero_leave_the_frame_as_it_was() -> None:
    certain = np.eye(8, dtype=np.float32)[[0, 1, 2, 3, 4]]  # each class is in fewer than half of the frames
    images = pa.array(names("v", range(5)))
    before = Predictions(images, np.zeros((5, 2), np.float32), certain, np.zeros((5, 12), np.float32))
    after = smooth_predictions(before, {"expression": Smoothing("median", 4)})
    assert np.array_equal(after.expression, certain)


@settings(max_examples=50, deadline=None)
@given(st.from_regex(r"[ab]/[0-9a_.é-]{0,24}\.(jpg|PNG|jpeg)", fullmatch=True))
def test_a_frame_has_one_number_for_lists_and_for_names(name: str) -> None:
    expected = parse_frame_number(name)
    if expected is None:
        with pytest.raises(DataError, match="has no frame number"):
            read_frame_numbers(pa.array([name]))
    else:
        assert read_frame_numbers(pa.array([name])).tolist() == [expected]
        stem = name.rpartition(".")[0]
        assert stem.endswith(str(expected))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v/00123.jpg", 123),
        ("v/frame_7.PNG", 7),
        ("12/99.jpeg", 99),
        (f"v/{'9' * 18}.jpg", 10**18 - 1),
        (f"v/{'9' * 19}.jpg", None),  # no 64-bit number: taking its last digits would put frames out of order
        ("v/cover.jpg", None),
        ("v/00123", None),
        ("00123/x.jpg", None),
        ("v/1.2.jpg", 2),
    ],
)
def test_the_number_of_a_frame_is_what_stands_before_the_ending(name: str, expected: int | None) -> None:
    assert parse_frame_number(name) == expected


def test_the_name_without_a_number_is_named_with_its_escapes_shown() -> None:
    with pytest.raises(DataError, match=r"v/\\x1b\[1m.jpg: has no frame number of 1 to 18 digits"):
        Timeline.of(pa.array(["v/00001.jpg", "v/\x1b[1m.jpg"]))


@pytest.mark.parametrize("text", ["none", "gaussian:10:100000", "gaussian:0:0.5", "gaussian:50:1e+10", "median:5"])
def test_a_smoothing_is_written_as_it_is_read(text: str) -> None:
    how = parse_smoothing(text)
    assert parse_smoothing(str(how)) == how


@settings(max_examples=50)
@given(hows)
def test_any_smoothing_is_read_from_its_text(how: Smoothing) -> None:
    assert parse_smoothing(str(how)) == how


@pytest.mark.parametrize(
    "text",
    [
        *("", "gaussian", "gaussian:10", "gaussian:10:1:1", "median", "median:1:2", "none:1", "mean:3", "Gaussian:1:1"),
        *("gaussian:x:1", "gaussian:1:x", "median:1.5", "median:-1", "median:10001", "gaussian:1:0", "gaussian:1:-5"),
        *("gaussian:1:nan", "gaussian:1:inf", "gaussian:1:1e11", f"median:{'9' * 5000}"),
    ],
)
def test_what_is_no_smoothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="smoothing"):
        parse_smoothing(text)
