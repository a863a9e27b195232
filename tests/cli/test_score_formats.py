"""``abawkit score`` of formats of one task: only what they hold is shown, and JSON says what that is."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.formats.base import get_format

Run = Callable[..., subprocess.CompletedProcess[str]]

GOLDEN = Path(__file__).parents[1] / "golden/formats"
SHOWN = {
    "va": ["CCC valence", "CCC arousal", "CCC, mean of both"],
    "expression": ["F1, mean of 8 expressions", "Happiness"],
    "au": ["F1, mean of 12 action units", "AU26"],
    "compound": ["F1, mean of 7 compound expressions", "Sadly_Angry"],
}


@pytest.mark.parametrize("name", ["abaw3-expr", "abaw3-va", "abaw5-au", "abaw5-expr", "abaw5-va", "abaw7-ce"])
def test_only_what_a_format_holds_is_shown_and_no_published_result_beside_it(run: Run, name: str) -> None:
    (held,) = get_format(name).holds
    given = GOLDEN / (name if name.startswith("abaw3") else f"{name}.txt")
    truth = given if held == "compound" else GOLDEN / "abaw7.txt"  # a submission is in the form of annotations too
    shown = run("score", given, "--format", name, "--truth", truth).stdout
    assert {text for texts in SHOWN.values() for text in texts if text in shown} == set(SHOWN[held])
    assert "Published" not in shown
    out = json.loads(run("score", given, "--format", name, "--truth", truth, "--json").stdout)
    parts = {"va": "ccc_va", "expression": "expression_f1", "au": "au_f1", "compound": "compound_f1"}
    assert out["tasks"] == [held]
    assert out["score"] == out[parts[held]] > 0
    assert all(out.get(part) is None for task, part in parts.items() if task != held)


@pytest.mark.parametrize("name", ["abaw4", "abaw11"])
def test_a_multi_task_format_is_shown_with_what_was_published(run: Run, name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    shown = run("score", path, "--format", name, "--truth", path).stdout
    assert all(text in shown for task in ("va", "expression", "au") for text in SHOWN[task])
    assert "Published, on the official test set" in shown


def test_a_truth_that_is_none_of_the_format_is_named(run: Run) -> None:
    path = GOLDEN / "abaw7-ce.txt"
    result = run("score", path, "--format", "abaw7-ce", "--truth", GOLDEN / "abaw7.txt", code=3)
    assert "got the header 'image,valence,arousal,expression,aus'" in result.stderr
    result = run("score", path, "--format", "abaw3-va", "--truth", path, code=3)
    assert "is a file; expected a folder with a text file for each video" in result.stderr
