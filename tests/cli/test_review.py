"""``abawkit review`` and ``curate --drop`` as their user meets them: what is found, what is dropped, and refusals."""

import csv
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation import open_curated
from abawkit.curation.curated_set import select_truth
from abawkit.curation.release import list_command
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import write_probabilities
from abawkit.synth.release import plan_release
from abawkit.tables import Annotations, Array

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def truth(curated: Path) -> Annotations:
    return select_truth(open_curated(curated), "train")


@pytest.fixture(scope="module")
def shown(truth: Annotations) -> Array:
    """The expression that is rendered in each row, which 12 % of the labels confuse with another one."""
    return np.asarray(plan_release("tiny", 0)["train"][1].shown[truth.lines - 2])


@pytest.fixture
def networks(truth: Annotations, shown: Array, tmp_path: Path) -> list[Path]:
    """What two networks say that see what is rendered, each with noise of its own."""
    paths = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        scores = 5 * np.eye(8)[shown] + rng.normal(size=(len(truth), 8))
        odds = np.exp(scores)
        columns = {
            "va": np.clip(truth.va + 0.1 * rng.normal(size=truth.va.shape), -1, 1),
            "expression": odds / odds.sum(axis=1, keepdims=True),
            "au": np.clip(truth.au * 0.8 + 0.1, 0, 1),
        }
        path = tmp_path / f"network-{seed}.npz"
        write_probabilities(path, assemble(truth.images, {k: v.astype(np.float32) for k, v in columns.items()}))  # type: ignore[misc]
        paths.append(path)
    return paths


def give(networks: list[Path]) -> list[object]:
    return [word for path in networks for word in ("--predictions", path)]


def test_planted_flips_are_listed_with_their_lines_and_dropped(
    run: Run, release: Path, curated: Path, truth: Annotations, shown: Array, networks: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "review.csv"
    printed = run("review", curated, *give(networks), "--out", out)
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = {int(line["line"]) for line in lines if (line["task"], line["reason"]) == ("expression", "contradicted")}
    flipped = {int(line) for line in truth.lines[truth.expression_valid & (truth.expression != shown)]}
    assert len(flipped) > 10
    assert len(found & flipped) >= 0.8 * len(flipped)
    assert len(found & flipped) >= 0.8 * len(found)
    source = (release / "training_set_annotations.txt").read_text().splitlines()
    assert all(source[int(line["line"]) - 1].startswith(line["image"]) for line in lines)
    strengths = [float(line["strength"]) for line in lines if line["reason"] == "contradicted"]
    assert strengths == sorted(strengths, reverse=True)
    assert all(0.9 <= strength <= 1 for strength in strengths)
    assert ["contradicted", "0", str(len(found))] in [line.split()[:3] for line in printed.stdout.splitlines()]
    new = tmp_path / "reviewed"
    words = list_command(curated, "per-task", new, ["--drop", str(out)])
    assert words[:2] == ["curate", str(release)]
    dropped = run(*words).stdout
    assert ["expression:", "contradicted", str(len(found)), "0"] in [line.split() for line in dropped.splitlines()]
    after = open_curated(new).splits["train"].annotations
    left = dict(zip(after.lines.tolist(), after.expression_valid.tolist(), strict=True))
    assert not any(left.get(line, False) for line in found)
    assert sum(left.values()) == int(truth.expression_valid.sum()) - len(
        {line["line"] for line in lines if line["task"] == "expression"}
    )


def test_one_rule_can_be_asked_for_and_json_counts_what_it_finds(
    run: Run, curated: Path, networks: list[Path], tmp_path: Path
) -> None:
    options = [*give(networks), "--only", "contradicted", "--json"]
    found = json.loads(run("review", curated, *options, "--out", tmp_path / "a.csv").stdout)
    assert set(found["found"]) == {"contradicted"}
    assert (found["split"], found["networks"], found["frames_compared"]) == ("train", 2, False)
    assert found["agreement"]["expression"]["sure"] > 50
    fewer = json.loads(run("review", curated, *options, "--min-strength", "0.99", "--out", tmp_path / "b.csv").stdout)
    assert (
        fewer["found"].get("contradicted", {"expression": 0})["expression"]
        < found["found"]["contradicted"]["expression"]
    )


def test_a_network_that_contradicts_nothing_gives_a_list_that_can_be_dropped(
    run: Run, release: Path, curated: Path, truth: Annotations, tmp_path: Path
) -> None:
    path, out = tmp_path / "echo.npz", tmp_path / "review.csv"
    write_probabilities(
        path, assemble(truth.images, {"expression": np.eye(8, dtype=np.float32)[truth.expression]}), ["expression"]
    )
    options = ("--predictions", path, "--only", "contradicted")
    assert "0 entries in 0 rows" in run("review", curated, *options, "--out", out).stdout
    again = ["curate", release, "--labels-only", "--policy", "per-task", "--drop", out, "--out", tmp_path / "same"]
    assert "lists no label" in run(*again).stderr
    assert (open_curated(tmp_path / "same").splits["train"].annotations.valid["va"] == truth.valid["va"]).all()


def test_wrong_input_is_refused_in_one_sentence(
    run: Run, curated: Path, networks: list[Path], truth: Annotations, tmp_path: Path
) -> None:
    out = tmp_path / "review.csv"
    short = tmp_path / "short.npz"
    write_probabilities(short, assemble(truth.images[:5], {"va": np.zeros((5, 2), np.float32)}), ["va"])
    for options, code, message in (
        (["--predictions", short], 3, "its 5 rows are not the 179 of the annotations"),
        ([*give(networks), "--split", "validation"], 3, "are not the 50 of the annotations"),
        (
            [*give(networks), "--only", "smile"],
            2,
            "--only smile: no such rule; expected contradicted, outlier, shifted",
        ),
        (["--predictions", tmp_path / "absent.npz"], 3, "absent.npz"),
    ):
        refused = run("review", curated, *options, "--out", out, code=code).stderr
        assert message in refused
        assert "Traceback" not in refused
        assert not out.exists()
    out.write_text("mine\n")
    assert (
        "is no list of labels of abawkit review"
        in run("review", curated, *give(networks), "--out", out, "--force", code=2).stderr
    )
    assert out.read_text() == "mine\n"


def test_predictions_of_rows_that_a_network_was_trained_on_are_a_warning(
    run: Run, curated: Path, runs: list[Path], tmp_path: Path
) -> None:
    predicted = tmp_path / "train.txt"
    run("predict", runs[0], "--data", curated, "--split", "train", "--out", predicted)
    found = run("review", curated, "--predictions", predicted.with_suffix(".npz"), "--out", tmp_path / "review.csv")
    assert "is not out of fold: a network repeats the labels that it was trained on" in found.stderr


def test_the_next_step_repeats_the_paths_that_a_shell_reads(curated: Path, release: Path) -> None:
    words = list_command(curated, "per-task", Path("my set"), ["--drop", "my list.csv"])
    assert shlex.split(shlex.join(words)) == [
        *("curate", str(release), "--policy", "per-task", "--drop", "my list.csv", "--out", "my set"),
    ]
