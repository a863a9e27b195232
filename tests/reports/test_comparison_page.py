"""The page of a comparison: the same bytes, names that stay text, noise that is marked."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.reports.compare import make_comparison_page
from abawkit.reports.page import render_page
from abawkit.scoring.changes import compare_submissions
from abawkit.scoring.comparison import Comparison, compare_under_both
from abawkit.tables import Annotations, Submission
from tests.reports.test_page import EVIL, Reader
from tests.scoring.conftest import make_truth

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")

COUNT = 240


def compare(names: list[str], wrong: list[float], held: tuple[str, ...] = ("va", "expression", "au")) -> str:
    """The page of submissions of which these shares of rows are wrong, on six videos."""
    truth: Annotations = make_truth(COUNT, images=[f"{'uvwxyz'[row // 40]}/{row:05}.jpg" for row in range(COUNT)])
    rng = np.random.default_rng(5)
    answers = []
    for share in wrong:
        rows = rng.random(COUNT) < share
        columns = {
            "va": np.where(rows[:, None], -truth.va, truth.va),
            "expression": np.where(rows, (truth.expression + 1) % 8, truth.expression).astype(np.int8),
            "au": np.where(rows[:, None], 1 - truth.au, truth.au).astype(np.int8),
        }
        answers.append(Submission.of(pa.array(truth.images), **{task: columns[task] for task in held}))
    pairs = combinations(range(len(answers)), 2)
    changes = {(first, second): compare_submissions(answers[first], answers[second]) for first, second in pairs}
    scores = compare_under_both(truth, answers, names, "official")
    found = Comparison(tuple(names), tuple(map(Path, names)), changes, scores)
    return render_page(make_comparison_page(found, truth, answers, Path("truth.txt")))


def test_the_same_comparison_gives_the_same_bytes() -> None:
    assert compare(["a", "b", "c"], [0.1, 0.12, 0.6]) == compare(["a", "b", "c"], [0.1, 0.12, 0.6])


def test_names_are_never_markup() -> None:
    plain, evil = Reader(compare(["a", "b"], [0.1, 0.5])), Reader(compare([EVIL, f"{EVIL}2"], [0.1, 0.5]))
    assert evil.tags == plain.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in plain.attributes]


def test_noise_is_in_brackets_and_intervals_of_many_are_called_simultaneous() -> None:
    text = compare(["near", "best", "far", "alike"], [0.14, 0.1, 0.7, 0.13])
    assert "all 6 pairs are simultaneous" in text
    matrix = text[text.index("Differences in P, official protocol") :]
    far = next(row for row in re.findall(r"<tr>.*?</tr>", matrix, re.DOTALL) if "4 far" in row)
    assert far.count('class="shaded"') == 3
    assert re.search(r">\([+-]0\.\d{4}\)<", matrix)
    assert len(text.encode()) < 3_000_000


def test_two_submissions_of_one_task_have_the_part_alone() -> None:
    text = compare(["a", "b"], [0.1, 0.5], held=("au",))
    assert "simultaneous" not in text
    assert "only 6 videos are scored" in text
    assert "F1 by action unit" in text
    assert "F1 by expression" not in text
    assert "Differences in F1 action units, official protocol" in text
