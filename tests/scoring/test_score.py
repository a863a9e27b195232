"""The score of cases worked by hand, under both protocols."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]


def test_a_perfect_answer_scores_three(truth: Truth, answer: Answer) -> None:
    result = score(truth(), answer(truth()))
    assert (result.ccc_va, result.expression_f1, result.au_f1, result.score) == (1.0, 1.0, 1.0, 3.0)
    assert result.rows == 8


def test_the_parts_add_up_worked_by_hand(truth: Truth, answer: Answer) -> None:
    annotated = truth()
    expression = annotated.expression.copy()
    expression[0] = 1  # class 0: no TP -> 0; class 1: TP 1, FP 1 -> 2/3; the six others 1
    au = annotated.au.copy()
    au[:, 1] = 1  # AU2 is active in 4 of 8 rows: TP 4, FP 4 -> 8/12
    va = annotated.va.copy()
    va[:, 1] = -va[:, 1]  # means are 0, so the CCC of arousal is -1
    result = score(annotated, answer(annotated, va=va, expression=expression, au=au))
    assert (result.ccc_valence, result.ccc_arousal) == pytest.approx((1.0, -1.0), abs=1e-12)
    assert result.ccc_va == pytest.approx(0.0, abs=1e-12)
    assert result.expression_f1 == pytest.approx((0 + 2 / 3 + 6) / 8, abs=1e-12)
    assert result.au_f1 == pytest.approx((11 + 2 / 3) / 12, abs=1e-12)
    assert result.score == pytest.approx((6 + 2 / 3) / 8 + (11 + 2 / 3) / 12, abs=1e-12)


@pytest.mark.parametrize(("protocol", "rows", "expression_f1"), [("official", 10, 1.0), ("strict", 8, 1.0)])
def test_each_protocol_scores_its_own_rows(
    truth: Truth, answer: Answer, protocol: Protocol, rows: int, expression_f1: float
) -> None:
    valid = np.arange(10) < 8
    annotated = truth(10, expression_valid=valid, expression=np.where(valid, np.arange(10), 0).astype(np.int8))
    va = annotated.va.copy()
    va[8:] = 0.0  # wrong in just the two rows where the expression is not annotated
    result = score(annotated, answer(annotated, va=va), protocol)
    assert (result.rows, result.expression_f1) == (rows, expression_f1)
    assert (result.ccc_va == 1.0) == (protocol == "strict")


def test_a_task_is_not_scored_where_it_is_not_annotated(truth: Truth, answer: Answer) -> None:
    mask = np.arange(16) < 8
    annotated = truth(16, va_valid=mask, expression_valid=mask, au_valid=mask)
    wrong = answer(
        annotated,
        va=np.where(mask[:, None], annotated.va, -1.0),
        expression=np.where(mask, annotated.expression, 7).astype(np.int8),
        au=np.where(mask[:, None], annotated.au, 1 - annotated.au),
    )
    assert score(annotated, wrong).score == pytest.approx(3.0, abs=1e-12)
    assert score(annotated, wrong).rows == 8


def test_repeated_rows_are_joined_by_row_and_never_by_image_name(truth: Truth, answer: Answer) -> None:
    names = ["v/1.jpg"] * 4 + ["v/2.jpg"] * 4  # each row of one image has other labels
    annotated = truth(images=names)
    assert score(annotated, answer(annotated)).score == pytest.approx(3.0, abs=1e-12)
    shifted = answer(annotated, expression=np.roll(annotated.expression, 1))
    assert score(annotated, shifted).expression_f1 == 0.0


@pytest.mark.parametrize("order", [[1, 0, *range(2, 8)], list(range(7)), [*range(8), 7]])
def test_rows_swapped_missing_or_added_are_refused(truth: Truth, answer: Answer, order: list[int]) -> None:
    annotated = truth()
    with pytest.raises(DataError, match="rows are not those of the annotations"):
        score(annotated, answer(annotated).select(np.array(order)))


@pytest.mark.parametrize(
    ("columns", "answers", "warning"),
    [
        ({"expression": np.array([0, 1, 2] * 2 + [0, 1], np.int8)}, {}, "no annotated Fear, Happiness, Sadness"),
        ({"au": np.array([[1] * 11 + [0], [0] * 12] * 4, np.int8)}, {}, "never active: AU26; their F1 is 0"),
        ({}, {"va": np.tile([[0.2, 0.5], [0.2, 0.1]], (4, 1))}, "valence as predicted is constant; its CCC is 0"),
        (
            {"va": np.tile([[0.2, 0.5], [0.1, 0.5]], (4, 1))},
            {"va": np.tile([[0.2, 0.1], [0.1, 0.5]], (4, 1))},
            "arousal as annotated is constant; its CCC is 0",
        ),
        ({"expression_valid": np.zeros(8, bool)}, {}, "no annotated row for expression; it scores 0"),
        ({"va_valid": np.zeros(8, bool)}, {}, "no annotated row for va; it scores 0"),
        ({"au_valid": np.zeros(8, bool)}, {}, "no annotated row for au; it scores 0"),
    ],
)
def test_what_scores_zero_whatever_is_answered_is_warned_of_and_the_score_is_finite(
    truth: Truth, answer: Answer, columns: dict[str, Any], answers: dict[str, Any], warning: str
) -> None:
    annotated = truth(**columns)
    with pytest.warns(DataWarning, match=warning):
        result = score(annotated, answer(annotated, **answers))
    assert np.isfinite(result.score)
    assert result.score < 3.0


def test_three_of_eight_classes_present_and_answered_perfectly_score_0_375(truth: Truth, answer: Answer) -> None:
    annotated = truth(expression=np.array([0, 3, 6, 6, 0, 3, 6, 0], np.int8))
    with pytest.warns(DataWarning, match="no annotated Anger"):
        assert score(annotated, answer(annotated)).expression_f1 == 0.375


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_where_no_row_counts_there_is_an_error_and_no_score(truth: Truth, answer: Answer, protocol: Protocol) -> None:
    masks = dict.fromkeys(("va_valid", "expression_valid", "au_valid"), np.zeros(8, bool))
    with pytest.raises(DataError, match=f"no row counts under the {protocol} protocol"):
        score(truth(**masks), answer(truth()), protocol)


def test_the_score_as_json_holds_every_part(truth: Truth, answer: Answer) -> None:
    parts = score(truth(), answer(truth())).as_dict()
    assert parts["protocol"] == "official"
    assert parts["score"] == parts["ccc_va"] + parts["expression_f1"] + parts["au_f1"]
    assert (len(parts["expression_f1_per_class"]), len(parts["au_f1_per_unit"])) == (8, 12)


def test_a_table_of_other_images_is_refused(truth: Truth, answer: Answer) -> None:
    images = pa.array([f"w/{row}.jpg" for row in range(8)], pa.string())
    with pytest.raises(DataError, match="not those of the annotations"):
        score(truth(), answer(truth(), images=images))
