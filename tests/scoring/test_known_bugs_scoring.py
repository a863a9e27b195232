"""Bugs of published participants' code that touch masks and metrics: each is impossible here, or refused."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import f1_score

from abawkit.errors import DataWarning
from abawkit.scoring.metrics import ccc, f1_per_unit
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]


def test_missing_rows_counted_as_neutral(truth: Truth, answer: Answer) -> None:
    valid = np.arange(16) < 8
    annotated = truth(16, expression_valid=valid, expression=np.where(valid, np.arange(16), 0).astype(np.int8))
    elsewhere = answer(annotated, expression=np.where(valid, annotated.expression, 5).astype(np.int8))
    assert score(annotated, elsewhere).expression_f1 == 1.0


def test_rows_without_an_active_unit_left_out(truth: Truth, answer: Answer) -> None:
    au = np.array([[1] * 12, [0] * 12] * 4, np.int8)
    annotated = truth(au=au)
    # every unit answered as active: TP 4 and FP 4, the rows in which none is active -> 8/12
    assert score(annotated, answer(annotated, au=np.ones_like(au))).au_f1 == pytest.approx(2 / 3, abs=1e-12)


def test_sample_and_population_moments_mixed() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 5)
    assert 2 * np.cov(values, values)[0, 1] / (2 * values.var()) > 1.2
    assert ccc(values, values) == pytest.approx(1.0, abs=1e-12)


def test_ccc_of_constant_input_is_no_nan(truth: Truth, answer: Answer) -> None:
    with pytest.warns(DataWarning, match="as predicted is constant"):
        assert score(truth(), answer(truth(), va=np.zeros((8, 2)))).ccc_va == 0.0


def test_metrics_averaged_over_batches(truth: Truth, answer: Answer) -> None:
    rng = np.random.default_rng(1)
    annotated = truth(64, va=np.round(rng.uniform(-1, 1, (64, 2)), 3))
    answered = answer(annotated, va=np.round(np.clip(annotated.va + rng.normal(0, 0.4, (64, 2)), -1, 1), 3))
    batches = [np.arange(start, start + 8) for start in range(0, 64, 8)]
    averaged = np.mean([score(annotated.select(rows), answered.select(rows)).ccc_va for rows in batches])
    whole = np.mean([ccc(annotated.va[:, k], answered.va[:, k]) for k in range(2)])
    assert score(annotated, answered).ccc_va == pytest.approx(whole, abs=1e-12)
    assert abs(averaged - whole) > 1e-3


def test_macro_over_the_classes_present_only(truth: Truth, answer: Answer) -> None:
    annotated = truth(expression=np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int8))
    with pytest.warns(DataWarning, match="the mean is still over eight"):
        assert score(annotated, answer(annotated)).expression_f1 == 0.375


def test_macro_of_both_classes_of_a_unit() -> None:
    # TP 3, FP 1, FN 1, TN 95: 6/8 for the positive class, 190/192 for the other
    truth, answer = np.zeros((100, 1), int), np.zeros((100, 1), int)
    truth[:4], answer[1:5] = 1, 1
    assert f1_per_unit(truth, answer).tolist() == [0.75]
    assert f1_score(truth[:, 0], answer[:, 0], average="macro") == pytest.approx((0.75 + 190 / 192) / 2)


def test_valence_and_arousal_swapped_on_return(truth: Truth, answer: Answer) -> None:
    annotated = truth()
    flat = np.column_stack([annotated.va[:, 0], np.where(np.arange(8) % 2, 0.1, -0.1)])
    result = score(annotated, answer(annotated, va=flat))
    assert result.ccc_valence == pytest.approx(1.0, abs=1e-12)
    assert result.ccc_arousal < 0.5


def test_repeated_images_joined_by_name(truth: Truth, answer: Answer) -> None:
    annotated = truth(images=["v/1.jpg"] * 8)
    assert score(annotated, answer(annotated)).rows == 8
    assert score(annotated, answer(annotated)).score == pytest.approx(3.0, abs=1e-12)
