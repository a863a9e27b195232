"""Networks by folds: out-of-fold probabilities, resuming and what is refused; a folder of folds as an ensemble."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abawkit
from abawkit.curation.curated_set import CuratedSplit, join_splits, open_curated, select_truth
from abawkit.errors import ConfigError, DataError, DataWarning, StoppedError
from abawkit.inspection import inspect
from abawkit.labels import TASKS
from abawkit.probabilities.members import read_member
from abawkit.run_names import BEST
from abawkit.system.files import sha256_of
from abawkit.training.callbacks import StepInfo
from abawkit.training.folds import assign_folds
from abawkit.training.run import Trained
from tests.sequence_features import list_rows, write_random_store

QUICK: dict[str, Any] = {"batch_size": 64, "sequence.width": 8, "all.epochs": 2, "all.learning_rate": 1e-2}


def train_folds(data: Path, features: Path, out: Path, **options: Any) -> Trained:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return abawkit.train("sequence-frame", data, out, features=features, changes=QUICK, **options)


def resume_folds(out: Path, **options: Any) -> Trained:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return abawkit.train(None, None, out, resume=True, **options)


def list_rows_of_folds(rows: CuratedSplit, count: int) -> dict[str, int]:
    """The fold of each image; no image is in two."""
    return dict(zip(rows.annotations.images.to_pylist(), assign_folds(rows, count, 0).tolist(), strict=True))


def list_digests(out: Path) -> dict[str, str]:
    files = [*out.glob(f"fold-*/{BEST}"), *out.glob(f"refit/{BEST}"), *out.glob("out-of-fold.npz")]
    return {str(path.relative_to(out)): sha256_of(path) for path in files}


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Pictures and reports take longer than these networks; those of folds are tested by the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abawkit.reports.run_pictures.RunPictures", lambda _, **_options: None)
        yield


@pytest.fixture(scope="module")
def folds(curated: Path, features: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three folds over the training split."""
    return train_folds(curated, features, tmp_path_factory.mktemp("folds") / "runs", folds=3)


def test_each_row_is_answered_by_the_network_that_has_not_seen_its_clip(
    folds: Trained, curated: Path, features: Path, tmp_path: Path
) -> None:
    assert folds.probabilities == folds.out / "out-of-fold.npz"
    member, opened = read_member(folds.out / "out-of-fold.npz"), open_curated(curated)
    images = member.predictions.images.to_pylist()
    assert images == select_truth(opened, "train").images.to_pylist()
    fold_of = list_rows_of_folds(opened.splits["train"], 3)
    own = np.array([fold_of[name] for name in images])
    for number in (1, 2, 3):
        run = folds.out / f"fold-{number}"
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["fold"] == {
            "number": number,
            "of": 3,
            "over": "train",
            "seed": 0,
            "validated_on": f"rows of train in fold {number} of 3",
        }
        assert manifest["rows"] == {"train": int((own != number).sum()), "validation": int((own == number).sum())}
        written = abawkit.predict(
            run, tmp_path / f"{number}.txt", split="train", data=curated, features=features, device="cpu"
        )
        alone = read_member(written.probabilities).predictions
        for task in TASKS:
            column, out_of_fold = getattr(alone, task), getattr(member.predictions, task)
            same = np.isclose(column, out_of_fold, atol=1e-6).all(axis=1)
            assert same[own == number].all()
            assert not same[own != number].any()


def test_what_each_fold_and_all_rows_score_is_recorded(folds: Trained, curated: Path) -> None:
    record = json.loads((folds.out / "out-of-fold.json").read_text())
    assert record["out_of_fold"] == {"folds": 3, "over": "train", "seed": 0}
    assert record["source"]["split"] == "train"
    assert [entry["path"] for entry in record["members"]] == [f"fold-{number}/{BEST}" for number in (1, 2, 3)]
    assert record["scores"]["official"]["score"] == folds.scores["official"].score
    assert record["scores"]["official"]["forecast"]["videos"] == 12
    begun = json.loads((folds.out / "folds.json").read_text())
    rows = open_curated(curated).splits["train"]
    assert sum(size["rows"] for size in begun["sizes"]) == len(rows.rows) == 179
    assert sum(size["videos"] for size in begun["sizes"]) == 12
    assert [run.scored_rows for run in folds.folds] == [size["rows"] for size in begun["sizes"]]
    assert folds.folds_over == "train"
    assert folds.best_epoch in (1, 2)


