"""A review of a curated set: which rows it is about, where they stand, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from abawkit.choices import TruthSplit
from abawkit.curation import curate, find_sources, open_curated
from abawkit.curation.curated_set import select_truth
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import write_probabilities
from abawkit.review.review import review_labels


def predict_wrongly(curated: Path, split: TruthSplit, folder: Path) -> Path:
    """Probabilities that contradict every expression: Neutral for Happiness, Happiness for all others."""
    truth = select_truth(open_curated(curated), split)
    said = np.where(truth.expression == 4, 0, 4)
    path = folder / f"{split}.npz"
    columns = np.eye(8, dtype=np.float32)[said]
    rows = np.flatnonzero(truth.expression == 4)[::2]
    columns[rows] = np.eye(8, dtype=np.float32)[4]
    rows = np.flatnonzero(truth.expression == 0)[::2]
    columns[rows] = np.eye(8, dtype=np.float32)[0]
    write_probabilities(path, assemble(truth.images, {"expression": columns}), ["expression"])
    return path


def note(path: Path, content: dict[str, object]) -> None:
    """A manifest beside probabilities, as abawkit writes it."""
    digest = select_digest(path)
    manifest = {"members": [{"digest": "a" * 64}], "source": {"split": path.stem, "list_digest": digest}}
    path.with_suffix(".json").write_text(json.dumps({**manifest, **content}))


def select_digest(path: Path) -> str:
    with np.load(path) as arrays:
        return str(arrays["list_digest"])


def test_rows_of_both_splits_stand_where_their_files_have_them(curated: Path, release: Path, tmp_path: Path) -> None:
    path = predict_wrongly(curated, "train+validation", tmp_path)
    found = review_labels(curated, [path], split="train+validation", only=["contradicted"])
    assert {found.places[one.row].split for one in found.doubtful} == {"train", "validation"}
    for split, name in (("train", "training"), ("validation", "validation")):
        lines = (release / f"{name}_set_annotations.txt").read_text().splitlines()
        places = [place for place in found.places if place.split == split]
        assert all(lines[place.line - 1].split(",")[0] == place.image for place in places)
        assert len(places) == len(select_truth(open_curated(curated), split))  # type: ignore[arg-type]


def test_the_rows_are_those_that_the_manifest_names(curated: Path, tmp_path: Path) -> None:
    path = predict_wrongly(curated, "validation", tmp_path)
    with pytest.raises(DataError, match="its 50 rows are not the 179 of the annotations"):
        review_labels(curated, [path])  # nothing says whose they are: of the training rows, as folds have them
    note(path, {"submission_sha256": "b" * 64})
    assert review_labels(curated, [path]).split == "validation"


def test_predictions_of_training_rows_that_are_not_out_of_fold_are_a_warning(curated: Path, tmp_path: Path) -> None:
    path = predict_wrongly(curated, "train", tmp_path)
    note(path, {"out_of_fold": {"folds": 2}})
    review_labels(curated, [path])
    note(path, {"submission_sha256": "b" * 64})
    with pytest.warns(DataWarning, match="is not out of fold"):
        review_labels(curated, [path])


def test_without_frames_near_duplicates_are_left_out_and_refused_where_they_are_asked_for(
    release: Path, curated: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    curate(find_sources(release, labels_only=True), labels, policy="per-task")
    path = predict_wrongly(labels, "train", tmp_path)
    assert not review_labels(labels, [path]).frames
    assert review_labels(curated, [path]).frames
    with pytest.raises(ConfigError, match="holds labels only"):
        review_labels(labels, [path], only=["near-duplicate"])


def test_repeated_rows_with_other_labels_are_near_duplicates(curated: Path, tmp_path: Path) -> None:
    found = review_labels(curated, [predict_wrongly(curated, "train", tmp_path)], only=["near-duplicate"])
    truth = found.truth
    pairs = {
        (a, b)
        for a in range(len(truth) - 1)
        for b in [a + 1]
        if truth.images[a] == truth.images[b]
        and truth.expression_valid[a]
        and truth.expression_valid[b]
        and truth.expression[a] != truth.expression[b]
    }
    assert pairs
    assert {row for pair in pairs for row in pair} == {one.row for one in found.doubtful if one.task == "expression"}


def test_a_damaged_curated_set_is_refused(curated: Path, tmp_path: Path) -> None:
    path = predict_wrongly(curated, "train", tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(curated, copy)
    (copy / "frames/frames.json").unlink()
    with pytest.raises(DataError, match=r"frames\.json"):
        review_labels(copy, [path])
