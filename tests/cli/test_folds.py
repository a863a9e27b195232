"""Folds by the commands: what they print, the options that they take, and that scores are named for what they are."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.sequence_features import list_rows, write_random_store

Run = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ("--set", "batch_size=64", "--set", "sequence.width=8", "--set", "all.epochs=1")


def test_folds_are_trained_tuned_scored_and_predicted_by_the_usual_commands(
    run: Run, curated: Path, tmp_path: Path
) -> None:
    store = write_random_store(tmp_path / "features", list_rows(curated)).folder
    given = ["sequence-frame", "--data", curated, "--features", store, *SMALL, "--folds", 2]
    out = tmp_path / "runs"
    stopped = run("train", *given, "--folds-over", "train+validation", "--out", out, "--max-minutes", "1e-6", code=75)
    assert "fold 1 of 2 was stopped; `abawkit train --resume --out" in stopped.stderr
    done = run("train", "--resume", "--refit", "--out", out)
    shown = " ".join(done.stdout.split())
    assert "2 folds over train+validation, each network on the rows of its own fold" in shown
    assert "Out of fold, all rows of train+validation: each by the network that has not seen its video" in shown
    assert (
        "All rows of train+validation, 1 epoch (median of 1, 1); scored on its own training rows (in-sample)" in shown
    )
    assert "chosen on that fold" in done.stderr
    assert "fold 2 of 2" in done.stderr
    found = json.loads(run("train", "--resume", "--out", out, "--json").stdout)
    assert found["folds_over"] == "train+validation"
    assert [each["rows"] + each["scored_rows"] for each in found["folds"]] == [229, 229]
    assert found["refit"]["rows"] == 229
    page = (out / "fold-1" / "report.html").read_text()
    assert "Scored on: rows of train+validation in fold 1 of 2." in page
    page = (out / "refit" / "report.html").read_text()
    assert "Scores of the last epoch, which is kept as the best. Scored on: its own training rows (in-sample)." in page
    npz = out / "out-of-fold.npz"
    assert found["out_of_fold"]["probabilities"] == str(npz)
    truth = ["--truth", curated, "--split", "train+validation"]
    tuned = run("tune", npz, *truth, "--out", tmp_path / "rule.json", "--no-smoothing", "--folds", 2)
    assert "229 rows of 18 videos of train+validation, official protocol" in " ".join(tuned.stdout.split())
    run("calibrate", npz, *truth, "--out", tmp_path / "calibrated.json", "--folds", 2)
    run("ensemble", npz, *truth, "--out", tmp_path / "all.txt")
    scored = json.loads(run("score", tmp_path / "all.txt", *truth, "--json").stdout)
    assert scored["score"] == found["out_of_fold"]["scores"]["official"]["score"]
    assert "not of train+validation" in scored["published_note"]
    predicted = ["--split", "validation", "--data", curated, "--features", store, "--rule", tmp_path / "rule.json"]
    assert "from 2 networks" in run("predict", out, *predicted, "--out", tmp_path / "ensemble.txt").stdout
    assert "2 folds over train+validation, 2 finished" in " ".join(run("inspect", out).stdout.split())


def test_options_that_would_do_nothing_are_refused(run: Run, curated: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--refit"], "--refit does nothing without --folds or --resume"),
        (["--folds-over", "train"], "--folds-over does nothing without --folds or --resume"),
        (["--folds", 2, "--dry-run"], "--folds does nothing with --dry-run"),
    ):
        failed = run("train", "demo", "--data", curated, "--out", tmp_path / "run", *options, code=2)
        assert message in " ".join(failed.stderr.replace("│", " ").split())


def test_a_curated_set_that_was_moved_is_asked_for_by_name(run: Run, curated: Path, tmp_path: Path) -> None:
    data, out = Path(shutil.copytree(curated, tmp_path / "set")), tmp_path / "runs"
    store = write_random_store(tmp_path / "features", list_rows(data)).folder
    given = ["sequence-frame", "--data", data, "--features", store, *SMALL, "--folds", 2]
    run("train", *given, "--out", out, "--max-minutes", "1e-6", code=75)
    aside = data.rename(tmp_path / "elsewhere")
    said = run("train", "--resume", "--out", out, code=3).stderr
    assert f"{data}: the curated set that this run was begun with is no longer here; give its new place" in said
    run("train", "--resume", "--out", out, "--data", aside)


def test_an_ensemble_of_predictions_out_of_fold_is_out_of_fold(run: Run, curated: Path, tmp_path: Path) -> None:
    store = write_random_store(tmp_path / "features", list_rows(curated)).folder
    truth = ["--truth", curated, "--split", "train"]
    run(
        "train", "sequence-frame", "--data", curated, "--features", store, *SMALL, "--folds", 2, "--out", tmp_path / "a"
    )
    run("ensemble", tmp_path / "a/out-of-fold.npz", *truth, "--out", tmp_path / "both.txt")
    fitted = run("calibrate", tmp_path / "both.npz", *truth, "--out", tmp_path / "rule.json", "--tasks", "va")
    assert "out of fold" not in fitted.stderr
    manifest = json.loads((tmp_path / "both.json").read_text())
    manifest["source"].pop("out_of_fold")
    (tmp_path / "both.json").write_text(json.dumps(manifest))
    again = run("calibrate", tmp_path / "both.npz", *truth, "--out", tmp_path / "again.json", "--tasks", "va")
    assert "both.npz: is not out of fold" in again.stderr


def test_to_refit_what_is_not_there_names_it(run: Run, curated: Path, tmp_path: Path) -> None:
    said = run("train", "--resume", "--refit", "--out", tmp_path / "absent", code=2).stderr
    assert f"{tmp_path}/absent: holds no folds; --refit goes with --folds" in said
