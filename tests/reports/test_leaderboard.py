"""The leaderboard: each kind of score by itself, the best first, and nothing hidden that is unfinished or broken."""

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import abawkit
from abawkit.errors import DataError, DataWarning, StoppedError
from abawkit.reports.leaderboard import TrainedResult, list_results
from tests.commands import command_line
from tests.sequence_features import list_rows, write_random_store

CHANGES: dict[str, Any] = {"batch_size": 64, "sequence.width": 8, "all.epochs": 1}


@pytest.fixture(scope="module")
def runs(curated: Path, once: Callable[..., Path]) -> Path:
    """Two runs, one of a single task, folds with a network on all rows, and a run that was stopped."""

    def fill(folder: Path) -> None:
        store = write_random_store(folder / "store", list_rows(curated)).folder
        given: dict[str, Any] = {"features": store, "changes": CHANGES}
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("abawkit.reports.run_pictures.RunPictures", lambda _, **_options: None)
            warnings.simplefilter("ignore", DataWarning)
            for seed in (1, 2):
                abawkit.train("sequence-frame", curated, folder / "runs" / f"seed{seed}", seed=seed, **given)
            abawkit.train("sequence-frame", curated, folder / "runs" / "deep" / "va", tasks="va", **given)
            abawkit.train("sequence-frame", curated, folder / "runs" / "folds", folds=2, refit=True, **given)
            with pytest.raises(StoppedError):
                abawkit.train("sequence-frame", curated, folder / "runs" / "stopped", max_minutes=1e-9, **given)

    return once("leaderboard", fill) / "runs"


def find(results: list[TrainedResult], name: str) -> TrainedResult:
    (found,) = [each for each in results if each.path.name == name]
    return found


def test_each_kind_of_score_is_told_apart_and_the_best_come_first(runs: Path) -> None:
    results = list_results([runs, runs / "seed1"])
    assert len(results) == 8  # what is below two of the folders is listed once
    assert {each.path.name: each.scored_on for each in results} == {
        "seed1": "validation",
        "seed2": "validation",
        "va": "validation",
        "folds": "out of fold",
        "fold-1": "own fold",
        "fold-2": "own fold",
        "refit": "validation",
        "stopped": "validation",
    }
    whole = [each.score for each in results if each.state == "finished" and len(each.tasks) == 3]
    assert whole == sorted(whole, reverse=True)  # type: ignore[type-var]
    assert [each.path.name for each in results[-2:]] == ["va", "stopped"]
    manifest = json.loads((runs / "seed1" / "manifest.json").read_text())
    first = find(results, "seed1")
    assert first.score == manifest["best"]["official"]["score"]
    assert (first.rows, first.scored_rows, first.seconds) == (179, 50, manifest["seconds"])
    assert (first.recipe, first.changed, first.network, first.seed) == ("sequence-frame", 4, "sequence (frame)", 1)
    together, record = find(results, "folds"), json.loads((runs / "folds" / "out-of-fold.json").read_text())
    assert together.score == record["scores"]["official"]["score"]
    forecast = record["scores"]["official"]["forecast"]["score"]
    assert together.interval == (forecast["low"], forecast["high"])
    assert together.prediction_seconds == record["seconds"]
    assert list_results([runs / "folds" / "fold-1"]) == [find(results, "fold-1")]


def test_a_notebook_shows_a_table_with_a_row_for_each_result(runs: Path) -> None:
    results = abawkit.leaderboard(runs)
    frame = results.to_frame()
    assert list(frame.index) == [str(each.path) for each in results]
    first = find(results, "seed1")
    row = frame.loc[str(runs / "seed1")]
    assert (row["official score"], row["scored_on"], row["seed"]) == (first.score, "validation", 1)
    assert row["strict au_f1"] == first.scores["strict"]["au_f1"]
    assert frame.loc[str(runs / "deep/va"), ["official expression_f1", "official au_f1"]].isna().all()
    assert frame["state"].iloc[-1] == "unfinished"
    assert "<table" in results._repr_html_()


def test_what_is_unfinished_or_broken_is_listed_as_such(runs: Path, tmp_path: Path) -> None:
    assert find(list_results([runs]), "stopped").problem == "0 of 1 epochs are done"
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    (copy / "seed1" / "manifest.json").write_text("{}")
    (copy / "seed2" / "best.safetensors").unlink()
    (copy / "deep" / "va" / "recipe.toml").write_text("network = 3")
    (copy / "folds" / "fold-2" / "manifest.json").unlink()
    (copy / "folds" / "refit" / "metrics.jsonl").write_text("[]\n")
    results = list_results([copy])
    assert {
        each.path.name: (each.state, each.problem.partition(copy.name + "/")[2] or each.problem) for each in results
    } == {
        "seed1": ("broken", "seed1/manifest.json: format: got nothing, expected abawkit.run.2"),
        "seed2": ("broken", "best.safetensors is absent"),
        "va": ("broken", "deep/va/recipe.toml: network: Input should be a valid string, got 3"),
        "folds": ("unfinished", "1 of 2 folds are finished"),
        "fold-1": ("finished", ""),
        "fold-2": ("unfinished", "1 of 1 epochs are done"),
        "refit": ("broken", "folds/refit/metrics.jsonl:1: is not the line of an epoch"),
        "stopped": ("unfinished", "0 of 1 epochs are done"),
    }
    (copy / "folds" / "folds.json").write_text("{")
    assert find(list_results([copy]), "folds").state == "broken"
    with pytest.raises(DataError, match="absent: no such folder"):
        list_results([tmp_path / "absent"])


def test_the_tables_name_what_was_scored(runs: Path, tmp_path: Path) -> None:
    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        return command_line("leaderboard", *arguments, cwd=runs.parent, code=code, variables={"COLUMNS": "200"})

    shown = run().stdout
    titles = [
        "Scored on the validation split",
        "Out of fold: each row by the network that has not seen its video, official protocol; rows of train",
        "Single folds, each scored on its own rows",
        "Unfinished or broken",
    ]
    assert sorted(titles, key=shown.index) == titles
    parts = [shown[shown.index(a) : shown.index(b)] for a, b in zip(titles, [*titles[1:], "runs/stopped"], strict=True)]
    assert ["runs/folds/fold-1" in part for part in parts] == [False, False, True, False]
    assert ["runs/seed1" in part for part in parts] == [True, False, False, False]
    assert "95 % forecast" in parts[1]
    listed = json.loads(run("runs", "--json").stdout)
    assert [Path(each["path"]).name for each in listed["results"]] == [each.path.name for each in list_results([runs])]
    (tmp_path / "empty").mkdir()
    assert "holds no run" in run(tmp_path / "empty", code=3).stderr
