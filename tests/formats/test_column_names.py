"""Whoever names columns means it: annotations are read by the names in their header, or refused by name."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation import curate, find_sources, open_curated
from abawkit.errors import DataWarning, ProblemsError
from abawkit.formats.base import get_format
from abawkit.formats.column_names import find_column, order_columns
from abawkit.formats.readers import read_annotations
from abawkit.labels import ACTION_UNITS, FIELDS

Write = Callable[..., Path]

CASES = Path(__file__).parents[1] / "cases"
VALUES = dict(zip(FIELDS, ["v/00001.jpg", "0.5", "-0.25", "3", *"101100000010"], strict=True))
REORDERED = r"columns are read by name: the header has .* in another order than the official one"


def table(columns: list[str], header: list[str] | None = None) -> str:
    """A file of one row whose columns are these, under a header of its own or of other names."""
    return "\n".join([",".join(header or columns), ",".join(VALUES[name] for name in columns), ""])


@pytest.mark.parametrize(
    "columns",
    [
        ["image", "arousal", "valence", *FIELDS[3:]],
        ["image", "expression", "valence", "arousal", *ACTION_UNITS],
        [*FIELDS[:4], *ACTION_UNITS[::-1]],
        [*FIELDS[:4], *ACTION_UNITS[:8], "AU25", "AU26", "AU23", "AU24"],
        ["image", *ACTION_UNITS, "expression", "arousal", "valence"],
        ["image", *sorted(FIELDS[1:])],
    ],
    ids=lambda columns: ",".join(columns[1:5]),
)
def test_columns_in_any_order_are_read_by_their_names(write: Write, columns: list[str]) -> None:
    with pytest.warns(DataWarning, match=REORDERED):
        annotations = read_annotations(write(table(columns)))
    assert annotations.va.tolist() == [[0.5, -0.25]]
    assert annotations.expression.tolist() == [3]
    assert annotations.au.tolist() == [[int(VALUES[unit]) for unit in ACTION_UNITS]]


def test_missing_values_and_defects_are_those_of_the_column_that_the_header_names(write: Write) -> None:
    columns = ["image", "expression", "arousal", "valence", *ACTION_UNITS]
    rows = ["v/1.jpg,-1,0.5,-5" + ",1" * 12, "v/2.jpg,8,0.5,0.25" + ",1" * 12, "v/3.jpg,7,1.5,0.25" + ",1" * 12]
    with pytest.warns(DataWarning, match=REORDERED):
        found = read_annotations(write("\n".join([",".join(columns), rows[0]])))
    assert (found.va_partial.tolist(), found.expression_valid.tolist()) == ([True], [False])
    with pytest.warns(DataWarning, match=REORDERED), pytest.raises(ProblemsError) as caught:
        read_annotations(write("\n".join([",".join(columns), *rows])))
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, "expression"), (4, "arousal")]


@pytest.mark.parametrize(
    "header",
    [
        "image,arousal,valence,expression,aus",
        "image, Arousal, Valence, Expression, AUs",
        '"image","arousal","valence","expression","aus"',
        "image_location,A,V,E,AU,,,,,,,,,,,",
        "image,aro,val,expr,AU01,AU02,AU04,AU06,AU07,AU10,AU12,AU15,AU23,AU24,AU25,AU26",
        "image,AROUSAL,VALENCE,emotion,au_1,au_2,au_4,au_6,au_7,au_10,au_12,au_15,au_23,au_24,au_25,au_26",
    ],
)
def test_names_are_known_however_they_are_written(header: str) -> None:
    assert order_columns(header).columns == ("arousal", "valence", *FIELDS[3:])


def test_every_order_of_the_four_names_of_the_official_header_is_that_of_its_columns() -> None:
    units = {name: (name,) for name in FIELDS} | {"aus": ACTION_UNITS}
    for names in itertools.permutations(["valence", "arousal", "expression", "aus"]):
        found = order_columns(",".join(["image", *names]))
        assert found.columns == tuple(column for name in names for column in units[name])
        assert (found.remark == "") == (found.columns == FIELDS[1:])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,arousal,valence", "names arousal, valence and leaves out expression, AU1"),
        ("image,aus", "names aus and leaves out valence, arousal, expression, so the order of the columns is unknown"),
        ("image,valence,expression,aus", "names valence, expression, aus and leaves out arousal, so"),
        ("image,valence,valence,expression,aus", "names valence twice, expected each column once"),
        ("image,valence,arousal,expression,aus,AU26", "names AU26 twice"),
        ("image,valence,dominance,expression,aus", "names 'dominance', expected valence, arousal, expression, 12 act"),
        ("image,valence,,expression,aus", "has a column without a name, expected valence"),
        ("image,valence,arousal,expression,AU1,AU2,AU4,AU5", "names 'AU5', expected"),
        ("image,valence,arousal,expression,aus,frame", "names 'frame', expected"),
        ("image,image,valence,arousal", "names 'image', expected"),
        ("image,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other", "names 'Neutral', expected"),
        ("image,Fearfully_Surprised", "names 'Fearfully_Surprised', expected"),
        ("image,arousal_mean,valence_mean", "names 'arousal_mean', expected"),
        ("image,AU01_c,AU02_c", "names 'AU01_c', expected"),
    ],
)
def test_a_header_that_does_not_say_which_column_is_which_is_refused(write: Write, header: str, message: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        read_annotations(write("\n".join([header, ",".join(VALUES.values())])))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (1, "")
    assert problem.message.startswith(f"the header {message}")
    advice = "correct line 1; the header of columns in the official order is 'image,valence,arousal,expression,aus'"
    assert str(caught.value).endswith(advice)


def test_a_name_that_is_none_is_not_known() -> None:
    assert [find_column(name) for name in ("", "x", "AU", "AU0", "AU100", "valence2")] == [
        None,
        None,
        "aus",
        None,
        None,
        None,
    ]


def test_a_release_whose_header_has_arousal_first_is_curated_with_each_value_under_its_name(tmp_path: Path) -> None:
    folder = CASES / "columns-in-another-order"
    with pytest.warns(DataWarning, match=REORDERED):
        curate(find_sources(folder, labels_only=True), tmp_path, policy="per-task")
    train = open_curated(tmp_path).splits["train"].annotations
    assert train.images[0].as_py() == "v1/00003.jpg"
    assert train.va[0].tolist() == [0.509, -0.86]
    assert train.au[0].tolist() == [0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("name", ["abaw7", "abaw4", "abaw5-va", "abaw5-au", "abaw3-va"])
def test_what_a_submission_is_scored_against_is_read_by_name_too(write: Write, name: str) -> None:
    path = write(table(["image", "arousal", "valence", "expression", *ACTION_UNITS[::-1]]))
    with pytest.warns(DataWarning, match=REORDERED):
        truth = get_format(name).read_truth(path)
    assert np.array_equal(truth.va, [[0.5, -0.25]])


def test_folds_without_a_header_are_read_in_the_official_order(tmp_path: Path) -> None:
    shutil.copytree(CASES / "folds-without-header", tmp_path / "folds")
    with pytest.warns(DataWarning, match="has no header; its first line is read as a row"):
        counts = curate(find_sources(tmp_path / "folds", labels_only=True), tmp_path, policy="per-task").splits
    assert (counts["train"].rows, counts["validation"].rows) == (8, 4)
