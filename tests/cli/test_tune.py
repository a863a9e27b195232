"""`abawkit calibrate` and `abawkit tune`: from stored probabilities to a rule, the honest figure first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.cli._tables import show_tuning
from abawkit.labels import FIELDS
from abawkit.postprocessing.rule import Rule, apply_rule, make_rule_content, write_rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.postprocessing.smoothing import Smoothing
from abawkit.probabilities.members import read_members, write_probabilities
from abawkit.scoring.bootstrap import PARTS, Interval
from abawkit.scoring.matching import read_truth
from abawkit.scoring.score import score
from abawkit.tables import Array, Predictions
from abawkit.tuning.tune import calibrate
from tests.cli.conftest import Run, answer

pytestmark = pytest.mark.e2e

VIDEOS, ROWS = 8, 30


def predictions(signal: Array) -> Predictions:
    images = pa.array([f"v{v}/{1 + 3 * row:05d}.jpg" for v in range(VIDEOS) for row in range(ROWS)], pa.string())
    odds = np.exp(signal[:, 2:10])
    columns = 0.3 * signal[:, :2].clip(-3, 3), odds / odds.sum(axis=1, keepdims=True), 1 / (1 + np.exp(-signal[:, 10:]))
    return Predictions(images, *(column.astype(np.float32) for column in columns))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations that move slowly, two members that see them through noise of each frame, and one that sees noise."""
    path = tmp_path_factory.mktemp("tune")
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(VIDEOS, 1, 22)).repeat(ROWS, axis=1).reshape(-1, 22)
    signal += 0.3 * rng.normal(size=signal.shape)
    seen = predictions(signal)
    rows = [",".join(FIELDS)]
    for row, image in enumerate(seen.images.to_pylist()):
        units = ",".join(str(int(value > 0)) for value in signal[row, 10:])
        va = f"{seen.va[row, 0]:.6f},{seen.va[row, 1]:.6f}"
        rows.append(f"{image},{va},{signal[row, 2:10].argmax()},{units}")
    (path / "truth.txt").write_text("\n".join(rows) + "\n")
    for name, noise in (("a", 1.0), ("b", 1.5)):
        shown = signal + noise * rng.normal(size=signal.shape) - 1.5 * (np.arange(22) >= 10)
        write_probabilities(path / f"{name}.npz", predictions(shown))
    write_probabilities(path / "noise.npz", predictions(rng.normal(size=signal.shape)), ["va"])
    return path


@pytest.fixture(scope="module")
def tuned(run: Run, folder: Path) -> dict[str, Any]:
    """What ``--json`` says of a search; its rule is ``rule.json``."""
    command = ["tune", folder / "a.npz", folder / "b.npz", "--truth", folder / "truth.txt"]
    shown: dict[str, Any] = answer(run(*command, "--out", folder / "rule.json", "--json"))
    return shown


def test_the_rule_that_tune_writes_scores_what_its_in_sample_figures_say(folder: Path, tuned: dict[str, Any]) -> None:
    rule = read_rule(folder / "rule.json")
    truth = read_truth(folder / "truth.txt")
    found = score(truth, apply_rule(rule, read_members([folder / "a.npz", folder / "b.npz"])).decide())
    assert [getattr(found, part) for part in PARTS] == pytest.approx([tuned["in_sample"][part] for part in PARTS])
    assert rule.smoothing["va"].kind != "none"
    assert (rule.calibration.threshold < 0.45).any()


def test_json_is_the_rule_and_the_evidence_that_lies_in_its_file(folder: Path, tuned: dict[str, Any]) -> None:
    written = json.loads((folder / "rule.json").read_text())
    assert (
        tuned
        == {"rule": str(folder / "rule.json"), **make_rule_content(read_rule(folder / "rule.json"))}
        | written["evidence"]
    )
    assert tuned["cross_fitted"]["score"]["value"] < tuned["in_sample"]["score"]
    assert tuned["difference"]["score"]["low"] > 0
    assert tuned["difference"]["score"]["within_noise"] is False
    assert [member["file"] for member in tuned["members"]] == ["a.npz", "b.npz"]