def test_tune_and_score_take_the_rows_by_their_split_and_refuse_others(
    folds: Trained, curated: Path, tmp_path: Path
) -> None:
    npz = folds.out / "out-of-fold.npz"
    tuning = abawkit.tune(npz, curated, tmp_path / "rule.json", split="train", folds=2, smoothing=False)
    assert (tuning.about["rows"], tuning.about["videos"]) == (179, 12)
    assert tuning.untuned["score"].value == pytest.approx(folds.scores["official"].score)
    with pytest.raises(
        DataError, match=r"rows are not the 50 of .*its manifest says that they are of train; .*--split"
    ):
        abawkit.tune(npz, curated, tmp_path / "other.json")
    with pytest.raises(ConfigError, match=r"--split train: .* a file has no splits"):
        abawkit.tune(npz, npz, tmp_path / "other.json", split="train")


def test_a_folder_of_folds_is_predicted_as_the_ensemble_of_its_networks_with_its_own_rule(
    folds: Trained, curated: Path, features: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"split": "validation", "data": curated, "features": features, "device": "cpu"}
    abawkit.tune(folds.out / "out-of-fold.npz", curated, tmp_path / "rule.json", split="train", folds=2)
    whole = abawkit.predict(folds.out, tmp_path / "whole.txt", **given)
    runs = [folds.out / f"fold-{number}" for number in (1, 2, 3)]
    apart = abawkit.predict(runs, tmp_path / "apart.txt", **given)
    assert sha256_of(whole.probabilities) == sha256_of(apart.probabilities)
    assert read_member(whole.probabilities).key == read_member(folds.out / "out-of-fold.npz").key
    ruled = abawkit.predict(folds.out, tmp_path / "ruled.txt", rule=tmp_path / "rule.json", **given)
    assert ruled.rows == 50
    cut = Path(shutil.copytree(folds.out, tmp_path / "cut"))
    shutil.rmtree(cut / "fold-2")
    with pytest.raises(DataError, match=r"fold 2 of 3 is not finished; `abawkit train --resume --out .*cut` continues"):
        abawkit.predict(cut, tmp_path / "cut.txt", **given)


