"""What notebooks show of a score and of a comparison: a data frame, and an escaped table."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from abawkit.scoring.bootstrap import PARTS
from abawkit.scoring.changes import compare_submissions
from abawkit.scoring.comparison import Comparison, compare_under_both
from abawkit.scoring.forecast import make_forecast
from abawkit.scoring.score import Score, score
from abawkit.tables import Annotations, Submission
from tests.scoring.test_bootstrap import drawn_answer, drawn_truth

Truth = Callable[..., Annotations]

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")


def compare(annotated: Annotations, answers: list[Submission], names: list[str], *, scored: bool = True) -> Comparison:
    pairs = combinations(range(len(answers)), 2)
    changes = {(i, j): compare_submissions(answers[i], answers[j]) for i, j in pairs}
    scores = compare_under_both(annotated, answers, names, "official") if scored else {}
    return Comparison(tuple(names), tuple(map(Path, names)), changes, scores)


def test_a_score_is_a_frame_of_its_measures_with_forecast_and_other_protocol(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    given = drawn_answer(annotated, 1)
    plain = score(annotated, given)
    frame = plain.to_frame()
    assert list(frame.columns) == ["official"]
    assert list(frame.index) == ["ccc_valence", "ccc_arousal", "ccc_va", "expression_f1", "au_f1", "score"]
    assert frame.loc["score", "official"] == plain.score
    found = Score(
        **{**plain.as_dict(), "forecast": make_forecast(annotated, given), "other": score(annotated, given, "strict")}
    )
    frame = found.to_frame()
    assert list(frame.columns) == ["official", "low", "high", "strict"]
    low, high = frame["low"].to_numpy(), frame["high"].to_numpy()
    assert low[-1] < plain.score < high[-1]
    assert np.isnan(low[0])
    assert f"<td>{plain.score:.4f}</td>" in found._repr_html_()


def test_a_score_of_one_task_has_its_measures_alone(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    given = Submission.of(annotated.images, au=annotated.au)
    assert list(score(annotated, given).to_frame().index) == ["au_f1", "score"]


def test_a_comparison_is_a_frame_with_the_best_first_and_names_are_escaped(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    answers = [drawn_answer(annotated, 1, wrong=0.8), drawn_answer(annotated, 2, wrong=0.1)]
    found = compare(annotated, answers, ["<b>low", "high"])
    frame = found.to_frame()
    assert list(frame.index) == ["high", "<b>low"]
    assert list(frame.columns) == [
        *("ccc_va", "expression_f1", "au_f1", "score"),
        *("difference", "low", "high", "within_noise"),
    ]
    assert frame["difference"].tolist() == pytest.approx([0, frame["score"].iloc[1] - frame["score"].iloc[0]])
    assert frame["within_noise"].tolist() == [True, False]
    shown = found._repr_html_()
    assert "<b>low" not in shown
    assert "&lt;b&gt;low" in shown


def test_without_a_truth_it_is_a_frame_of_pairs(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    answers = [drawn_answer(annotated, seed) for seed in (1, 2, 3)]
    frame = compare(annotated, answers, ["a", "b", "c"], scored=False).to_frame()
    assert list(frame.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert list(frame.columns) == ["va", "expression", "au"]


def test_a_score_is_a_figure_with_a_panel_for_its_parts_and_for_each_discrete_task(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    given = drawn_answer(annotated, 1)
    plain = score(annotated, given)
    forecast = make_forecast(annotated, given)
    panels = Score(**{**plain.as_dict(), "forecast": forecast}).to_figure().axes
    assert [axes.get_title() for axes in panels] == ["Parts of the score", "F1 of expressions", "F1 of action units"]
    widths = [[bar.get_width() for bar in axes.patches] for axes in panels]  # type: ignore[attr-defined]
    assert widths[1:] == [plain.expression_f1_per_class, plain.au_f1_per_unit]
    assert widths[0] == [plain.ccc_valence, plain.ccc_arousal, plain.ccc_va, plain.expression_f1, plain.au_f1]
    assert forecast is not None
    ranges = [tuple(np.asarray(line.get_xdata()).tolist()) for line in panels[0].lines]
    assert ranges == [(forecast.parts[part].low, forecast.parts[part].high) for part in PARTS[:3]]
    alone = score(annotated, Submission.of(annotated.images, au=annotated.au)).to_figure()
    assert [axes.get_title() for axes in alone.axes] == ["Parts of the score", "F1 of action units"]


def test_a_comparison_is_a_figure_of_differences_to_the_best(truth: Truth) -> None:
    annotated = drawn_truth(truth, [20] * 5)
    answers = [drawn_answer(annotated, 1, wrong=0.8), drawn_answer(annotated, 2, wrong=0.1)]
    found = compare(annotated, answers, ["low", "high"])
    (axes,) = found.to_figure().axes
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == ["high", "low"]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == pytest.approx(found.to_frame()["difference"].tolist())
    with pytest.raises(ValueError, match="without a truth"):
        compare(annotated, answers, ["low", "high"], scored=False).to_figure()
