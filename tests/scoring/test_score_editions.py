"""Submissions of single tasks, of compound expressions and of a file per video: what is scored, and how rows meet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning, ProblemsError
from abawkit.formats.base import get_format
from abawkit.formats.writing import write_submission
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS, Task
from abawkit.scoring.matching import score_file
from abawkit.scoring.score import Score, score, score_compound
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]
WriteTruth = Callable[..., Path]

PARTS: dict[Task, list[str]] = {
    "va": ["ccc_valence", "ccc_arousal", "ccc_va"],
    "expression": ["expression_f1", "expression_f1_per_class"],
    "au": ["au_f1", "au_f1_per_unit"],
}
NAMES = [f"v/{number:05}.jpg" for number in (1, 3, 4, 8, 9, 10, 20, 21, 30, 31)]

VA = np.round(np.sin(np.arange(20).reshape(10, 2)), 1)  # survives six decimals, halved too


def only(answer: Submission, *tasks: Task) -> Submission:
    return Submission.of(answer.images, **{task: getattr(answer, task) for task in tasks})


def compound(*indices: int) -> Submission:
    images = pa.array([f"v/{row}.jpg" for row in range(len(indices))])
    return Submission.of(images, compound=np.array(indices, np.int8))


@pytest.fixture
def write_truth(tmp_path: Path) -> WriteTruth:
    """Writes annotations in sixteen columns."""

    def write(table: Annotations, name: str = "truth.txt") -> Path:
        lines = ["image"]
        for k, image in enumerate(table.images.to_pylist()):
            va = f"{table.va[k, 0]:.6f},{table.va[k, 1]:.6f}" if table.va_valid[k] else "-5,-5"
            expression = table.expression[k] if table.expression_valid[k] else -1
            lines.append(
                ",".join([image, va, str(expression), *map(str, table.au[k] if table.au_valid[k] else [-1] * 12)])
            )
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return write


def test_scored_rows_are_those_of_each_task_and_under_strict_those_of_all(truth: Truth) -> None:
    annotated = truth(4, va_valid=np.array([1, 1, 0, 1], bool), au_valid=np.array([1, 0, 1, 1], bool))
    official, strict = select_scored_rows(annotated), select_scored_rows(annotated, "strict")
    assert {task: mask.tolist() for task, mask in official.items()} == {
        "va": [True, True, False, True],
        "expression": [True] * 4,
        "au": [True, False, True, True],
    }
    assert {task: mask.tolist() for task, mask in strict.items()} == {
        task: [True, False, False, True] for task in TASKS
    }


@pytest.mark.parametrize("task", TASKS)
def test_a_submission_of_one_task_scores_that_part_alone(truth: Truth, answer: Answer, task: Task) -> None:
    annotated = truth()
    given = answer(annotated, va=annotated.va * 0.5, expression=np.roll(annotated.expression, 1))
    whole, part = score(annotated, given), score(annotated, only(given, task))
    assert (part.tasks, whole.tasks) == ((task,), TASKS)
    figure = PARTS[task][-1] if task == "va" else PARTS[task][0]
    assert part.score == getattr(part, figure) == getattr(whole, figure)
    for other in TASKS:
        if other != task:
            assert not np.any([getattr(part, name) for name in PARTS[other][:1]])


def test_two_tasks_score_their_sum(truth: Truth, answer: Answer) -> None:
    annotated = truth()
    result = score(annotated, only(answer(annotated), "va", "au"))
    assert result.tasks == ("va", "au")
    assert result.score == pytest.approx(2.0, abs=1e-12)


def test_rows_count_where_a_task_that_is_held_is_annotated(truth: Truth, answer: Answer) -> None:
    annotated = truth(10, expression_valid=np.arange(10) < 8, va_valid=np.arange(10) < 3)
    given = answer(annotated)
    counts = {task: score(annotated, only(given, task)).rows for task in TASKS}
    assert counts == {"va": 3, "expression": 8, "au": 10}
    with pytest.warns(DataWarning, match="no annotated Fear"):
        assert score(annotated, only(given, "expression"), "strict").rows == 3


def test_what_is_not_held_is_not_warned_of(truth: Truth, answer: Answer) -> None:
    annotated = truth(va_valid=np.zeros(8, bool), au=np.zeros((8, 12), np.int8))
    assert score(annotated, only(answer(annotated), "expression")).score == 1.0  # a warning would be an error here


def test_a_task_that_is_nowhere_annotated_is_no_score(truth: Truth, answer: Answer) -> None:
    annotated = truth(va_valid=np.zeros(8, bool))
    with pytest.raises(DataError, match="no row counts under the official protocol"):
        score(annotated, only(answer(annotated), "va"))


def test_the_report_has_the_documented_keys_with_none_for_what_is_not_scored(truth: Truth, answer: Answer) -> None:
    annotated = truth()
    whole, part = score(annotated, answer(annotated)), score(annotated, only(answer(annotated), "au"))
    named = {
        "expression_f1_per_class": dict(zip(EXPRESSIONS, whole.expression_f1_per_class, strict=True)),
        "au_f1_per_unit": dict(zip(ACTION_UNITS, whole.au_f1_per_unit, strict=True)),
    }
    assert whole.report() == {**whole.as_dict(), **named, "tasks": ["va", "expression", "au"]}
    assert part.report().keys() == whole.report().keys()
    assert [name for name, value in part.report().items() if value is None] == [*PARTS["va"], *PARTS["expression"]]
    assert part.report()["tasks"] == ["au"]


def test_the_record_of_a_score_makes_the_score_again(truth: Truth, answer: Answer) -> None:
    whole = score(truth(), answer(truth()))
    assert Score(**whole.as_dict()) == whole


def test_compound_expressions_worked_by_hand() -> None:
    right, given = compound(0, 0, 1, 2, 3, 4, 5, 6), compound(0, 1, 1, 2, 3, 4, 5, 5)
    # class 0: TP 1, FN 1 -> 2/3; 1: TP 1, FP 1 -> 2/3; 2, 3, 4: 1; 5: TP 1, FP 1 -> 2/3; 6: 0
    result = score_compound(right, given)
    assert result.compound_f1_per_class == pytest.approx([2 / 3, 2 / 3, 1, 1, 1, 2 / 3, 0], abs=1e-12)
    assert result.score == result.compound_f1 == pytest.approx(5 / 7, abs=1e-12)
    assert (result.tasks, result.rows) == (("compound",), 8)
    assert {name: result.report()[name] for name in ("compound_f1", "ccc_va", "au_f1", "tasks")} == {
        "compound_f1": result.compound_f1,
        "ccc_va": None,
        "au_f1": None,
        "tasks": ["compound"],
    }


def test_a_compound_expression_in_neither_counts_as_zero_and_is_warned_of() -> None:
    with pytest.warns(
        DataWarning, match=r"no Sadly_Surprised, .* in the truth; their F1 is 0, and the mean is still over seven"
    ):
        assert score_compound(compound(0, 1), compound(0, 1)).score == pytest.approx(2 / 7, abs=1e-12)


def test_compound_expressions_and_annotations_do_not_mix(truth: Truth, answer: Answer) -> None:
    annotated = truth(3)
    with pytest.raises(DataError, match="holds no task of the annotations"):
        score(annotated, compound(0, 1, 2))
    with pytest.raises(DataError, match="no compound expressions to score"):
        score_compound(compound(0, 1, 2), only(answer(annotated), "au"))
    with pytest.raises(DataError, match="rows are not those of the truth"):
        score_compound(compound(0, 1, 2), compound(0, 1))


def test_files_of_compound_expressions_are_scored_row_by_row(tmp_path: Path) -> None:
    plugin = get_format("abaw7-ce")
    right, given = compound(*range(7)), compound(*range(7))
    for name, table in (("truth.txt", right), ("given.txt", given)):
        write_submission(tmp_path / name, plugin.encode(table))
    assert score_file(tmp_path / "given.txt", tmp_path / "truth.txt", format_name="abaw7-ce").score == 1.0
    write_submission(tmp_path / "given.txt", plugin.encode(given.select(np.array([1, 0, *range(2, 7)]))))
    with pytest.raises(ProblemsError, match="out of order"):
        score_file(tmp_path / "given.txt", tmp_path / "truth.txt", format_name="abaw7-ce")


@pytest.mark.parametrize("name", ["abaw4", "abaw11", "abaw5-va", "abaw5-expr", "abaw5-au"])
def test_a_flat_file_is_scored_as_its_table_is_and_repeated_rows_keep_their_own_answers(
    tmp_path: Path, truth: Truth, answer: Answer, write_truth: WriteTruth, name: str
) -> None:
    annotated = truth(images=["v/00001.jpg"] * 4 + NAMES[:4], va=VA[:8])
    given = answer(annotated, va=annotated.va * 0.5)
    plugin = get_format(name)
    write_submission(tmp_path / "given.txt", plugin.encode(given))
    tasks = [task for task in TASKS if task in plugin.tasks]
    result = score_file(tmp_path / "given.txt", write_truth(annotated), format_name=name)
    assert result == score(annotated, only(given, *tasks))
    assert result.rows == 8
    shifted = given.select(np.array([1, *range(8)]))
    write_submission(tmp_path / "given.txt", plugin.encode(shifted))
    with pytest.raises(ProblemsError, match="nothing was scored"):
        score_file(tmp_path / "given.txt", write_truth(annotated), format_name=name)


@pytest.mark.parametrize(("name", "task"), [("abaw3-va", "va"), ("abaw3-expr", "expression"), ("abaw3-au", "au")])
@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_lines_of_a_folder_are_joined_with_annotations_by_video_and_frame(
    tmp_path: Path, truth: Truth, answer: Answer, write_truth: WriteTruth, name: str, task: Task, protocol: Protocol
) -> None:
    annotated = truth(10, images=NAMES, va=VA, au_valid=np.arange(10) < 8)
    given = only(answer(annotated, va=annotated.va * 0.5), task)
    write_submission(tmp_path / "given", get_format(name).encode(given))
    # the truth lists the same frames in another order, each twice, with numbers written in another way
    order = np.repeat(np.arange(10)[::-1], 2)
    twice = annotated.select(order)
    paths = [name.replace("/000", "/") for name in twice.images.to_pylist()]
    result = score_file(
        tmp_path / "given", write_truth(truth(20, **columns(twice), images=paths)), protocol=protocol, format_name=name
    )
    assert result == score(twice, given.select(order), protocol)


def columns(table: Annotations) -> dict[str, Any]:
    names = ("va", "expression", "au", "va_valid", "expression_valid", "au_valid")
    return {name: getattr(table, name) for name in names}


def test_a_folder_is_scored_against_a_folder_of_annotations_on_its_annotated_lines(tmp_path: Path) -> None:
    for folder, rows in (("truth", ["-5,-5", "0.5,-0.5", "-0.5,0.5"]), ("given", ["1,1", "0.5,-0.5", "-0.5,0.5"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "v.txt").write_text("\n".join(["valence,arousal", *rows]))
    result = score_file(tmp_path / "given", tmp_path / "truth", format_name="abaw3-va")
    assert (result.rows, result.score, result.tasks) == (2, 1.0, ("va",))


def test_an_annotated_frame_without_a_line_is_named_and_nothing_is_scored(
    tmp_path: Path, truth: Truth, answer: Answer, write_truth: WriteTruth
) -> None:
    annotated = truth(10, images=NAMES)
    short = only(answer(annotated), "va").select(np.arange(9))
    write_submission(tmp_path / "given", get_format("abaw3-va").encode(short))
    with pytest.raises(
        ProblemsError, match=r"no line for 'v/00031.jpg' \(line 11 of truth.txt\)\n.*nothing was scored"
    ):
        score_file(tmp_path / "given", write_truth(annotated), format_name="abaw3-va")
    unannotated = truth(10, images=NAMES, va_valid=np.arange(10) < 9)
    assert score_file(tmp_path / "given", write_truth(unannotated), format_name="abaw3-va").rows == 9
