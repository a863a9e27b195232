"""Lists of doubtful labels and rules: small files that are made to be edited by hand."""

import json
from pathlib import Path

import pytest

from abawkit.curation.label_drops import REVIEW_COLUMNS
from abawkit.inspection import inspect
from abawkit.system.files import sha256_of

LINES = [
    "train,2,a/00001.jpg,expression,expression=Fear,expression=Anger,contradicted,0.97,",
    "train,2,a/00001.jpg,au,AU4=1 AU6=0,AU4=0,contradicted,0.91,",
    "validation,7,b/00002.jpg,va,valence=0.5 arousal=-0.25,valence=-0.5,outlier,0.4,",
]


def write_list(path: Path, lines: list[str], columns: tuple[str, ...] = REVIEW_COLUMNS) -> Path:
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


def test_a_list_of_doubtful_labels_is_counted_by_reason_and_task(tmp_path: Path) -> None:
    path = write_list(tmp_path / "review.csv", LINES)
    found = inspect(path)
    assert (found.kind, found.problems) == ("label list", [])
    assert found.summary == "3 doubtful labels: 2 contradicted, 1 outlier"
    assert found.facts == {
        "lines": 3,
        "rows": 2,
        "splits": {"train": 2, "validation": 1},
        "reasons": {"contradicted": {"expression": 1, "au": 1}, "outlier": {"va": 1}},
    }
    assert found.digests == {"list": sha256_of(path)}


def test_a_list_may_be_empty_or_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    assert inspect(write_list(tmp_path / "empty.csv", [])).summary == "0 doubtful labels"
    saved = tmp_path / "saved.csv"
    saved.write_bytes(b"\xef\xbb\xbf" + write_list(tmp_path / "plain.csv", LINES).read_bytes().replace(b"\n", b"\r\n"))
    assert inspect(saved).facts["lines"] == 3


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([LINES[0], LINES[0]], ":3: repeats"),
        (["train,0,a,va,valence=0,,outlier,0.4,"], ":2: column 'line': got '0'"),
        (["train,2,a,va"], ":2: has 4 fields, the header has 9"),
    ],
)
def test_what_curate_would_refuse_of_a_list_is_a_problem(tmp_path: Path, lines: list[str], problem: str) -> None:
    (found,) = inspect(write_list(tmp_path / "review.csv", lines)).problems
    assert problem in found


def test_a_list_without_a_column_is_still_taken_for_one(tmp_path: Path) -> None:
    path = write_list(tmp_path / "review.csv", [], ("line", "image", "task", "label", "reason"))
    assert "has no column split" in inspect(path).problems[0]


def test_a_rule_says_what_it_does_and_what_it_was_fitted_on(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    rule = {
        "rule": 2,
        "weights": {"va": {"aaaa": 1.0, "bbbb": 2.0}},
        "smoothing": {"va": {"kind": "median", "radius": 5}, "au": {"kind": "none"}},
        "calibration": {"bias": {"Fear": 0.5}, "thresholds": {"AU1": 0.4, "AU2": 0.5}},
        "evidence": {
            "rows": 1280,
            "videos": 32,
            "protocol": "official",
            "members": [{"key": "aaaa", "file": "a.npz"}, {"key": "bbbb", "file": "b.npz"}],
            "cross_fitted": {"score": {"value": 1.2}},
            "tried": {"va": [{}] * 99},
        },
    }
    path.write_text(json.dumps(rule))
    found = inspect(path)
    assert (found.kind, found.problems) == ("rule", [])
    assert found.summary == (
        "a rule for 2 members: weighs va; smooths va; calibrates expression, au; fitted on 1,280 rows of 32 videos"
    )
    assert found.facts["calibration"] == {"expression": {"Fear": 0.5}, "au": {"AU1": 0.4}}
    assert found.facts["members"] == {"aaaa": "a.npz", "bbbb": "b.npz"}
    assert found.facts["scores"] == {"cross_fitted": {"score": {"value": 1.2}}}
    assert found.digests == {"rule": sha256_of(path)}


def test_a_rule_by_hand_has_no_evidence_and_a_wrong_one_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    path.write_text('{"rule": 1}')
    assert inspect(path).summary == "a rule: changes nothing"
    path.write_text('{"rule": 1, "weigths": {}}')
    assert "weigths" in inspect(path).problems[0]
