"""Forecasts: how a test of other videos is expected to score, against plain loops and against other draws of videos."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from abawkit.errors import DataError
from abawkit.scoring.bootstrap import PARTS, draw_videos, sum_by_video
from abawkit.scoring.forecast import forecast_score, forecast_scores, list_forecasts, make_forecast
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission
from tests.scoring.test_bootstrap import drawn_answer, drawn_truth, parts_of, rows_of_videos

Truth = Callable[..., Annotations]

LEAST = {"ccc_va": -1.0, "expression_f1": 0.0, "au_f1": 0.0, "score": -1.0}
MOST = {"ccc_va": 1.0, "expression_f1": 1.0, "au_f1": 1.0, "score": 3.0}

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")


@pytest.mark.parametrize("test_videos", [5, 8, 40])
def test_a_forecast_is_the_textbooks_prediction_interval_about_a_plain_loop_over_scores(
    truth: Truth, test_videos: int
) -> None:
    annotated = drawn_truth(truth, [25, 4, 13, 30, 8])
    given = drawn_answer(annotated, 4)
    names = sum_by_video(annotated, given).names
    rows = [rows_of_videos(annotated, names, counts) for counts in draw_videos(5, 40, seed=2)]
    drawn = np.array([parts_of(annotated.select(chosen), given.select(chosen)) for chosen in rows])
    found = forecast_scores(annotated, given, test_videos=test_videos, draws=40, seed=2)
    for i, part in enumerate(PARTS):
        value = parts_of(annotated, given)[i]
        bias, error = drawn[:, i].mean() - value, drawn[:, i].std() * math.sqrt(5 / 4)
        centre = value + bias * (5 / test_videos - 1)
        reach = 2.776445 * error * math.sqrt(1 + 5 / test_videos)  # the quantile of t with 4 degrees of freedom
        assert found[part].value == pytest.approx(value, abs=1e-12)
        low, high = max(centre - reach, LEAST[part]), min(centre + reach, MOST[part])
        assert (found[part].low, found[part].high) == pytest.approx((low, high), abs=5e-3)


def test_about_95_of_100_tests_of_other_videos_score_within_it(truth: Truth) -> None:
    """Releases of 25 videos, tests of 40 others: percentiles of a bootstrap hold 85 of these 100 scores, forecasts 94.

    `benchmarks/interval_coverage.py` measures more worlds.
    """
    held = 0
    for seed in range(100):
        annotated = drawn_truth(truth, [12] * 65, seed)
        given = drawn_answer(annotated, seed, wrong=0.5)
        release, test = np.arange(25 * 12), np.arange(25 * 12, 65 * 12)
        found = forecast_score(annotated.select(release), given.select(release), test_videos=40, draws=200, seed=seed)
        held += found.low <= score(annotated.select(test), given.select(test)).score <= found.high
    assert 90 <= held <= 99


def test_a_larger_test_is_forecast_more_narrowly_and_no_more_narrowly_than_the_score_is_known(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 30)
    given = drawn_answer(annotated, 1)
    widths = []
    for test_videos in (10, 30, 100, 10**6):
        found = forecast_score(annotated, given, test_videos=test_videos)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[1] / widths[3] == pytest.approx(math.sqrt(2), rel=1e-3)


def test_a_test_of_as_many_videos_is_forecast_around_the_score_and_a_larger_one_above_what_draws_lose() -> None:
    scores = np.array(
        [[0.3, 0.2, 0.4, 0.9], [0.2, 0.1, 0.4, 0.7], [0.3, 0.1, 0.4, 0.8]]
    )  # draws fall, as videos repeat
    as_many, larger = (list_forecasts(scores, 10, n)["score"] for n in (10, 40))
    assert (as_many.low + as_many.high) / 2 == pytest.approx(0.9)
    assert (larger.low + larger.high) / 2 == pytest.approx(0.9 + 0.15 * 0.75)


def test_no_forecast_leaves_what_a_score_can_be() -> None:
    scores = np.array([[0.9, 0.02, 0.5, 1.42], [-0.9, 0.9, 0.5, 0.5], [0.9, 0.0, 0.5, 1.4]])
    found = list_forecasts(scores, 3, 3)
    assert (found["ccc_va"].low, found["ccc_va"].high) == (-1, 1)
    assert (found["expression_f1"].low, found["expression_f1"].high) == (0, 1)
    assert (found["au_f1"].low, found["au_f1"].high) == (0.5, 0.5)
    assert (found["score"].low, found["score"].high) == (-1, 3)
    only = list_forecasts(scores * [0, 1, 0, 1] * [0, 1, 0, 0.01], 3, 3, ("expression",))
    assert (only["ccc_va"].low, only["ccc_va"].high) == (0, 0)
    assert 0 <= only["score"].low <= only["score"].high <= 1


def test_one_video_has_no_forecast(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20])
    assert make_forecast(annotated, drawn_answer(annotated, 1)) is None
    with pytest.raises(DataError, match="found 1 video with scored rows; an interval needs at least 2"):
        forecast_scores(annotated, drawn_answer(annotated, 1))


def test_a_forecast_names_the_parts_that_are_held(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    found = make_forecast(annotated, Submission.of(annotated.images, va=annotated.va), test_videos=7)
    assert found is not None
    assert (found.videos, found.test_videos, set(found.parts)) == (5, 7, {"ccc_va", "score"})
    assert set(found.as_dict()) == {"videos", "test_videos", "level", "ccc_va", "score"}


@pytest.mark.parametrize(("videos", "quantile"), [(2, 12.7062), (3, 4.3027), (12, 2.2010), (50, 2.0096)])
def test_the_range_of_few_videos_is_that_of_students_distribution(videos: int, quantile: float) -> None:
    scores = np.array([[0.0] * 4, [-0.01] * 4, [0.01] * 4])  # a standard deviation of 0.01, and no bias
    found = list_forecasts(scores, videos, videos)["ccc_va"]
    reach = quantile * 0.01 * math.sqrt(2 * videos / (videos - 1))
    assert (found.low, found.high) == pytest.approx((-reach, reach), rel=1e-4)
