"""Labels dropped on request: what is listed and nothing else, and lists of other annotations are refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.curation import Sources, curate, open_curated
from abawkit.curation.label_drops import REVIEW_COLUMNS, format_label
from abawkit.errors import DataError
from abawkit.inspection import inspect

Release = Callable[..., Sources]
Row = Callable[..., str]

HEADER = ",".join(REVIEW_COLUMNS)
FEAR = "train,3,v/2.jpg,expression,expression=Fear,expression=Other,contradicted,0.7,"


@pytest.fixture
def sources(release: Release, row: Row) -> Sources:
    """Two training rows with all labels, one with an expression alone, and two validation rows."""
    train = [row("v/1.jpg"), row("v/2.jpg"), row("v/3.jpg", va="-5,-5", au=",".join(["-1"] * 12))]
    return release(train, [row("clip/1.jpg"), row("clip/2.jpg")])


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """Writes a list of these lines."""

    def listed(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / "review.csv"
        path.write_text("\n".join([header, *lines, ""]))
        return path

    return listed


def test_the_task_that_is_listed_is_not_annotated_any_more_and_the_row_keeps_the_others(
    sources: Sources, listed: Callable[..., Path], out: Path
) -> None:
    path = listed(FEAR, "validation,2,clip/1.jpg,va,arousal=-0.25,arousal=0.5,outlier,,")
    result = curate(sources, out, policy="per-task", drop=[path])
    found = open_curated(out).splits
    train = found["train"].annotations
    assert train.expression_valid.tolist() == [True, False, True]
    assert (train.expression[1], train.va[1].tolist()) == (0, [0.5, -0.25])
    assert train.va_valid.tolist() == [True, True, False]
    assert found["train"].kept.tolist() == [True, True, True]
    assert found["validation"].annotations.va_valid.tolist() == [False, True]
    assert result.dropped_labels == {
        "train": {"expression": {"contradicted": 1}},
        "validation": {"va": {"outlier": 1}},
    }


def test_a_row_that_is_kept_no_longer_says_so_and_one_that_never_was_does_not(
    sources: Sources, listed: Callable[..., Path], out: Path
) -> None:
    path = listed(FEAR, "train,4,v/3.jpg,expression,expression=Fear,,mine,,")
    result = curate(sources, out, policy="strict", drop=[path])
    with (out / "dropped.csv").open(newline="") as file:
        reasons = {line["line"]: line["reasons"] for line in csv.DictReader(file)}
    assert reasons["3"] == "expression-missing;label-dropped"
    assert reasons["4"] == "va-missing;expression-missing;au-missing;no-label"
    assert result.splits["train"].reasons["label-dropped"] == 1


def test_the_ledger_names_the_list_and_every_label_that_went(
    sources: Sources, listed: Callable[..., Path], out: Path
) -> None:
    path = listed(FEAR, FEAR.replace("contradicted", "near-duplicate"))
    curate(sources, out, policy="per-task", drop=[path])
    ledger = json.loads((out / "ledger.json").read_text())
    assert [entry["path"] for entry in ledger["drop"]] == [str(path)]
    assert ledger["dropped_labels"] == {"train": {"expression": {"contradicted": 1}}}  # once, by its first reason
    lines = (out / "dropped-labels.csv").read_text().splitlines()
    assert lines[:2] == [
        "split,line,image,task,label,reason",
        "train,3,v/2.jpg,expression,expression=Fear,contradicted",
    ]
    found = inspect(out)
    assert found.problems == []
    assert found.facts["dropped_labels"] == {"train": {"expression": {"contradicted": 1}}}
    (out / "dropped-labels.csv").unlink()
    assert inspect(out).problems == [f"{out / 'dropped-labels.csv'}: is absent"]


def test_without_a_list_there_is_no_file_of_labels(sources: Sources, out: Path) -> None:
    curate(sources, out, policy="per-task")
    assert not (out / "dropped-labels.csv").exists()
    assert json.loads((out / "ledger.json").read_text())["drop"] == []


def test_columns_may_stand_in_any_order_and_those_that_are_not_needed_be_absent(
    sources: Sources, listed: Callable[..., Path], out: Path
) -> None:
    path = listed("mine,expression=Fear,expression,v/2.jpg,3,train", header="reason,label,task,image,line,split")
    assert curate(sources, out, policy="per-task", drop=[path]).dropped_labels["train"]["expression"] == {"mine": 1}


def test_an_image_whose_name_would_be_a_formula_is_found_again(
    release: Release, row: Row, listed: Callable[..., Path], out: Path
) -> None:
    sources = release([row("v/1.jpg"), row("=v/2.jpg")])
    path = listed(FEAR.replace("v/2.jpg", "'=v/2.jpg"))
    assert curate(sources, out, policy="per-task", drop=[path]).dropped_labels["train"]["expression"]


def test_a_label_says_field_and_value(sources: Sources, out: Path) -> None:
    curate(sources, out, policy="per-task")
    annotations = open_curated(out).splits["train"].annotations
    assert format_label(annotations, 0, "va") == "valence=0.5 arousal=-0.25"
    assert format_label(annotations, 0, "expression") == "expression=Fear"
    assert format_label(annotations, 0, "au", ["AU4", "AU26"]) == "AU4=0 AU26=1"


@pytest.mark.parametrize(
    ("lines", "number", "message"),
    [
        ([FEAR.replace("v/2", "w/2")], 2, "line 3 of the train annotations is 'v/2.jpg', not 'w/2.jpg'"),
        ([FEAR, FEAR.replace("train,3", "train,99")], 3, "line 99 is no row of the train annotations"),
        (
            [FEAR.replace("expression=Fear", "expression=Anger")],
            2,
            "got 'expression=Anger', annotated is 'expression=Fear'",
        ),
        ([FEAR.replace("expression=Fear", "")], 2, "column 'label': got ''"),
        (["train,4,v/3.jpg,va,valence=0.5,,outlier,,"], 2, "'v/3.jpg' is not annotated with va"),
        ([FEAR, FEAR], 3, "review.csv:2: the same row, task and reason"),
        ([FEAR.replace("train", "test")], 2, "column 'split': got 'test', expected train or validation"),
        ([FEAR.replace(",expression,", ",smile,")], 2, "column 'task': got 'smile'"),
        ([FEAR.replace(",3,", ",three,")], 2, "column 'line': got 'three'"),
        ([FEAR.replace("contradicted", "")], 2, "column 'reason': got ''"),
        ([FEAR.replace("0.7", "1.7")], 2, "column 'strength': got '1.7', expected a number in 0..1"),
        ([f"{FEAR},more"], 2, "has 10 fields, the header has 9"),
        ([f'{FEAR}"open'], 2, "is no CSV"),
    ],
)
def test_a_list_of_other_annotations_is_refused_with_its_line_and_nothing_is_written(
    sources: Sources, listed: Callable[..., Path], out: Path, lines: list[str], number: int, message: str
) -> None:
    path = listed(*lines)
    with pytest.raises(DataError) as refused:
        curate(sources, out, policy="per-task", drop=[path])
    assert str(refused.value).startswith(f"{path}:{number}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f"{HEADER},force", "got 'force', which is none of its columns"),
        (HEADER.replace(",", ";"), "; separate cells by commas"),
        (f"{HEADER},line", "got 'line' twice"),
        (HEADER.replace(",task", "").replace(",label", ""), "has no column task and no label"),
    ],
)
def test_another_header_is_refused(
    sources: Sources, listed: Callable[..., Path], out: Path, header: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        curate(sources, out, drop=[listed(header=header)])