def test_stopped_folds_go_on_to_the_same_networks_and_finished_ones_are_kept(
    folds: Trained, curated: Path, features: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    seen: list[str] = []

    def stop(info: StepInfo) -> None:
        if len(seen) == 2 and info.steps == 2:
            (out / "fold-2" / "STOP").touch()

    with pytest.raises(StoppedError, match=r"fold 2 of 3 was stopped; `abawkit train --resume --out .*runs` continues"):
        train_folds(curated, features, out, folds=3, on_run=seen.append, on_step=stop)
    assert seen == ["fold 1 of 3", "fold 2 of 3"]
    with pytest.raises(ConfigError, match="holds folds; --resume continues them, --force replaces them"):
        train_folds(curated, features, out, folds=3)
    kept = (out / "fold-1" / "manifest.json").stat().st_mtime_ns
    seen.clear()
    again = resume_folds(out, on_run=seen.append)
    assert seen == ["fold 2 of 3", "fold 3 of 3"]
    assert list_digests(out) == list_digests(folds.out)
    assert again.scores == folds.scores
    assert (out / "fold-1" / "manifest.json").stat().st_mtime_ns == kept
    seen.clear()
    written = (out / "out-of-fold.json").stat().st_mtime_ns
    assert resume_folds(out, on_run=seen.append).scores == folds.scores
    assert (seen, (out / "out-of-fold.json").stat().st_mtime_ns) == ([], written)
    for options, message in (
        ({"folds": 4}, "--folds 4: the folds in .* were begun with 3; leave it out"),
        ({"folds_over": "train+validation"}, "--folds-over train"),
        ({"seed": 5}, "begun with another recipe:\n  seed: was 0, is 5"),
    ):
        with pytest.raises(ConfigError, match=message):
            resume_folds(out, **options)


def test_folds_over_both_splits_and_a_network_on_all_rows(curated: Path, features: Path, tmp_path: Path) -> None:
    found = train_folds(curated, features, tmp_path / "runs", folds=2, folds_over="train+validation", refit=True)
    opened = open_curated(curated)
    member = read_member(tmp_path / "runs" / "out-of-fold.npz")
    assert member.predictions.images.equals(select_truth(opened, "train+validation").images)
    assert len(member.predictions) == len(join_splits(opened).rows) == 229
    assert found.refit
    assert found.refit.rows == found.refit.scored_rows == 229
    best = [run.best_epoch or 0 for run in found.folds]
    assert found.refit.epochs == found.refit.best_epoch == max(best)  # of two, the higher is the median
    assert found.refit.fold == {
        "number": 0,
        "of": 2,
        "over": "train+validation",
        "seed": 0,
        "best_epochs": tuple(best),
        "validated_on": "its own training rows (in-sample)",
    }


@pytest.mark.parametrize("seen", [True, False])
def test_features_of_a_network_that_has_seen_the_rows_are_named(seen: bool, curated: Path, tmp_path: Path) -> None:
    store, digest = tmp_path / "store", open_curated(curated).digest
    source = {"kind": "network", "digest": "a" * 64, "trained_on": digest if seen else "b" * 64}
    write_random_store(store, list_rows(curated), source=source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        abawkit.train("sequence-frame", curated, tmp_path / "runs", features=store, changes=QUICK, folds=2)
    named = [one for one in caught if "store: features of a network that was trained on this" in str(one.message)]
    assert len(named) == seen
    assert all(one.category is DataWarning for one in named)


def test_folds_are_inspected(folds: Trained, tmp_path: Path) -> None:
    found = inspect(folds.out)
    assert (found.kind, found.problems, found.summary) == ("folds", [], "3 folds over train, 3 finished")
    assert found.facts["out_of_fold"]["state"] == "whole"
    assert [run["state"] for run in found.facts["runs"].values()] == ["finished"] * 3
    changed = Path(shutil.copytree(folds.out, tmp_path / "changed"))
    shutil.rmtree(changed / "fold-1")
    shutil.copytree(folds.out / "fold-2", changed / "fold-1")
    found = inspect(changed / "out-of-fold.json")
    assert found.kind == "folds"
    assert any("is about other networks than those of the folds here" in text for text in found.problems)
    (changed / "folds.json").write_text("{}")
    assert any("folds.json" in text for text in inspect(changed).problems)


def test_what_can_not_be_folds_is_refused_before_anything_is_written(
    curated: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    for options, error, message in (
        ({"folds": 1}, ConfigError, "--folds 1: expected 2 to 100"),
        ({"folds": 13}, DataError, "found 12 clips with rows that the policy keeps, expected at least 13"),
        ({"refit": True}, ConfigError, "--refit goes with --folds"),
        ({"folds_over": "train"}, ConfigError, "--folds-over goes with --folds"),
    ):
        with pytest.raises(error, match=message):
            train_folds(curated, features, out, **options)
    assert not out.exists()
    out.mkdir()
    (out / "letter.txt").touch()
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(ConfigError, match=r"is not empty|holds 'letter.txt', so it is not a folder of folds"):
            train_folds(curated, features, out, folds=2, **options)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_networks_that_see_frames_are_trained_by_folds(
    recipe: Callable[..., Any], curated: Path, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe(heads={"epochs": 0}).to_toml())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        found = abawkit.train(path, curated, tmp_path / "runs", folds=2, force=True)
    member = read_member(tmp_path / "runs" / "out-of-fold.npz")
    fold_of = list_rows_of_folds(open_curated(curated).splits["train"], 2)
    own = np.array([fold_of[name] for name in member.predictions.images.to_pylist()])
    run = tmp_path / "runs" / "fold-2"
    written = abawkit.predict(run, tmp_path / "2.txt", split="train", data=curated, device="cpu", missing="neighbour")
    alone = read_member(written.probabilities).predictions
    same = np.abs(alone.va - member.predictions.va).max(axis=1) < 1e-4
    assert same[own == 2].all()
    assert not same[own == 1].all()
    assert found.tasks == TASKS
