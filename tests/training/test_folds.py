"""Folds of training: whole clips, balanced labels, and networks that never see the clips that they are scored on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.choices import FoldsOver
from abawkit.curation.curated_set import CuratedSplit, find_truth_rows, join_splits, open_curated, select_truth
from abawkit.errors import DataError
from abawkit.tables import Annotations, Array
from abawkit.training.folds import ALL_ROWS, VideoFold, assign_folds, number_clips, select_fold


def make_rows(videos: list[str], seed: int = 0, kept: Array | None = None) -> CuratedSplit:
    """A row for each video named, with random labels, a third of each task missing."""
    random, n = np.random.default_rng(seed), len(videos)
    masks = [random.random(n) < 2 / 3 for _ in range(3)]
    annotations = Annotations(
        images=pa.array([f"{video}/{i:05}.jpg" for i, video in enumerate(videos)], pa.string()),
        lines=np.arange(n, dtype=np.int64),
        va=random.uniform(-1, 1, (n, 2)) * masks[0][:, None],
        expression=(random.integers(0, 8, n) * masks[1]).astype(np.int8),
        au=(random.integers(0, 2, (n, 12)) * masks[2][:, None]).astype(np.int8),
        va_valid=masks[0],
        expression_valid=masks[1],
        au_valid=masks[2],
        va_partial=np.zeros(n, dtype=bool),
        au_partial=np.zeros(n, dtype=bool),
    )
    there = np.ones(n, dtype=bool) if kept is None else kept
    return CuratedSplit(annotations, np.arange(n, dtype=np.int64), there, np.arange(n, dtype=np.int64))


def test_persons_of_one_recording_and_repeated_frames_are_in_one_fold() -> None:
    names = ["a_left", "a_right", "a", "b", "b", "c_left", "d", "d_right", "e", "left", "_left"] * 3
    rows = make_rows(names)
    folds = assign_folds(rows, 4, 0)
    by_name = {name: {int(fold) for fold, other in zip(folds, names, strict=True) if other == name} for name in names}
    assert all(len(found) == 1 for found in by_name.values())
    assert by_name["a"] == by_name["a_left"] == by_name["a_right"]
    assert by_name["d"] == by_name["d_right"]
    assert set(folds.tolist()) == {1, 2, 3, 4}
    assert number_clips(rows.annotations.videos)[1] == 7


def test_rows_and_labels_of_every_task_are_balanced() -> None:
    """Clips that show one label each, as real ones do: the share of each in a fold is near a fifth."""
    random = np.random.default_rng(1)
    names = [f"v{i}" for i in range(200) for _ in range(int(random.integers(20, 60)))]
    rows = make_rows(names)
    shown = np.array([int(name[1:]) % 8 for name in names], dtype=np.int8)
    a = rows.annotations
    rows = replace(rows, annotations=replace(a, expression=np.where(a.expression_valid, shown, 0).astype(np.int8)))
    folds = assign_folds(rows, 5, 0)
    a = rows.annotations
    masks = [np.ones(len(a), dtype=bool), a.va_valid, a.expression_valid, a.au_valid]
    masks += [a.expression_valid & (a.expression == label) for label in range(8)]
    masks += [a.au_valid & (a.au[:, unit] == 1) for unit in range(12)]
    shares = np.array([[(mask & (folds == fold)).sum() / mask.sum() for fold in range(1, 6)] for mask in masks])
    assert np.abs(shares - 0.2).max() < 0.02


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    names = [f"v{i}" for i in range(40) for _ in range(i % 7 + 3)]
    rows = make_rows(names)
    folds = assign_folds(rows, 5, 3)
    order = np.random.default_rng(0).permutation(len(names))
    shuffled = CuratedSplit(rows.annotations.select(order), rows.rows[order], rows.kept[order], rows.frames[order])
    np.testing.assert_array_equal(assign_folds(shuffled, 5, 3), folds[order])
    assert (assign_folds(rows, 5, 4) != folds).any()


def test_rows_that_the_policy_drops_count_nothing_and_too_few_clips_are_refused() -> None:
    names = [name for name in "abcdef" for _ in range(4)]
    rows = make_rows(names, kept=np.array([name in "abc" for name in names]))
    assert {int(fold) for fold, name in zip(assign_folds(rows, 3, 0), names, strict=True) if name in "abc"} == {1, 2, 3}
    with pytest.raises(DataError, match="found 3 clips with rows that the policy keeps, expected at least 4"):
        assign_folds(rows, 4, 0)


@pytest.mark.parametrize("over", ["train", "train+validation"])
def test_a_fold_trains_on_the_clips_of_the_others_and_is_scored_on_its_own(curated: Path, over: FoldsOver) -> None:
    opened = open_curated(curated)
    pool = opened.splits["train"] if over == "train" else join_splits(opened)
    scored = []
    for number in range(1, 4):
        splits = select_fold(opened, VideoFold(number, 3, over, 0)).splits
        videos = [set(splits[name].annotations.videos.to_pylist()) for name in ("train", "validation")]
        assert not videos[0] & videos[1]
        assert videos[0] | videos[1] == set(pool.annotations.videos.to_pylist())
        assert len(splits["train"].rows) + len(splits["validation"].rows) == len(pool.rows)
        scored.append(splits["validation"].rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(scored)), pool.rows)
    everything = select_fold(opened, VideoFold(ALL_ROWS, 3, over, 0)).splits
    assert everything["train"].annotations.digest == pool.annotations.digest
    apart = opened.splits["validation"] if over == "train" else pool
    assert everything["validation"].annotations.digest == apart.annotations.digest


def test_the_truth_of_both_splits_is_one_below_the_other(curated: Path) -> None:
    opened = open_curated(curated)
    both, parts = select_truth(opened, "train+validation"), [opened.splits[s] for s in ("train", "validation")]
    kept = [parts[0].annotations.select(parts[0].kept), parts[1].annotations]
    assert both.images.to_pylist() == [name for part in kept for name in part.images.to_pylist()]
    np.testing.assert_array_equal(both.va, np.concatenate([part.va for part in kept]))
    assert len(set(join_splits(opened).rows.tolist())) == len(find_truth_rows(opened, "train+validation"))
    assert select_truth(opened, "validation").digest == parts[1].annotations.digest
