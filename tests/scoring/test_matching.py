"""Scoring files: against annotations and against a curated set, and the constant answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation import Sources, curate
from abawkit.errors import ConfigError, DataWarning, ProblemsError
from abawkit.formats.editions import ABAW7
from abawkit.scoring.baselines import PUBLISHED_RESULTS, make_constant_answer
from abawkit.scoring.matching import read_truth, score_file
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]


def write_annotations(path: Path, table: Annotations, video: str = "v") -> Path:
    rows = ["image"]
    for k, name in enumerate(table.images.to_pylist()):
        va = f"{table.va[k, 0]:.6f},{table.va[k, 1]:.6f}" if table.va_valid[k] else "-5,-5"
        expression = table.expression[k] if table.expression_valid[k] else -1
        au = table.au[k] if table.au_valid[k] else [-1] * 12
        rows.append(",".join([name.replace("v/", f"{video}/"), va, str(expression), *map(str, au)]))
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def files(tmp_path: Path, truth: Truth, answer: Answer) -> tuple[Path, Path]:
    """A perfect submission of ten rows, and annotations that lack the expression of the last two."""
    annotated = truth(10, expression_valid=np.arange(10) < 8)
    submission = tmp_path / "submission.txt"
    submission.write_bytes(ABAW7().encode(answer(annotated)))
    return submission, write_annotations(tmp_path / "truth.txt", annotated)


def test_a_file_is_scored_against_annotations_under_both_protocols(files: tuple[Path, Path]) -> None:
    official, strict = score_file(*files), score_file(*files, protocol="strict")
    assert (official.rows, strict.rows) == (10, 8)
    assert official.score == strict.score == pytest.approx(3.0, abs=1e-12)


@pytest.mark.parametrize("policy", ["strict", "per-task"])
def test_a_curated_set_of_either_policy_scores_as_its_annotations_do(
    files: tuple[Path, Path], tmp_path: Path, truth: Truth, policy: str
) -> None:
    train = write_annotations(tmp_path / "train.txt", truth(), video="w")
    out = tmp_path / "curated"
    out.mkdir()
    curate(Sources(train, files[1], None), out, policy="strict" if policy == "strict" else "per-task")
    for protocol in ("official", "strict"):
        assert score_file(files[0], out, protocol=protocol) == score_file(*files, protocol=protocol)
    assert len(read_truth(out)) == 10


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "out of order"),
        (lambda rows: rows[:-1], "row missing: 'v/9.jpg'"),
        (lambda rows: [*rows, rows[-1]], "this is one more"),
        (lambda rows: [*rows[:2], *(row.replace("v/", "w/") for row in rows[2:])], "the list does not have it"),
        (lambda rows: [rows[0], *(row.replace("v/", "w/") for row in rows[1:])], "none of its 10 rows names one of"),
    ],
)
def test_rows_that_are_not_those_of_the_truth_are_named_and_nothing_is_scored(
    files: tuple[Path, Path], change: Callable[[list[str]], list[str]], problem: str
) -> None:
    submission, truth = files
    submission.write_text("\n".join(change(submission.read_text().splitlines())))
    with pytest.raises(ProblemsError, match="nothing was scored") as caught:
        score_file(submission, truth)
    assert problem in str(caught.value)


@pytest.mark.parametrize("cell", ["3.0", "nan", "8"])
def test_a_submission_with_a_bad_cell_is_refused(files: tuple[Path, Path], cell: str) -> None:
    fields = files[0].read_text().splitlines()
    fields[1] = ",".join([*fields[1].split(",")[:3], cell, *fields[1].split(",")[4:]])
    files[0].write_text("\n".join(fields))
    with pytest.raises(ProblemsError, match="column 'expression'"):
        score_file(*files)


def test_an_unknown_format_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="unknown format"):
        score_file(*files, format_name="abaw0")


def test_the_constant_answer_is_the_mean_the_commonest_class_and_every_unit(truth: Truth) -> None:
    train = truth(
        4, va=np.array([[0.1, 0.5], [0.3, -0.5], [0.2, 0.3], [-1, -1]]), expression=np.array([2, 4, 4, 2], np.int8)
    )
    masked = train.select(np.arange(4))
    object.__setattr__(masked, "va_valid", np.array([True, True, True, False]))
    object.__setattr__(masked, "expression_valid", np.array([True, True, True, False]))
    constant = make_constant_answer(masked, train.images)
    assert constant.va.tolist() == [[0.2, 0.1]] * 4  # (.1 + .3 + .2) / 3 and (.5 - .5 + .3) / 3
    assert constant.expression.tolist() == [4] * 4
    assert constant.au.tolist() == [[1] * 12] * 4


def test_the_constant_answer_scores_only_what_constants_can(truth: Truth) -> None:
    annotated = truth()
    with pytest.warns(DataWarning, match="as predicted is constant"):
        result = score(annotated, make_constant_answer(annotated, annotated.images))
    # one of 8 classes in 1 of 8 rows: F1 2/9; every unit active in half of the rows: F1 2/3
    assert result.score == pytest.approx(0 + (2 / 9) / 8 + 2 / 3, abs=1e-12)


def test_the_published_parts_of_the_baseline_add_up_to_its_score() -> None:
    (baseline,) = (result for result in PUBLISHED_RESULTS if result.name == "baseline, ABAW7" and result.parts)
    assert baseline.parts
    assert sum(baseline.parts) == pytest.approx(baseline.score, abs=1e-12)
