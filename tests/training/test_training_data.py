"""The rows that train, and the order in which an epoch sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.curation.table import open_curated
from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.training.data import epoch_batches, evaluation_rows, prefetched, training_rows


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 500), batch_size=st.integers(2, 64), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 99)
)
def test_an_epoch_sees_every_row_once_in_batches_that_differ_by_one_row_at_most(
    rows: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(rows, batch_size, seed=seed, epoch=epoch)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    again = epoch_batches(rows, batch_size, seed=seed, epoch=epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


@pytest.mark.parametrize("other", [{"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}])
def test_another_seed_or_epoch_is_another_order(other: dict[str, int]) -> None:
    first, second = epoch_batches(50, 50, seed=0, epoch=0), epoch_batches(50, 50, **other)
    assert not np.array_equal(first[0], second[0])


def test_prefetched_batches_come_with_their_own_frames(curated: Path) -> None:
    rows = training_rows(open_curated(curated), TASKS)
    batches = epoch_batches(len(rows), 40, seed=3, epoch=0)
    got = list(prefetched(rows, batches))
    assert [batch.tolist() for batch, _ in got] == [batch.tolist() for batch in batches]
    for batch, pixels in got:
        for row, frame in zip(batch.tolist(), pixels, strict=True):
            assert np.array_equal(frame, rows.store.pixels[rows.frames[row]])


@pytest.mark.parametrize("tasks", [("va",), ("expression",), ("au",), ("va", "au")])
def test_rows_without_any_of_the_trained_tasks_are_left_out(curated: Path, tasks: tuple[Task, ...]) -> None:
    annotations = open_curated(curated).splits["train"].annotations
    valid = np.logical_or.reduce([getattr(annotations, f"{task}_valid") for task in tasks])
    rows = training_rows(open_curated(curated), tasks)
    assert 0 < valid.sum() < len(annotations)
    assert rows.annotations.images.to_pylist() == annotations.select(valid).images.to_pylist()


def test_every_validation_row_is_evaluated(curated: Path) -> None:
    validation = open_curated(curated).splits["validation"].annotations
    assert evaluation_rows(open_curated(curated), "validation").annotations.digest == validation.digest


def test_targets_keep_a_mask_a_task_and_a_row(curated: Path) -> None:
    rows = training_rows(open_curated(curated), TASKS)
    which = np.arange(len(rows))[::-1].copy()
    targets = rows.targets(which, torch.device("cpu"))
    table = rows.annotations.select(which)
    assert np.array_equal(targets.au_valid.numpy(), table.au_valid)
    assert np.array_equal(targets.va_valid.numpy(), table.va_valid)
    assert np.array_equal(targets.expression_valid.numpy(), table.expression_valid)
    assert np.array_equal(targets.au.numpy(), table.au)
    assert np.array_equal(targets.expression.numpy(), table.expression)
    assert np.array_equal(targets.va.numpy(), table.va.astype(np.float32))
    idle = table.au_valid & ~table.au.any(axis=1)
    assert idle.any()  # rows without an active unit are there, and annotated
    assert targets.au_valid.numpy()[idle].all()


def test_a_set_of_labels_alone_is_refused(labels_only: Path) -> None:
    with pytest.raises(DataError, match=r"holds labels only; run `abawkit curate`"):
        training_rows(open_curated(labels_only), TASKS)