def test_the_figure_on_unseen_videos_is_printed_first(run: Run, folder: Path, tmp_path: Path) -> None:
    options = "--smooth-va", "median:5", "--tasks", "va", "--tasks", "au"
    done = run(
        "calibrate", folder / "a.npz", "--truth", folder / "truth.txt", "--out", tmp_path / "rule.json", *options
    )
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("cross", "in-", "uncal", "EXPR"))}
    assert list(rows) == ["cross-fitted", "in-sample", "uncalibrated", "EXPR"]
    honest, seen = float(rows["cross-fitted"][3]), float(rows["in-sample"][3])
    assert honest < seen
    assert rows["EXPR"] == ["within", "noise", "+0.0000", "+0.0000", "+0.0000"]  # nothing was fitted for it
    assert "The gain in P is beyond noise" in done.stdout
    assert "AU1: threshold" in done.stdout
    assert "Anger: bias" not in done.stdout
    assert done.stdout.endswith(
        f"{tmp_path / 'rule.json'}: the rule; apply it with predict --rule or ensemble --rule\n"
    )
    assert "chosen on these very rows" in done.stderr
    rule = read_rule(tmp_path / "rule.json")
    assert rule.smoothing == {"va": Smoothing("median", 5)}
    assert not rule.calibration.bias.any()


def test_where_the_mean_is_kept_the_tables_say_so_and_the_rule_is_still_for_these_members(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    members, truth = (folder / "a.npz", folder / "b.npz"), ("--truth", folder / "truth.txt")
    done = run("tune", *members, *truth, "--out", tmp_path / "rule.json", "--no-weights", "--no-smoothing")
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith(("va ", "au "))] == ["mean"] * 2
    assert "Weights" not in done.stdout
    used = run("ensemble", *members, *truth, "--rule", tmp_path / "rule.json")
    assert "Weights" not in used.stdout
    other = run("ensemble", members[0], *truth, "--rule", tmp_path / "rule.json", code=3)
    assert "the rule for va weighs what is no member: b" in other.stderr


