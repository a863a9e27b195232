"""Means, deviations, and differences to the base with their intervals."""

import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from abawkit.ablation.statistics import Evaluator
from abawkit.errors import DataError
from abawkit.scoring.bootstrap import PARTS, make_difference_intervals
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission

VIDEOS, FRAMES = 12, 40


def make_truth(strict_videos: int = VIDEOS) -> Annotations:
    """Random annotations of videos; the first ones are annotated for every task, the others lack the expression."""
    rng, count = np.random.default_rng(0), VIDEOS * FRAMES
    images = [f"video{v}/{frame:05d}.jpg" for v in range(VIDEOS) for frame in range(1, FRAMES + 1)]
    yes, no = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    return Annotations(
        images=pa.array(images, pa.string()),
        lines=np.arange(count) + 2,
        va=rng.uniform(-1, 1, (count, 2)),
        expression=rng.integers(0, 8, count).astype(np.int8),
        au=rng.integers(0, 2, (count, 12)).astype(np.int8),
        va_valid=yes,
        expression_valid=np.arange(count) < strict_videos * FRAMES,
        au_valid=yes,
        va_partial=no,
        au_partial=no,
    )


def answers(truth: Annotations, right: float, seeds: Sequence[int]) -> list[Submission]:
    """Answers of which a share is right, for each seed."""
    found = []
    for seed in seeds:
        rng, count = np.random.default_rng(seed), len(truth)
        wrong = rng.uniform(size=count) >= right
        va, expression, au = truth.va.copy(), truth.expression.copy(), truth.au.copy()
        va[wrong] = rng.uniform(-1, 1, (wrong.sum(), 2))
        expression[wrong] = rng.integers(0, 8, wrong.sum())
        au[wrong] = rng.integers(0, 2, (wrong.sum(), 12))
        found.append(Submission(truth.images, va, expression, au))
    return found


TRUTH = make_truth()
BASE = answers(TRUTH, 0.5, (1, 2, 3))


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(TRUTH, BASE)


def test_figures_of_each_seed_are_those_of_the_scorer(evaluator: Evaluator) -> None:
    for protocol, scores in evaluator.score_base().items():
        for row, submission in zip(scores.each, BASE, strict=True):
            result = score(TRUTH, submission, protocol)
            assert row == pytest.approx([getattr(result, part) for part in PARTS])


def test_the_mean_is_over_seeds_and_the_deviation_that_of_a_sample(evaluator: Evaluator) -> None:
    scores = evaluator.score_base()["official"]
    each = [score(TRUTH, submission).score for submission in BASE]
    assert scores.mean["score"] == pytest.approx(np.mean(each))
    assert scores.deviation is not None
    assert scores.deviation["score"] == pytest.approx(np.std(each, ddof=1))


def test_a_single_figure_has_no_deviation(evaluator: Evaluator) -> None:
    assert evaluator.score(BASE[:1])["official"].deviation is None


def test_the_base_is_not_compared_with_itself_and_differs_from_its_equal_by_nothing(evaluator: Evaluator) -> None:
    assert evaluator.score_base()["official"].difference == {}
    for interval in evaluator.score(BASE)["official"].difference.values():
        assert (interval.value, interval.low, interval.high) == (0, 0, 0)
        assert interval.within_noise


def test_differences_are_paired_by_seed(evaluator: Evaluator) -> None:
    better = answers(TRUTH, 0.7, (1, 2, 3))
    difference = evaluator.score(better)["official"].difference["score"]
    each = [score(TRUTH, a).score - score(TRUTH, b).score for a, b in zip(better, BASE, strict=True)]
    assert difference.value == pytest.approx(np.mean(each))
    assert difference.low < difference.value < difference.high
    assert not difference.within_noise
    # the same seeds in another order are other pairs: with each pair's own noise the interval is wider
    swapped = Evaluator(TRUTH, [BASE[1], BASE[2], BASE[0]]).score(better)["official"].difference["score"]
    assert swapped.value == pytest.approx(difference.value)
    assert (swapped.low, swapped.high) != (difference.low, difference.high)


def test_with_one_seed_the_interval_is_that_of_a_bootstrap_over_videos() -> None:
    other = answers(TRUTH, 0.55, (9,))
    found = Evaluator(TRUTH, BASE[:1]).score(other)["official"].difference
    expected = make_difference_intervals(TRUTH, other[0], BASE[0])
    for part in PARTS:
        assert found[part].value == pytest.approx(expected[part].value)
        assert (found[part].low, found[part].high) == pytest.approx((expected[part].low, expected[part].high))


def test_seeds_that_disagree_make_the_interval_wider() -> None:
    """One seed gains, one loses: other seeds could have given either."""
    better, worse = answers(TRUTH, 0.8, (1,))[0], answers(TRUTH, 0.2, (2,))[0]
    scores = Evaluator(TRUTH, BASE[:2]).score([better, worse])["official"]
    difference = scores.difference["score"]
    gains = [score(TRUTH, a).score - score(TRUTH, b).score for a, b in zip([better, worse], BASE[:2], strict=True)]
    assert difference.low < min(gains) + 0.2
    assert difference.high > max(gains) - 0.2
    assert difference.within_noise


def test_an_ensemble_is_set_against_each_seed(evaluator: Evaluator) -> None:
    ensemble = answers(TRUTH, 0.7, (4,))
    scores = evaluator.score(ensemble)["official"]
    assert scores.each.shape == (1, 4)
    mean = evaluator.score_base()["official"].mean["score"]
    assert scores.difference["score"].value == pytest.approx(scores.mean["score"] - mean)


def test_the_strict_protocol_counts_rows_with_every_task_alone() -> None:
    truth = make_truth(strict_videos=5)
    evaluator = Evaluator(truth, answers(truth, 0.5, (1, 2)))
    assert evaluator.count_videos("official") == 12
    assert evaluator.count_videos("strict") == 5


@pytest.mark.parametrize("videos", [0, 1])
def test_a_protocol_with_rows_of_less_than_two_videos_is_left_out(videos: int) -> None:
    truth = make_truth(strict_videos=videos)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator = Evaluator(truth, answers(truth, 0.5, (1, 2)))
        assert list(evaluator.score_base()) == ["official"]
    with pytest.raises(DataError, match="strict protocol"):
        evaluator.count_videos("strict")


def test_intervals_are_the_same_each_time() -> None:
    other = answers(TRUTH, 0.6, (5, 6, 7))
    first, second = (Evaluator(TRUTH, BASE).score(other)["official"].as_dict() for _ in range(2))
    assert first == second
