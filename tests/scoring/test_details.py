"""The measures beside the challenge's own, on cases that are worked by hand."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from abawkit.scoring.baselines import OFFICIAL_ROWS, PUBLISHED_RESULTS
from abawkit.scoring.details import ClassDetails, ExpressionDetails, UnitDetails, describe_score
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]


def test_ccc_is_the_product_of_correlation_and_accuracy(truth: Truth, answer: Answer) -> None:
    """y = x / 2 + 1 / 4: correlation 1, v = 1 / 2, u = (1/4) / sqrt(1/2 sd^2) as the mean of x is 0."""
    annotated = truth()
    x = annotated.va[:, 0]
    given = answer(annotated, va=np.stack([x / 2 + 0.25, annotated.va[:, 1]], axis=1))
    values = describe_score(annotated, given).values
    assert values is not None
    valence, arousal = values["valence"], values["arousal"]
    variance = float(x.var())
    expected = 2 / (2 + 1 / 2 + 0.25**2 / (variance / 2))
    assert valence.pearson == pytest.approx(1.0, abs=1e-12)
    assert valence.accuracy == pytest.approx(expected, rel=1e-12)
    assert valence.ccc == pytest.approx(expected, rel=1e-12)
    assert valence.bias == pytest.approx(0.25, abs=1e-12)
    assert valence.rmse == pytest.approx(math.sqrt(variance / 4 + 0.25**2), rel=1e-12)
    assert (arousal.ccc, arousal.accuracy, arousal.rmse, arousal.bias) == (1.0, 1.0, 0.0, 0.0)


def test_a_constant_has_no_correlation(truth: Truth, answer: Answer) -> None:
    annotated = truth()
    values = describe_score(annotated, answer(annotated, va=np.full((8, 2), 0.1))).values
    assert values is not None
    assert (values["valence"].ccc, values["valence"].pearson, values["valence"].accuracy) == (0.0, None, None)


def test_expressions_are_counted_and_what_is_not_defined_is_none(truth: Truth, answer: Answer) -> None:
    """Four Neutral, three Anger, one Fear; a Neutral is taken for Anger, the Fear for Disgust."""
    annotated = truth(expression=np.array([0, 0, 0, 0, 1, 1, 1, 3], np.int8))
    given = answer(annotated, expression=np.array([0, 0, 0, 1, 1, 1, 1, 2], np.int8))
    found = describe_score(annotated, given).expression
    assert isinstance(found, ExpressionDetails)
    assert found.classes["Neutral"] == ClassDetails(4, 3, 1.0, 0.75, 6 / 7, 7 / 8, (0.75 + 1) / 2)
    assert found.classes["Anger"] == ClassDetails(3, 4, 0.75, 1.0, 6 / 7, 7 / 8, (1 + 4 / 5) / 2)
    assert found.classes["Disgust"] == ClassDetails(0, 1, 0.0, None, 0.0, 7 / 8, None)
    assert found.classes["Fear"] == ClassDetails(1, 0, None, 0.0, 0.0, 7 / 8, 1 / 2)
    assert found.classes["Other"] == ClassDetails(0, 0, None, None, 0.0, 1.0, None)
    assert (found.rows, found.accuracy) == (8, 6 / 8)
    assert found.balanced_accuracy == pytest.approx((0.75 + 1 + 0) / 3)
    assert found.confusion[0][:2] == [3, 1]
    assert found.confusion[3][2] == 1
    assert np.sum(found.confusion) == 8


def test_units_have_accuracies_their_mean_and_the_rows_that_are_right_as_a_whole(truth: Truth, answer: Answer) -> None:
    annotated = truth()  # AU1 is active in every second row, from the first on
    units = annotated.au.copy()
    units[[0, 1], 0] = 0  # of AU1 the first is missed
    units[1, 1] = 0  # of AU2 the first is missed
    found = describe_score(annotated, answer(annotated, au=units)).au
    assert isinstance(found, UnitDetails)
    assert found.units["AU1"] == ClassDetails(4, 3, 1.0, 0.75, 6 / 7, 7 / 8, (0.75 + 1) / 2)
    assert found.units["AU4"].accuracy == 1.0
    assert found.accuracy == pytest.approx((2 * 7 / 8 + 10) / 12)
    assert found.exact_match == 6 / 8


def test_videos_are_sorted_and_scored_on_the_classes_that_they_have(truth: Truth, answer: Answer) -> None:
    names = [f"{video}/{row}.jpg" for video in ("good", "bad", "unseen") for row in range(4)]
    known = np.array([True] * 8 + [False] * 4)
    annotated = truth(
        12,
        images=names,
        expression=np.array([0, 1, 0, 1] * 3, np.int8),
        **{f"{task}_valid": known for task in ("va", "expression", "au")},
    )
    wrong = np.where(np.arange(12) < 4, annotated.expression, 7).astype(np.int8)
    videos = describe_score(annotated, answer(annotated, expression=wrong)).videos
    assert [(video.name, video.rows) for video in videos] == [("good", 4), ("bad", 4)]
    assert [video.expression_f1 for video in videos] == [1.0, 0.0]  # over Neutral and Anger; over these and Other
    assert [video.au_f1 for video in videos] == [1.0, 1.0]
    assert [video.ccc_valence for video in videos] == pytest.approx([1.0, 1.0])
    assert videos[1].mean == pytest.approx(2 / 3)


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_what_the_challenge_measures_too_agrees_with_its_score(truth: Truth, answer: Answer, protocol: str) -> None:
    rng = np.random.default_rng(0)
    count = 300
    masks = {f"{task}_valid": rng.random(count) < 0.7 for task in ("va", "expression", "au")}
    annotated = truth(count, images=[f"{row % 9}/{row}.jpg" for row in range(count)], **masks)
    given = answer(
        annotated,
        va=np.clip(annotated.va + rng.normal(0, 0.3, (count, 2)), -1, 1),
        expression=rng.integers(0, 8, count).astype(np.int8),
        au=rng.integers(0, 2, (count, 12)).astype(np.int8),
    )
    whole, found = score(annotated, given, protocol), describe_score(annotated, given, protocol)  # type: ignore[arg-type]
    assert found.values
    assert found.expression
    assert found.au
    assert [value.ccc for value in found.values.values()] == pytest.approx([whole.ccc_valence, whole.ccc_arousal])
    assert [one.f1 for one in found.expression.classes.values()] == pytest.approx(whole.expression_f1_per_class)
    assert [one.f1 for one in found.au.units.values()] == pytest.approx(whole.au_f1_per_unit)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["videos"][0]["rows"] > 0


def test_a_task_without_a_row_has_no_details(truth: Truth, answer: Answer) -> None:
    annotated = truth(au_valid=np.zeros(8, bool))
    found = describe_score(annotated, answer(annotated))
    assert found.au is None
    assert found.videos[0].au_f1 is None


def test_published_results_are_of_a_split_and_add_up() -> None:
    for result in PUBLISHED_RESULTS:
        assert result.split in OFFICIAL_ROWS
        assert result.source.startswith("https://arxiv.org/abs/")
        assert result.parts is None or sum(result.parts) == pytest.approx(result.score, abs=0.0021)  # as published