def test_tuning_noise_is_said_to_be_within_noise(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("tune", folder / "noise.npz", "--truth", folder / "truth.txt", "--out", tmp_path / "rule.json")
    assert "The difference in P is within noise" in done.stdout
    assert "beyond noise" not in done.stdout
    assert "EXPR" not in done.stdout  # of which the member knows nothing


def test_a_rule_of_these_rows_gives_its_weights_and_a_warning(
    run: Run, folder: Path, tuned: dict[str, Any], tmp_path: Path
) -> None:
    members = folder / "a.npz", folder / "b.npz"
    options = "--rule", folder / "rule.json", "--tasks", "va", "--json"
    done = run("calibrate", *members, "--truth", folder / "truth.txt", "--out", tmp_path / "again.json", *options)
    assert "rule.json was fitted on these rows: these scores are too high" in done.stderr
    assert (answer(done)["weights"], answer(done)["smoothing"]) == (tuned["weights"], tuned["smoothing"])


@pytest.mark.parametrize("command", ["tune", "calibrate", "ensemble"])
def test_predictions_of_rows_that_a_network_was_trained_on_are_a_warning(
    run: Run, curated: Path, runs: list[Path], tmp_path: Path, command: str
) -> None:
    run("predict", runs[0], "--data", curated, "--split", "train", "--out", tmp_path / "train.txt")
    options = ["--no-smoothing", "--folds", 2] if command == "tune" else []
    given = [tmp_path / "train.npz", "--truth", curated, "--split", "train", *options]
    assert "train.npz: is not out of fold" in run(command, *given, "--out", tmp_path / "made").stderr


def test_tune_keeps_to_the_knobs_that_it_may_turn(run: Run, folder: Path, tmp_path: Path) -> None:
    members = folder / "a.npz", folder / "b.npz"
    options = "--no-smoothing", "--no-calibration", "--folds", 2, "--seed", 3, "--json"
    done = run("tune", *members, "--truth", folder / "truth.txt", "--out", tmp_path / "rule.json", *options)
    shown = answer(done)
    assert shown["smoothing"] == {}
    assert set(shown["calibration"]["thresholds"].values()) == {0.5}
    assert shown["weights"]["va"]["a"] > shown["weights"]["va"]["b"]
    assert (shown["folds"], shown["seed"]) == (2, 3)


@pytest.mark.parametrize("command", ["calibrate", "tune"])
def test_a_file_that_is_there_is_kept_unless_forced(run: Run, folder: Path, tmp_path: Path, command: str) -> None:
    out = tmp_path / "rule.json"
    out.write_text("mine")
    options = folder / "noise.npz", "--truth", folder / "truth.txt", "--out", out
    assert "exists already" in run(command, *options, code=2).stderr
    assert "--force does not replace it" in run(command, *options, "--force", code=2).stderr
    assert out.read_text() == "mine"
    write_rule(out, Rule(), {})
    run(command, *options, "--force")
    assert read_rule(out).weights


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--tasks", "smile"], 2, "--tasks smile: no such task; give va, expression, au"),
        (["--tasks", "au"], 2, "au can't be calibrated, scored are: va"),
        (["--smooth-va", "box:3"], 2, "--smooth-va: smoothing 'box:3': expected none, gaussian:RADIUS:SCALE"),
        (["--smooth-au", "none", "--rule", "x.json"], 2, "--smooth-au and --rule: a rule has its own smoothing"),
        (["--rule", "absent.json"], 3, "absent.json: can't be read"),
    ],
)
def test_what_can_not_be_done_is_said(
    run: Run, folder: Path, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    arguments = folder / "noise.npz", "--truth", folder / "truth.txt", "--out", tmp_path / "rule.json", *options
    assert said in run("calibrate", *arguments, code=code).stderr
    assert not (tmp_path / "rule.json").exists()


@pytest.mark.parametrize("command", ["calibrate", "tune"])
def test_predictions_of_another_list_are_refused(run: Run, folder: Path, tmp_path: Path, command: str) -> None:
    lines = (folder / "truth.txt").read_text().splitlines()
    (tmp_path / "truth.txt").write_text("\n".join(lines[:-1]) + "\n")
    options = folder / "noise.npz", "--truth", tmp_path / "truth.txt", "--out", tmp_path / "rule.json", "--json"
    done = run(command, *options, code=3)
    assert "its 240 rows are not the 239 of the annotations, in their order" in answer(done)["error"]
    assert not (tmp_path / "rule.json").exists()


def test_tasks_to_calibrate_and_no_calibration_are_refused_together(run: Run, tmp_path: Path) -> None:
    given = ("tune", tmp_path / "a.npz", "--truth", tmp_path, "--out", tmp_path / "rule.json", "--tasks", "au")
    assert "give one of them" in run(*given, "--no-calibration", code=2).stderr
    assert "no such task" in run(*given, "--tasks", "happy", code=2).stderr


def test_a_search_of_nothing_is_refused(run: Run, tmp_path: Path) -> None:
    given = ("tune", tmp_path / "a.npz", "--truth", tmp_path, "--out", tmp_path / "rule.json")
    refused = run(*given, "--no-smoothing", "--no-calibration", "--no-weights", code=2).stderr
    assert "nothing is left to search" in refused
    refused = run(*given, "--no-smoothing", "--no-calibration", code=2).stderr
    assert "one member has neither weights nor a pool; nothing is left to search" in refused
    two = ("tune", tmp_path / "a.npz", tmp_path / "b.npz", "--truth", tmp_path, "--out", tmp_path / "rule.json")
    none = "--no-smoothing", "--no-calibration", "--no-weights", "--no-pool"
    assert "nothing is left to search" in run(*two, *none, code=2).stderr
    elsewhere = [*two[:-1], tmp_path.parent / f"{tmp_path.name}.json"]
    assert "can't be read" in run(*elsewhere, *none[:3], code=3).stderr


def test_a_task_that_falls_is_named_even_where_the_sum_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = read_members([folder / "a.npz"])
    tuning = calibrate(members, read_truth(folder / "truth.txt"), draws=50)
    parts = {"ccc_va": (-0.2, -0.3, -0.1), "expression_f1": (-0.1, -0.2, 0.1), "au_f1": (0.4, 0.3, 0.5)}
    difference = {part: Interval(*values) for part, values in {**parts, "score": (0.1, -0.1, 0.3)}.items()}
    fallen = replace(tuning, difference=difference, fallen=("va",))
    show_tuning(fallen, folder / "rule.json", "untuned", as_json=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if "this task" in line]
    assert lines == ["CCC falls, so the rule changes nothing for this task."]


def test_a_report_shows_gain_parameters_and_trials(run: Run, folder: Path, tmp_path: Path) -> None:
    page, rule = tmp_path / "<b>tune.html", tmp_path / "<b>rule.json"
    members = (folder / "a.npz", folder / "b.npz")
    arguments = ("tune", *members, "--truth", folder / "truth.txt", "--folds", 2, "--out", rule, "--report", page)
    assert f"report: {page}; open it in a browser" in run(*arguments).stdout
    text = page.read_text()
    for words in ("Gain: cross-fitted less untuned", "Task by task", "What was tried", "&lt;b&gt;rule.json"):
        assert words in text
    assert "<b>" not in text
    run(*arguments, "--force")
    assert page.read_text() == text
