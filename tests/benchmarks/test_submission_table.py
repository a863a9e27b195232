"""The table of a submission's README: the figures of its manifest, and those of its files on the test split."""

import re
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.scoring.matching import read_truth, score_file
from abawkit.submissions.manifest import read_manifest
from benchmarks.submission_table import make_table
from tests.submissions.conftest import Bench, bench, written, written_once  # noqa: F401 - fixtures


@pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")
def test_the_table_has_the_scores_of_validation_and_of_the_test_split(written: Bench, release: Path) -> None:  # noqa: F811
    truth = release / "held_out/test_set_annotations.txt"
    *rows, _, sentence = make_table(written.folder, read_truth(truth))
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[-1].removesuffix(" |") for row in rows}
    manifest = read_manifest(written.folder)
    assert manifest
    found = manifest.validation
    assert cells["validation, out-of-fold"] == f"{found.crossfitted.score:.4f}".lstrip("0")
    assert cells["all-seed1"] == f"{found.members[0].validation.score:.4f}".lstrip("0")
    for name, file in (("the submission", "predictions.txt"), ("all-seed2", "test/all-seed2.txt")):
        score = score_file(written.folder / "outputs" / file, truth).score
        assert float(cells[f"held-out test, {name}"]) == pytest.approx(score, abs=2e-4)
    assert re.search(rf"Over {found.best_member}, .*: [+-]\.\d{{4}} \(95 %: [+-]\.\d{{4}} to ", sentence)


def test_a_submission_that_was_not_run_is_refused(bench: Bench, release: Path) -> None:  # noqa: F811
    truth = read_truth(release / "held_out/test_set_annotations.txt")
    with pytest.raises(DataError, match="was not run"):
        list(make_table(bench.folder, truth))
