"""From a release to a score, by commands alone."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

SCORE_KEYS = {
    "protocol",
    "rows",
    "ccc_valence",
    "ccc_arousal",
    "ccc_va",
    "expression_f1",
    "au_f1",
    "score",
    "expression_f1_per_class",
    "au_f1_per_unit",
    "tasks",
    "forecast",
    "details",
    "other",
    "published",
    "published_note",
}


def test_synth_writes_the_official_layout(release: Path) -> None:
    for name in (
        "training_set_annotations.txt",
        "validation_set_annotations.txt",
        "test_set_examples/MTL.txt",
        "held_out/test_set_annotations.txt",
    ):
        assert (release / name).is_file(), name
    assert any((release / "cropped_aligned").glob("*/*.jpg"))
    assert any((release / "test_data/cropped_aligned").glob("*/*.jpg"))


def test_curate_json_has_the_documented_keys(run: Run, release: Path, tmp_path: Path) -> None:
    out = json.loads(run("curate", release, "--out", tmp_path / "c", "--labels-only", "--json").stdout)
    assert out["policy"] == "strict"
    for counts in (out["splits"]["train"], out["splits"]["validation"]):
        assert {"rows", "repeated", "videos", "valid", "kept"} <= counts.keys()
        assert counts["valid"].keys() == {"va", "expression", "au", "all", "any"}
        assert counts["kept"] == counts["valid"]["all"]


def test_curate_leaves_a_ledger_and_the_reason_of_every_dropped_row(curated: Path) -> None:
    ledger = json.loads((curated / "ledger.json").read_text())
    dropped = (curated / "dropped.csv").read_text().splitlines()
    counts = ledger["splits"].values()
    assert len(dropped) - 1 == sum(c["rows"] - c["kept"] for c in counts)


def test_train_leaves_the_run_folder(runs: list[Path]) -> None:
    files = {path.name for path in runs[0].iterdir()}
    assert files == {
        "recipe.toml",
        "manifest.json",
        "metrics.jsonl",
        "best.safetensors",
        "last.safetensors",
        "checkpoints",
        "results.png",
        "batches.png",
        "report.html",
    }
    manifest = json.loads((runs[0] / "manifest.json").read_text())
    assert manifest["checkpoints"].keys() == {"best.safetensors", "last.safetensors"}
    assert manifest["environment"]["torch"]


def test_predict_answers_the_list_row_for_row(submission: Path, test_list: list[str]) -> None:
    listed = [line.rstrip(",") for line in Path(test_list[1]).read_text().splitlines()[1:]]
    answered = [line.split(",")[0] for line in submission.read_text().splitlines()[1:]]
    assert answered == listed
    manifest = json.loads(submission.with_suffix(".json").read_text())
    assert len(manifest["members"]) == 2
    assert submission.with_suffix(".npz").is_file()


def test_check_says_ok(run: Run, submission: Path, test_list: list[str]) -> None:
    assert run("check", submission, "--format", "abaw7", *test_list[:2]).stdout.startswith("ok: ")
    out = json.loads(run("check", submission, *test_list[:2], "--json").stdout)
    assert out == {
        "ok": True,
        "rows": len(Path(test_list[1]).read_text().splitlines()) - 1,
        "problems": [],
        "dummies": [],
    }


def test_score_json_has_the_documented_keys(run: Run, submission: Path, truth: Path) -> None:
    out = json.loads(run("score", submission, "--truth", truth, "--json").stdout)
    assert out.keys() == SCORE_KEYS
    assert out["score"] == pytest.approx(out["ccc_va"] + out["expression_f1"] + out["au_f1"], abs=1e-12)
    assert (len(out["expression_f1_per_class"]), len(out["au_f1_per_unit"])) == (8, 12)


def test_score_shows_no_published_result_beside_that_of_another_truth(run: Run, submission: Path, truth: Path) -> None:
    done = run("score", submission, "--truth", truth, "--protocol", "strict")
    assert "strict protocol" in done.stdout
    assert "AU26" in done.stdout
    assert "1.1145" not in done.stdout
    assert "no published result beside it: the truth has 70 rows" in done.stderr


def test_a_curated_split_is_predicted_and_scored_as_training_did(
    run: Run, runs: list[Path], curated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "validation.txt"
    run("predict", runs[0], "--split", "validation", "--data", curated, "--out", out)
    scored = json.loads(run("score", out, "--truth", curated, "--json").stdout)
    manifest = json.loads((runs[0] / "manifest.json").read_text())
    assert scored["score"] == pytest.approx(manifest["best"]["official"]["score"], abs=1e-6)


def test_single_tasks_make_one_submission_together(
    run: Run, curated: Path, test_list: list[str], tmp_path: Path
) -> None:
    settings = ["--data", curated, "--set", "all.epochs=1"]
    run("train", "demo", *settings, "--tasks", "va", "--tasks", "expression", "--out", tmp_path / "two")
    alone = run("predict", tmp_path / "two", *test_list, "--out", tmp_path / "p.txt", code=3)
    assert "no checkpoint was trained for au" in alone.stderr
    run("train", "demo", *settings, "--tasks", "au", "--out", tmp_path / "one")
    run("predict", tmp_path / "two", tmp_path / "one", *test_list, "--out", tmp_path / "p.txt")
