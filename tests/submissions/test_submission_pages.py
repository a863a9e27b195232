"""The pages of one submission and of all: scores, members, slots, and how files and errors differ."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation import open_curated
from abawkit.formats.base import get_format
from abawkit.formats.writing import write_submission
from abawkit.probabilities.members import read_member
from abawkit.reports.page import Cell, Page, render_page
from abawkit.reports.submission import make_submission_page, tabulate_correlations
from abawkit.reports.submission_list import make_submission_list_page
from abawkit.submissions.manifest import read_manifest, write_submission_manifest
from abawkit.submissions.slots import list_submissions, measure_nearness, record_score, record_sent
from abawkit.system.files import sha256_of
from abawkit.tables import Annotations
from abawkit.tuning.ensemble_analysis import analyse, correlate_errors
from tests.reports.test_page import EVIL
from tests.submissions.conftest import RECIPE, Bench

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")


@pytest.fixture(scope="module")
def truth(curated: Path) -> Annotations:
    return open_curated(curated).splits["validation"].annotations


def add_another(bench: Bench, name: str = "second") -> Path:
    """A second submission that was run, of other networks."""
    folder = bench.root / name
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE.replace("[1, 2]", "[3, 4]"))
    bench.submit(folder)
    return folder


def make_list_page(root: Path, truth: Annotations | None = None) -> Page:
    entries, slots = list_submissions(root)
    near = {
        entry.name: list(measure_nearness(root, entry.name, entry.manifest, slots))
        for entry in entries
        if entry.manifest and not entry.slots
    }
    return make_submission_list_page(root, entries, slots, near, truth)


def test_a_submission_shows_what_its_manifest_says(written: Bench, truth: Annotations) -> None:
    manifest = read_manifest(written.folder)
    assert manifest
    page = make_submission_page(written.folder, manifest, truth)
    assert [section.title for section in page.sections][:3] == ["Validation", "Against simpler ones", "Members"]
    found, interval = manifest.validation, manifest.validation.interval
    assert page.sections[0].tiles[0].value == f"{found.crossfitted.score:.4f}"
    assert page.sections[0].tiles[0].note == f"{interval.low:.3f} to {interval.high:.3f}"
    assert [row[0] for row in page.sections[0].tables[0].rows[-2:]] == ["all-seed1 alone", "all-seed2 alone"]
    assert page.sections[1].charts[0].table.rows[0][1] == f"{found.difference.value:+.4f}"
    text = render_page(page)
    assert text == render_page(make_submission_page(written.folder, manifest, truth))
    assert all(network.sha256 in text for network in manifest.networks)
    assert f"abawkit submissions sent first --folder {written.root}" in text
    assert len(text) < 3_000_000


def test_correlations_of_errors_stand_in_the_members_tables(written: Bench, truth: Annotations) -> None:
    manifest = read_manifest(written.folder)
    assert manifest
    members = [read_member(written.folder / f"outputs/validation/all-seed{seed}.npz") for seed in (1, 2)]
    found = correlate_errors(members, truth)
    page = make_submission_page(written.folder, manifest, truth)
    prospects, *tables = page.sections[2].tables
    one = analyse(members, truth).contributions[1]
    assert one.prospect
    assert prospects.rows[1][0] == "all-seed2"
    assert prospects.rows[1][-2:] == [f"{one.prospect.expected:.4f}", f"{one.adds['score']:+.4f}"]
    for table, matrix in zip(tables, found.values(), strict=True):
        first, second = table.rows
        assert first[1] == ""
        assert isinstance(second[1], Cell)
        assert second[1].text == f"{matrix[0, 1]:.3f}"


def test_a_correlation_that_is_not_known_has_no_colour() -> None:
    matrix = np.array([[1.0, np.nan, -0.5], [np.nan, np.nan, np.nan], [-0.5, np.nan, 1.0]])
    (table,) = tabulate_correlations({"au": matrix}, ["a", "b", "c"])
    assert table.rows[0] == ["1 a", "", "-", Cell("-0.500", 0.0)]


def test_slots_are_shown_with_what_was_expected_and_returned(written: Bench) -> None:
    record_sent(written.root, "first", slots=5, note=EVIL)
    page = make_list_page(written.root)
    assert page.sections[0].charts[0].text == "No score was returned yet."
    record_score(written.root, "first", 2.5)
    page = make_list_page(written.root)
    assert page.sections[0].charts[0].text == "Returned within its forecast: 0 of 1."
    assert page.sections[0].charts[0].table.rows[0][-1] == "2.5000"
    assert "<script>alert" not in render_page(page)
    assert "&lt;script&gt;alert" in render_page(page)


def test_files_of_one_list_are_compared_with_each_other_and_with_what_was_sent(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    folder = add_another(written)
    page = make_list_page(written.root)
    assert list(page.sections[3].tables[0].rows[0][:2]) == ["first", "second"]
    assert page.sections[3].tables[1].rows[0][0] == "second"
    assert page.sections[3].tables[1].rows[0][3] == "-"
    first = written.folder / "outputs/predictions.txt"
    answers = get_format("abaw7").read(first)
    almost = replace(answers, va=np.clip(answers.va + 0.001, -1, 1))
    write_submission(folder / "outputs/predictions.txt", get_format("abaw7").encode(almost))
    manifest = read_manifest(folder)
    assert manifest
    official = manifest.submission.model_copy(update={"sha256": sha256_of(folder / "outputs/predictions.txt")})
    write_submission_manifest(folder, manifest.model_copy(update={"submission": official}))
    assert make_list_page(written.root).sections[3].tables[1].rows[0][3] == "nearly the same"


def test_with_a_truth_errors_are_correlated_and_who_lacks_its_rows_is_left_out(
    written: Bench, truth: Annotations
) -> None:
    add_another(written)
    shutil.copytree(written.folder, written.root / "third")
    (written.root / "third/outputs/crossfitted.npz").unlink()
    section = make_list_page(written.root, truth).sections[-1]
    assert [len(table.rows) for table in section.tables] == [2, 2, 2]
    (note,) = section.notes
    assert note.startswith("third is left out: ")
    fewer = make_list_page(written.root, truth.select(np.arange(len(truth)) > 0)).sections[-1]
    assert not fewer.tables
    assert fewer.notes[-1] == "Fewer than two have probabilities of these rows."


def test_folders_that_were_not_run_or_are_damaged_are_in_the_list(written: Bench) -> None:
    for name in ("damaged", "new"):
        (written.root / name).mkdir()
        (written.root / name / "recipe.toml").write_text(RECIPE if name == "new" else "seedz = 1")
    section = make_list_page(written.root).sections[1]
    rows = {str(row[0]): row[2] for row in section.tables[0].rows}
    assert rows == {"damaged": "not run", "first": "as written", "new": "not run"}
    assert section.notes[0].startswith("damaged can't be listed: ")
    empty = written.root / "none"
    empty.mkdir()
    assert render_page(make_list_page(empty))
