"""Every edition's form, byte for byte, against small files that were written by hand; and what each takes as a list."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError, ProblemsError
from abawkit.formats.base import SubmissionFormat, get_format, list_format_names
from abawkit.formats.writing import read_submission_bytes
from abawkit.labels import COMPOUND_EXPRESSIONS, EXPRESSIONS
from abawkit.tables import Annotations, Predictions, Submission

GOLDEN = Path(__file__).parents[1] / "golden/formats"
MULTI_TASK = ["abaw11", "abaw4", "abaw7"]
FLAT = ["abaw5-au", "abaw5-expr", "abaw5-va", "abaw7-ce", *MULTI_TASK]
FOLDERS = ["abaw3-au", "abaw3-expr", "abaw3-va"]
NAMES = ["a/00001.jpg", "a/00005.jpg", "b_left/00002.jpg", "a/00001.jpg"]

# Probabilities of which each decision can be told by looking.
SAID: list[tuple[tuple[float, float], dict[str, float], str]] = [
    ((0.5, -0.25), {"Happiness": 0.6, "Surprise": 0.3, "Neutral": 0.1}, "000100100000"),
    ((-1.0, 0.123456), {"Fear": 0.4, "Sadness": 0.4, "Anger": 0.2}, "001000010000"),
    ((0.0, 1.0), {"Other": 1.0}, "000000000000"),
    ((0.000001, -0.999999), {"Anger": 0.5, "Surprise": 0.3, "Sadness": 0.2}, "111111111111"),
]
COMPOUND = ["Happily_Surprised", "Sadly_Fearful", "Fearfully_Surprised", "Angrily_Surprised"]


def place(name: str) -> Path:
    return GOLDEN / (name if name in FOLDERS else f"{name}.txt")


def columns(submission: Submission, plugin: SubmissionFormat) -> list[Any]:
    return [getattr(submission, answer).tolist() for answer in plugin.tasks]


@pytest.fixture(scope="module")
def decided() -> Submission:
    return Predictions(
        images=pa.array(NAMES),
        va=np.array([va for va, _, _ in SAID], np.float32),
        expression=np.array([[said.get(name, 0) for name in EXPRESSIONS] for _, said, _ in SAID], np.float32),
        au=np.array([[float(unit) for unit in au] for _, _, au in SAID], np.float32),
    ).decide()


def test_abawkit_offers_these_formats() -> None:
    assert set(list_format_names()) >= {*FLAT, *FOLDERS}


@pytest.mark.parametrize("name", [*FLAT, *FOLDERS])
def test_every_format_says_what_it_is(name: str) -> None:
    plugin = get_format(name)
    assert (plugin.name, plugin.container) == (name, "folder" if name in FOLDERS else "file")
    assert plugin.summary.isprintable()


@pytest.mark.parametrize("name", [*FLAT, *FOLDERS])
def test_decisions_are_written_as_in_the_file_written_by_hand(name: str, decided: Submission) -> None:
    assert get_format(name).encode(decided) == read_submission_bytes(place(name))


@pytest.mark.parametrize("name", [*FLAT, *FOLDERS])
def test_the_file_written_by_hand_has_no_defect(name: str) -> None:
    plugin = get_format(name)
    assert plugin.check(place(name), plugin.read_list(GOLDEN / "list.txt")) == []


@pytest.mark.parametrize("name", FLAT)
def test_reading_gives_the_decisions_that_were_written_and_holds_nothing_else(name: str, decided: Submission) -> None:
    plugin = get_format(name)
    again = plugin.read(place(name))
    assert again.images.to_pylist() == NAMES
    assert again.tasks == plugin.tasks
    assert columns(again, plugin) == columns(decided, plugin)
    assert (again.compound is None) == (name != "abaw7-ce")


@pytest.mark.parametrize("name", FOLDERS)
def test_reading_a_folder_gives_a_row_for_each_line_named_by_file_and_line(name: str, decided: Submission) -> None:
    plugin = get_format(name)
    again = plugin.read(place(name))
    assert again.images.to_pylist() == [*(f"a/{k:05}.jpg" for k in range(1, 6)), "b_left/00001.jpg", "b_left/00002.jpg"]
    assert again.tasks == plugin.tasks
    # frame 3 is as near to frame 1 as to frame 5, and takes the earlier one's answer; the repeated row answers nothing
    assert columns(again, plugin) == columns(decided.select(np.array([0, 0, 0, 1, 1, 2, 2])), plugin)


def test_the_compound_expression_is_the_pair_whose_product_is_the_highest(decided: Submission) -> None:
    assert decided.compound is not None
    assert [list(COMPOUND_EXPRESSIONS)[index] for index in decided.compound] == COMPOUND


@pytest.mark.parametrize("name", [*FLAT, *FOLDERS])
@pytest.mark.parametrize("ending", ["", ",", ",-5,-5,-1"])
def test_rows_of_a_list_end_in_nothing_in_a_comma_or_in_dummy_values(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(["image", *(image + ending for image in NAMES)]))
    frames = get_format(name).read_list(path)
    assert (frames.images.to_pylist(), frames.lines.tolist()) == (NAMES, [2, 3, 4, 5])


@pytest.mark.parametrize("name", ["abaw5-va", "abaw7-ce", "abaw3-au"])
def test_a_list_whose_header_is_that_of_the_edition_gives_no_warning(name: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(["image_location", *NAMES]))
    assert get_format(name).read_list(path).images.to_pylist() == NAMES


@pytest.mark.parametrize("name", ["abaw5-expr", "abaw7-ce", "abaw3-expr"])
def test_a_blank_behind_a_comma_of_the_header_is_read_and_never_written(
    name: str, tmp_path: Path, decided: Submission
) -> None:
    plugin = get_format(name)
    source = place(name) / "a.txt" if name in FOLDERS else place(name)
    header, _, rest = source.read_text().partition("\n")
    target = tmp_path / "a.txt"
    target.write_text(re.sub(",(?=S)", ", ", header) + "\n" + rest)
    path = tmp_path if name in FOLDERS else target
    assert " S" in target.read_text()
    again, before = plugin.read(path), plugin.read(place(name))
    assert columns(again, plugin) == columns(before.select(np.arange(len(again))), plugin)
    content = plugin.encode(decided)
    assert b" " not in (content if isinstance(content, bytes) else content["a.txt"])


@pytest.mark.parametrize("name", ["abaw5-va", "abaw3-expr", "abaw7-ce", "abaw7"])
def test_decisions_that_a_format_has_no_use_for_are_refused(name: str) -> None:
    others = Submission.of(pa.array(NAMES), au=np.zeros((4, 12), np.int8))
    with pytest.raises(DataError, match=f"{name}: needs .*, and these decisions are of au alone"):
        get_format(name).encode(others)


@pytest.mark.parametrize("name", ["abaw5-va", "abaw5-expr", "abaw5-au", *FOLDERS])
def test_what_is_scored_against_may_be_marked_as_missing_in_the_form_of_the_submission(
    name: str, tmp_path: Path
) -> None:
    plugin = get_format(name)
    marks = {"va": "-5,-5", "expression": "-1", "au": ",".join(["-1"] * 12)}
    good = {"va": "0.5,0.25", "expression": "2", "au": ",".join(["1"] * 12)}
    (task,) = plugin.tasks
    named = "" if name in FOLDERS else "v/{}.jpg,"
    header = getattr(plugin, "header", "")
    path = tmp_path / "v.txt"
    path.write_text("\n".join([header, named.format(1) + good[str(task)], named.format(2) + marks[str(task)]]))
    truth = plugin.read_truth(tmp_path if name in FOLDERS else path)
    assert isinstance(truth, Annotations)
    masks = {"va": truth.va_valid, "expression": truth.expression_valid, "au": truth.au_valid}
    assert {other: mask.tolist() for other, mask in masks.items()} == {other: [other == task, False] for other in masks}
    with pytest.raises(ProblemsError, match=r"got '-[15]', expected an? .* in"):
        plugin.read(tmp_path if name in FOLDERS else path)


@pytest.mark.parametrize("name", ["abaw5-va", "abaw3-expr", "abaw11"])
def test_an_annotation_file_of_sixteen_columns_is_truth_for_every_task(name: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    path.write_text("image\nv/00001.jpg,0.5,-0.25,3" + ",1" * 12 + "\n")
    truth = get_format(name).read_truth(path)
    assert isinstance(truth, Annotations)
    assert truth.all_valid.tolist() == [True]


def test_the_truth_of_compound_expressions_is_a_file_of_their_own_form() -> None:
    truth = get_format("abaw7-ce").read_truth(place("abaw7-ce"))
    assert isinstance(truth, Submission)
    assert truth.tasks == ("compound",)
    with pytest.raises(DataError, match="got the header"):
        get_format("abaw7-ce").read_truth(place("abaw7"))
