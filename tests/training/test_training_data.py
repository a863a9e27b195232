"""The rows that train, and the order in which an epoch sees them."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import CROPS_FOLDER
from abawkit.errors import DataError, DataWarning
from abawkit.labels import TASKS, Task
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.training.data import FramedRows, order_epoch, prefetch, read_evaluation_rows, read_training_rows
from abawkit.training.validation import predict_rows


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 500), batch_size=st.integers(2, 64), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 99)
)
def test_an_epoch_sees_every_row_once_in_batches_that_differ_by_one_row_at_most(
    rows: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = order_epoch(rows, batch_size, seed=seed, epoch=epoch)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    again = order_epoch(rows, batch_size, seed=seed, epoch=epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


@pytest.mark.parametrize("other", [{"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}])
def test_another_seed_or_epoch_is_another_order(other: dict[str, int]) -> None:
    first, second = order_epoch(50, 50, seed=0, epoch=0), order_epoch(50, 50, **other)
    assert not np.array_equal(first[0], second[0])


def test_prefetched_batches_come_with_their_own_frames(curated: Path) -> None:
    rows = read_training_rows(open_curated(curated), TASKS)
    batches = order_epoch(len(rows), 40, seed=3, epoch=0)
    got = list(prefetch(rows.pixels, batches))
    assert [batch.tolist() for batch, _ in got] == [batch.tolist() for batch in batches]
    for batch, pixels in got:
        for row, frame in zip(batch.tolist(), pixels, strict=True):
            assert np.array_equal(frame, rows.store.take(rows.frames[[row]])[0])


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_prefetching_goes_on_from_a_batch(curated: Path, start: int) -> None:
    rows = read_evaluation_rows(open_curated(curated), "validation")
    batches = np.array_split(np.arange(len(rows)), 4)
    got = list(prefetch(rows.pixels, batches, start))
    assert [batch.tolist() for batch, _ in got] == [batch.tolist() for batch in batches[start:]]
    assert all(np.array_equal(pixels, rows.pixels(batch)) for batch, pixels in got)


def test_no_batches_are_none(curated: Path) -> None:
    assert list(prefetch(read_evaluation_rows(open_curated(curated), "validation").pixels, [])) == []


@pytest.mark.parametrize("start", [-1, 3])
def test_a_batch_that_is_not_there_is_no_start(curated: Path, start: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.2"):
        prefetch(read_evaluation_rows(open_curated(curated), "validation").pixels, [np.arange(2)] * 2, start)


def test_prefetching_reads_one_batch_ahead_and_ends_with_its_generator(curated: Path) -> None:
    rows = read_evaluation_rows(open_curated(curated), "validation")
    read: list[int] = []

    class Counted:
        def take(self, indices: Any) -> Any:
            read.append(len(indices))
            return rows.store.take(indices)

        def __len__(self) -> int:
            return len(rows.store)

    counted = FramedRows(rows.annotations, rows.rows, rows.frames, Counted())
    batches = prefetch(counted.pixels, [np.arange(5)] * 20)
    next(batches)
    next(batches)
    batches.close()
    assert 2 <= len(read) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("tasks", [("va",), ("expression",), ("au",), ("va", "au")])
def test_rows_without_any_of_the_trained_tasks_are_left_out(curated: Path, tasks: tuple[Task, ...]) -> None:
    annotations = open_curated(curated).splits["train"].annotations
    valid = np.logical_or.reduce([getattr(annotations, f"{task}_valid") for task in tasks])
    rows = read_training_rows(open_curated(curated), tasks)
    assert 0 < valid.sum() < len(annotations)
    assert rows.annotations.images.to_pylist() == annotations.select(valid).images.to_pylist()


def test_every_validation_row_is_evaluated(curated: Path) -> None:
    validation = open_curated(curated).splits["validation"].annotations
    assert read_evaluation_rows(open_curated(curated), "validation").annotations.digest == validation.digest


def test_targets_keep_a_mask_a_task_and_a_row(curated: Path) -> None:
    rows = read_training_rows(open_curated(curated), TASKS)
    which = np.arange(len(rows))[::-1].copy()
    targets = rows.targets(which)
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
        read_training_rows(open_curated(labels_only), TASKS)


@pytest.fixture
def images(release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release / CROPS_FOLDER, tmp_path / "images"))


def test_encoded_frames_are_those_of_the_raw_form(curated: Path, encoded: Path) -> None:
    opened = [open_curated(folder) for folder in (curated, encoded)]
    for raw, found in (
        [read_training_rows(each, TASKS) for each in opened],
        [read_evaluation_rows(each, "validation") for each in opened],
    ):
        assert found.annotations.digest == raw.annotations.digest
        which = np.random.default_rng(0).permutation(len(found))
        assert np.array_equal(found.pixels(which), raw.pixels(which))


@pytest.mark.parametrize("source", ["curated", "labels_only"])
def test_rows_from_a_folder_are_those_of_the_packed_store(
    source: str, curated: Path, release: Path, request: pytest.FixtureRequest
) -> None:
    opened, packed = open_curated(request.getfixturevalue(source)), open_curated(curated)
    for found, expected in (
        (read_training_rows(opened, ("va",), release / CROPS_FOLDER), read_training_rows(packed, ("va",))),
        (
            read_evaluation_rows(opened, "validation", release / CROPS_FOLDER),
            read_evaluation_rows(packed, "validation"),
        ),
    ):
        assert found.annotations.digest == expected.annotations.digest
        assert np.array_equal(found.rows, expected.rows)
        which = np.random.default_rng(0).permutation(len(found))
        assert np.array_equal(found.pixels(which), expected.pixels(which))


def test_a_network_says_the_same_of_a_folder(curated: Path, release: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
    opened = open_curated(curated)
    packed, folder = (read_evaluation_rows(opened, "validation", frames) for frames in (None, release / CROPS_FOLDER))
    first, second = (predict_rows(network, rows, torch.device("cpu")) for rows in (packed, folder))
    assert np.array_equal(first.expression, second.expression)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_few_frames_that_cannot_be_had_leave_their_rows_out_with_a_warning(
    curated: Path, images: Path, damage: str
) -> None:
    whole = read_training_rows(open_curated(curated), TASKS)
    names = whole.annotations.images.to_pylist()
    repeated = max(names, key=names.count)
    lost = [repeated, names[-1]]
    for name in lost:
        if damage == "missing":
            (images / name).unlink()
        else:
            (images / name).write_bytes((images / name).read_bytes()[:-100])
    gone = sum(name in lost for name in names)
    assert gone == 3
    found = rf"2 of {len(set(names))} frames of the train split are missing or unreadable; 3 rows are left out"
    kind = "missing" if damage == "missing" else "unreadable"
    with pytest.warns(DataWarning, match=rf"{found}; the first frames: {repeated}: {kind} \(.*, {names[-1]}: {kind}"):
        rows = read_training_rows(open_curated(curated), TASKS, images, max_missing=0.5)
    kept = np.array([name not in lost for name in names])
    assert rows.annotations.images.to_pylist() == whole.annotations.select(kept).images.to_pylist()
    assert np.array_equal(rows.rows, whole.rows[kept])
    assert np.array_equal(rows.pixels(np.arange(len(rows))), whole.pixels(np.flatnonzero(kept)))


def test_more_frames_that_cannot_be_had_are_refused_before_an_epoch(curated: Path, images: Path) -> None:
    opened = open_curated(curated)
    names = sorted(set(opened.splits["train"].annotations.images.to_pylist()))
    for name in names[:12]:
        (images / name).unlink()
    with pytest.raises(DataError, match=rf"12 of {len(names)} frames of the train split are missing") as caught:
        read_training_rows(opened, TASKS, images)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert all("missing (No such file or directory)" in line for line in lines[1:11])
    assert lines[-1].endswith("give the right folder with --frames; at most 0.1% may be missing")
    assert len(read_evaluation_rows(opened, "validation", images)) == 50


def test_a_folder_of_frames_that_is_not_there_is_refused(curated: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder"):
        read_training_rows(open_curated(curated), TASKS, tmp_path / "absent")
