"""``abawkit ensemble``: members with manifests and without, weighed in each way, scored, written and inspected."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.formats.base import get_format
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.rule_file import read_rule
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import read_member, write_probabilities
from abawkit.scoring.matching import read_truth, score_file
from abawkit.tables import Array

Run = Callable[..., subprocess.CompletedProcess[str]]

VIDEOS, LENGTH = 8, 40
NAMES = [f"v{video}/{3 * frame + 1:05d}.jpg" for video in range(VIDEOS) for frame in range(LENGTH)]
N = len(NAMES)
SKILLS = {"good": 0.3, "fair": 0.2, "noise": 0.0}


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("truth") / "annotations.txt"
    va, expression, au = rng.uniform(-1, 1, (N, 2)).round(3), rng.integers(0, 8, N), rng.integers(0, 2, (N, 12))
    rows = [",".join(map(str, [name, *v, e, *a])) for name, v, e, a in zip(NAMES, va, expression, au, strict=True)]
    path.write_text("\n".join(["image,valence,arousal,expression,aus", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def members(annotated: Path) -> list[Path]:
    """Three systems without manifests: two that know something, with errors of their own, and one that does not."""
    truth, paths = read_truth(annotated), []
    for seed, (name, skill) in enumerate(SKILLS.items()):
        rng = np.random.default_rng(seed + 1)
        columns: dict[Task, Array] = {
            "va": np.clip(2 * skill * truth.va + rng.normal(0, 0.3, (N, 2)), -1, 1),
            "expression": skill * np.eye(8)[truth.expression] + (1 - skill) * rng.dirichlet(np.ones(8), N),
            "au": skill * truth.au + (1 - skill) * rng.uniform(0, 1, (N, 12)),
        }
        said = assemble(pa.array(NAMES), {task: column.astype(np.float32) for task, column in columns.items()})
        paths.append(annotated.parent / f"{name}.npz")
        write_probabilities(paths[-1], said)
    return paths


def inspected(run: Run, path: Path, code: int = 0) -> Any:
    (found,) = json.loads(run("inspect", path, "--json", code=code).stdout)["inspected"]
    return found


def test_the_mean_is_written_in_the_order_of_the_list_and_inspected_without_a_problem(
    run: Run, members: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "p.txt"
    shown = run("ensemble", *members, "--out", out).stdout
    assert f"{out}: 320 rows from 3 members" in shown
    stored = read_member(tmp_path / "p.npz")
    assert stored.key == "fair+good+noise"
    assert out.read_bytes() == get_format("abaw7").encode(stored.predictions.decide())
    expected = np.mean([read_member(path).predictions.au for path in members], axis=0)
    np.testing.assert_allclose(stored.predictions.au, expected, rtol=0, atol=1e-6)
    found = inspected(run, out)
    assert found["summary"] == "a submission (abaw7) of 320 rows, from 3 members"
    assert [member["state"] for member in found["facts"]["members"]] == ["unchanged"] * 3


def test_a_member_that_was_changed_since_is_found_by_inspection(run: Run, members: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in members]
    run("ensemble", *copies, "--out", tmp_path / "p.txt")
    shutil.copy(members[2], copies[0])
    found = inspected(run, tmp_path / "p.txt", code=3)
    assert [member["state"] for member in found["facts"]["members"]] == ["changed", "unchanged", "unchanged"]


def test_probabilities_that_took_the_place_of_those_of_a_manifest_are_no_member(
    run: Run, members: list[Path], tmp_path: Path
) -> None:
    run("ensemble", *members[:2], "--out", tmp_path / "p.txt")
    shutil.copy(members[2], tmp_path / "p.npz")
    refused = run("ensemble", members[0], tmp_path / "p.npz", "--out", tmp_path / "q.txt", code=3).stderr
    assert "p.npz: is not what" in refused
    assert not (tmp_path / "q.txt").exists()


def test_with_annotations_alone_it_says_what_each_member_is_worth_and_writes_nothing(
    run: Run, members: list[Path], annotated: Path
) -> None:
    before = sorted(annotated.parent.iterdir())
    shown = run("ensemble", *members, "--truth", annotated).stdout
    for word in ("1 good.npz", "2 fair.npz", "3 noise.npz", "adds", "Correlation of errors, expression", "together"):
        assert word in shown
    found = json.loads(run("ensemble", *members, "--truth", annotated, "--json").stdout)
    good, fair, noise = found["analysis"]["members"]
    assert good["alone"]["score"] > fair["alone"]["score"] > noise["alone"]["score"]
    assert good["adds"]["score"] > 0 > noise["adds"]["score"]
    assert found["score"]["score"]["low"] < found["score"]["score"]["value"] < found["score"]["score"]["high"]
    assert np.allclose(np.diag(found["analysis"]["correlations"]["va"]), 1)
    assert sorted(annotated.parent.iterdir()) == before


def test_it_says_in_advance_which_member_can_add_next_to_nothing(
    run: Run, members: list[Path], annotated: Path, tmp_path: Path
) -> None:
    good = read_member(members[0]).predictions
    near = assemble(good.images, {"va": np.clip(good.va + 0.01, -1, 1), "expression": good.expression, "au": good.au})
    twin = tmp_path / "twin.npz"
    write_probabilities(twin, near)
    shown = run("ensemble", *members[:2], twin, "--truth", annotated)
    assert re.search(r"3 twin\.npz +0\.\d\d +0\.\d\d +0\.\d\d +0\.\d{4}", shown.stdout)
    assert "can add" in shown.stdout
    shown = run("ensemble", members[0], twin, "--truth", annotated)
    expected = "from 2 twin.npz: its errors correlate 1.00 with the others', and another kind of network adds more"
    assert expected in shown.stderr
    found = json.loads(run("ensemble", members[0], twin, "--truth", annotated, "--json").stdout)
    can_add = found["analysis"]["members"][1]["can_add"]
    assert can_add["expected"] < 0.005
    assert can_add["correlations"]["va"] > 0.99
    assert 0 <= can_add["removes"]["va"] < 0.01


def test_the_score_is_that_of_the_file_it_writes(
    run: Run, members: list[Path], annotated: Path, tmp_path: Path
) -> None:
    found = json.loads(run("ensemble", *members, "--truth", annotated, "--out", tmp_path / "p.txt", "--json").stdout)
    assert found["score"]["score"]["value"] == pytest.approx(score_file(tmp_path / "p.txt", annotated).score, abs=1e-9)
    assert found["submission"] == str(tmp_path / "p.txt")


def test_fitted_weights_are_judged_on_held_out_videos_and_kept_for_test(
    run: Run, members: list[Path], annotated: Path, tmp_path: Path
) -> None:
    options = ["--truth", annotated, "--weights", "fitted", "--save-rule", tmp_path / "rule.json"]
    shown = run("ensemble", *members, *options).stdout
    assert shown.index("cross-fitted") < shown.index("in-sample") < shown.index("difference")
    rule = read_rule(tmp_path / "rule.json")
    for task in TASKS:
        assert rule.weights[task]["noise"] < 0.1
    evidence = json.loads((tmp_path / "rule.json").read_text())["evidence"]
    assert evidence["cross_fitted"]["score"]["value"] <= evidence["in_sample"]["score"] + 0.02
    assert evidence["difference"]["score"]["low"] > 0  # the mean has a third of noise in it

    test = tmp_path / "test"
    test.mkdir()
    copies = [Path(shutil.copy(path, test / path.name)) for path in reversed(members)]
    run("ensemble", *copies, "--rule", tmp_path / "rule.json", "--out", test / "p.txt")
    run("ensemble", *members, "--weights", "fitted", "--truth", annotated, "--out", tmp_path / "q.txt")
    assert (test / "p.txt").read_bytes() == (tmp_path / "q.txt").read_bytes()
    assert json.loads((test / "p.json").read_text())["rule"] == json.loads((tmp_path / "q.json").read_text())["rule"]
    assert read_member(test / "p.npz").key.startswith("fair+good+noise@")

    again = run("ensemble", *members, "--rule", tmp_path / "rule.json", "--truth", annotated)
    assert "was fitted on these rows: the scores below are too high" in again.stderr
    assert "Ensemble, official protocol; in-sample: too high" in again.stdout
    refused = run("ensemble", *members[:2], "--rule", tmp_path / "rule.json", "--out", tmp_path / "r.txt", code=3)
    assert "weighs what is no member: noise" in refused.stderr


def test_weights_are_given_task_by_task_in_the_order_of_members(run: Run, members: list[Path], tmp_path: Path) -> None:
    options = ["--weights", "va=3,1,0", "--weights", "au=0,0,2", "--out", tmp_path / "p.txt"]
    found = json.loads(run("ensemble", *members, *options, "--json").stdout)
    assert found["weights"] == {
        "va": {"good": 3.0, "fair": 1.0, "noise": 0.0},
        "au": {"good": 0.0, "fair": 0.0, "noise": 2.0},
    }
    stored, said = read_member(tmp_path / "p.npz").predictions, [read_member(path).predictions for path in members]
    np.testing.assert_allclose(stored.va, 0.75 * said[0].va + 0.25 * said[1].va, rtol=0, atol=1e-6)
    assert np.array_equal(stored.au, said[2].au)


def test_logits_are_pooled_where_it_is_asked_for_and_a_rule_keeps_that_for_test(
    run: Run, members: list[Path], annotated: Path, tmp_path: Path
) -> None:
    options = ["--pool", "log", "--out", tmp_path / "p.txt", "--save-rule", tmp_path / "rule.json"]
    found = json.loads(run("ensemble", *members, *options, "--json").stdout)
    assert found["pool"] == {"expression": "log", "au": "log"}
    stored, said = read_member(tmp_path / "p.npz").predictions, [read_member(path) for path in members]
    assert np.array_equal(stored.au, average_members(said, pools=found["pool"]).au)
    assert np.array_equal(stored.va, average_members(said).va)
    assert not np.array_equal(stored.au, average_members(said).au)
    assert read_rule(tmp_path / "rule.json").pool == found["pool"]
    run("ensemble", *members, "--rule", tmp_path / "rule.json", "--out", tmp_path / "q.txt")
    assert (tmp_path / "q.txt").read_bytes() == (tmp_path / "p.txt").read_bytes()
    shown = run("ensemble", *members, "--pool", "log", "--weights", "fitted", "--truth", annotated).stdout
    assert "Fitted weights of logits" in shown
    shown = run("ensemble", *members, "--rule", tmp_path / "rule.json", "--truth", annotated).stdout
    assert "Ensemble of logits" in shown


def test_members_of_one_task_make_a_submission_of_that_task(run: Run, members: list[Path], tmp_path: Path) -> None:
    single = tmp_path / "single.npz"
    write_probabilities(single, read_member(members[0]).predictions, ("au",))
    run("ensemble", single, "--format", "abaw5-au", "--out", tmp_path / "p.txt")
    assert read_member(tmp_path / "p.npz").tasks == ("au",)
    refused = run("ensemble", single, "--out", tmp_path / "q.txt", code=3).stderr
    assert "no member knows va; add one that does" in refused
    assert not (tmp_path / "q.npz").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--probabilities", "p.txt"],
            "p.txt: got another ending, expected .npz or .csv or .parquet",
        ),
        (["--out", "p.txt", "--probabilities", "p.npz"], "p.npz: would be written twice"),
        ([], "nothing to do: give --out or --probabilities to write, --truth to score"),
        (["--out", "p.txt", "--weights", "fitted"], "--weights fitted: needs annotations"),
        (["--out", "p.txt", "--weights", "mean", "--rule", "r.json"], "--weights and --rule"),
        (["--out", "p.txt", "--weights", "mean", "--weights", "va=1,1,1"], "give one of them alone"),
        (["--out", "p.txt", "--weights", "va=1,1"], "got 2 numbers for 3 members"),
        (["--out", "p.txt", "--save-rule", "r.json"], "--save-rule: the mean needs no rule"),
        (
            ["--out", "p.txt", "--pool", "log", "--rule", "r.json"],
            "--pool and --rule: a rule says how members are pooled",
        ),
        (["--out", "p.txt", "--weights", "va=1,1,1", "--save-rule", "p.json"], "would be written twice"),
    ],
)
def test_options_that_make_no_sense_are_refused_and_nothing_is_written(
    run: Run, members: list[Path], tmp_path: Path, options: list[str], message: str
) -> None:
    assert message in run("ensemble", *members, *options, cwd=tmp_path, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_force_is_given(run: Run, members: list[Path], tmp_path: Path) -> None:
    for name in ("p.txt", "p.npz", "p.json"):
        kept: Any = tmp_path / name
        kept.write_text("mine")
        assert "exists already" in run("ensemble", *members, "--out", tmp_path / "p.txt", code=2).stderr
        assert kept.read_text() == "mine"
        kept.unlink()
    (tmp_path / "p.txt").write_text("mine")
    refused = run("ensemble", *members, "--out", tmp_path / "p.txt", "--force", code=2).stderr
    assert "--force does not replace it" in refused
    run("ensemble", members[0], "--out", tmp_path / "q.txt")
    (tmp_path / "q.txt").rename(tmp_path / "p.txt")
    run("ensemble", *members, "--out", tmp_path / "p.txt", "--force")
    assert get_format("abaw7").read(tmp_path / "p.txt").digest == read_member(tmp_path / "p.npz").predictions.digest


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_probabilities_are_written_as_a_table_that_is_read_back_bit_for_bit(
    run: Run, members: list[Path], tmp_path: Path, ending: str
) -> None:
    table = tmp_path / f"table{ending}"
    shown = run("ensemble", *members, "--out", tmp_path / "p.txt", "--probabilities", table).stdout
    assert f"{table}: the probabilities" in shown
    assert read_member(table).digest == read_member(tmp_path / "p.npz").digest
    run("ensemble", table, "--probabilities", tmp_path / "again.npz")
    assert read_member(tmp_path / "again.npz").digest == read_member(table).digest


@pytest.mark.parametrize(
    ("known", "absent"), [(("va",), ("EXPR", " AU", " P", "sum")), (("va", "au"), ("EXPR", " P "))], ids=["one", "two"]
)
def test_what_no_member_knows_is_not_shown(
    run: Run, members: list[Path], annotated: Path, tmp_path: Path, known: tuple[Task, ...], absent: tuple[str, ...]
) -> None:
    paths = []
    for path in members[:2]:
        said = read_member(path).predictions
        paths.append(tmp_path / path.name)
        columns = {task: getattr(said, task) for task in known}
        write_probabilities(paths[-1], assemble(said.images, columns), known)
    shown = run("ensemble", *paths, "--truth", annotated).stdout
    assert "CCC" in shown
    assert ("sum" in shown) is (len(known) > 1)
    for word in absent:
        assert word not in shown
    found = json.loads(run("ensemble", *paths, "--truth", annotated, "--json").stdout)
    assert found["score"]["expression_f1"] is None
    assert found["analysis"]["together"]["expression_f1"] is None
    assert found["analysis"]["members"][0]["alone"]["expression_f1"] is None
