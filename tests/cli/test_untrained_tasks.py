"""A task that was not trained is shown, predicted and submitted by nobody."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

QUICK = ("--set", "all.epochs=1")
SUBMISSION = """
summary = "a network"
seeds = [1]
weights = "none"

[[networks]]
name = "all"
recipe = "demo"
"""


@pytest.fixture(scope="module")
def unlabelled(run: Run, release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated set in which no row has an expression."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for name in ("training", "validation"):
        header, *rows = (release / f"{name}_set_annotations.txt").read_text().splitlines()
        blank = [",".join([*row.split(",")[:3], "-1", *row.split(",")[4:]]) for row in rows]
        (folder / f"{name}_set_annotations.txt").write_text("\n".join([header, *blank]) + "\n")
    out = folder / "curated"
    run("curate", folder, "--frames", release / "cropped_aligned", "--policy", "per-task", "--out", out)
    return out


@pytest.fixture(scope="module")
def partial(run: Run, unlabelled: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = unlabelled.parent / "run"
    return out, run("train", "demo", "--data", unlabelled, "--out", out, *QUICK)


def test_training_names_the_task_that_has_no_label_and_shows_the_others(
    partial: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    shown = partial[1]
    assert "warning: no training row is annotated for expression: this run trains and scores" in shown.stderr
    assert "EXPR" not in shown.stdout + shown.stderr
    assert " P " not in shown.stdout + shown.stderr
    assert "not trained: expression; predict takes this network for va, au alone" in shown.stdout


def test_its_network_answers_no_format_that_asks_for_that_task(
    run: Run, partial: tuple[Path, subprocess.CompletedProcess[str]], test_list: list[str], tmp_path: Path
) -> None:
    out = partial[0]
    refused = run("predict", out, *test_list, "--out", tmp_path / "p.txt", code=3)
    assert "no checkpoint was trained for expression; add one that was" in refused.stderr
    assert not (tmp_path / "p.txt").exists()
    facts = json.loads(run("inspect", out, "--json").stdout)["inspected"][0]["facts"]
    assert facts["trained"] == ["va", "au"]


def test_a_submission_of_such_data_is_refused_before_it_trains(
    run: Run, unlabelled: Path, test_list: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "recipe.toml").write_text(SUBMISSION)
    refused = run("submit", folder, "--data", unlabelled, *test_list, code=3)
    assert "no training row is annotated for expression, a task of the network all" in refused.stderr
    assert not (folder / "outputs").exists()


def test_a_run_of_one_task_shows_that_task_alone(run: Run, curated: Path, tmp_path: Path) -> None:
    shown = run("train", "demo", "--data", curated, "--tasks", "va", "--out", tmp_path / "va", *QUICK)
    (epoch,) = [line for line in shown.stderr.splitlines() if line.startswith("epoch ")]
    assert epoch.startswith("epoch 1/1: loss ")
    assert "validation CCC " in epoch
    for absent in ("EXPR", "AU", " P "):
        assert absent not in shown.stdout + epoch
    found = json.loads((tmp_path / "va/manifest.json").read_text())["best"]["official"]
    assert (found["expression_f1"], found["au_f1_per_unit"], found["score"]) == (None, None, found["ccc_va"])
