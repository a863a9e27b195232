"""A command that has nothing to do, or whose result changes nothing, says so: it doesn't end as if all were well."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.labels import ACTION_UNITS, EXPRESSIONS

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

IMAGES = [f"v{video}/{frame:05}.jpg" for video in range(6) for frame in (1, 3, 8)]


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """Probabilities of two systems for the same rows."""
    header = ",".join(["image", "valence", "arousal", *EXPRESSIONS, *ACTION_UNITS])
    paths = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        rows = [
            [*rng.uniform(-1, 1, 2), *rng.dirichlet(np.ones(len(EXPRESSIONS))), *rng.uniform(0, 1, len(ACTION_UNITS))]
            for _ in IMAGES
        ]
        lines = [f"{image}," + ",".join(f"{v:.6f}" for v in row) for image, row in zip(IMAGES, rows, strict=True)]
        paths.append(tmp_path / f"m{seed}.csv")
        paths[-1].write_text("\n".join([header, *lines, ""]))
    return paths


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Annotations of these rows in which no row has an expression."""
    path = tmp_path / "truth.txt"
    rows = [f"{image},{k / 20:.2f},{-k / 20:.2f},-1" + f",{k % 2}" * 12 for k, image in enumerate(IMAGES)]
    path.write_text("\n".join(["image", *rows, ""]))
    return path


def answers(path: Path, expression: int) -> Path:
    rows = [f"{image},{k / 20:.2f},0.1,{expression}" + ",1" * 12 for k, image in enumerate(IMAGES)]
    path.write_text("\n".join(["image,valence,arousal,expression,aus", *rows, ""]))
    return path


def test_smoothing_of_no_task_is_refused(run: Run, members: list[Path], tmp_path: Path) -> None:
    arguments = ("smooth", members[0], "--va", "none", "--expression", "none", "--out", tmp_path / "s.csv")
    assert "nothing is smoothed" in run(*arguments, code=2).stderr
    assert not (tmp_path / "s.csv").exists()


def test_smoothing_that_changes_nothing_is_a_warning(run: Run, members: list[Path], tmp_path: Path) -> None:
    arguments = ("smooth", members[0], "--va", "median:0", "--expression", "gaussian:1:9", "--out", tmp_path / "s.csv")
    shown = run(*arguments).stderr
    assert "warning: median:0 changes nothing of va" in shown
    assert "of expression" not in shown


@pytest.mark.parametrize("name", ["calibrate", "tune", "ensemble", "compare", "score"])
def test_a_task_that_no_row_of_the_truth_is_annotated_with_is_named_by_all_that_score(
    run: Run, members: list[Path], truth: Path, tmp_path: Path, name: str
) -> None:
    first, second = answers(tmp_path / "a.txt", 1), answers(tmp_path / "b.txt", 2)
    commands: dict[str, list[Any]] = {
        "calibrate": [members[0], "--out", tmp_path / "rule.json"],
        "tune": [*members, "--out", tmp_path / "rule.json", "--no-calibration", "--no-weights"],
        "ensemble": [*members, "--out", tmp_path / "both.txt"],
        "compare": [first, second],
        "score": [first],
    }
    shown = run(name, *commands[name], "--truth", truth).stderr.splitlines()
    assert shown.count("warning: no annotated row for expression; it scores 0") == 1


def test_a_rule_that_changes_nothing_is_called_so(run: Run, members: list[Path], truth: Path, tmp_path: Path) -> None:
    arguments = ("calibrate", members[0], "--truth", truth, "--tasks", "expression", "--out", tmp_path / "rule.json")
    assert "warning: the rule changes nothing" in run(*arguments).stderr


def test_a_file_that_is_scored_against_itself_is_a_warning(run: Run, truth: Path, tmp_path: Path) -> None:
    same = answers(tmp_path / "a.txt", 1)
    (tmp_path / "link.txt").symlink_to(same)
    for other in (same, tmp_path / "link.txt"):
        assert f"warning: {same} is its own --truth" in run("score", same, "--truth", other).stderr
    assert "its own --truth" not in run("score", same, "--truth", truth).stderr


def test_a_folder_without_submissions_is_said_to_have_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert run("submissions", "--folder", tmp_path).stdout.startswith(
        f"no submission in {tmp_path}: none of its folders"
    )


def test_a_mark_of_missing_values_that_stands_nowhere_is_named(run: Run, tmp_path: Path) -> None:
    for name in ("t", "v"):
        (tmp_path / f"{name}.csv").write_text(f"image,expression\n{name}/1.jpg,3\n{name}/2.jpg,-9\n{name}/3.jpg,none\n")
    arguments = ["curate", "--train", tmp_path / "t.csv", "--validation", tmp_path / "v.csv", "--columns"]
    arguments += ["image,expression", "--labels-only", "--policy", "per-task", "--out", tmp_path / "o"]
    shown = run(*arguments, "--missing-value", "-9.0", "--missing-value", "unkown").stderr
    assert "warning: --missing-value: no cell of the named columns is 'unkown'" in shown
