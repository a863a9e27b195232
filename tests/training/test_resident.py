"""Frames on the device: the same ones, taken by number; and when they are put there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.frames.decode import FRAME_BYTES
from abawkit.frames.packed import RawFrames
from abawkit.labels import TASKS
from abawkit.system.files import sha256_of
from abawkit.training import data as resident
from abawkit.training.data import SHARE, FramedRows, ResidentFrames, make_resident, read_training_rows
from abawkit.training.recipe import Recipe
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def rows(curated: Path) -> FramedRows:
    return read_training_rows(open_curated(curated), TASKS)


def test_rows_take_their_own_frames_and_share_those_that_repeat(
    rows: FramedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "_CHUNK", 7)
    frames = np.arange(len(rows))
    frames[5] = frames[30]
    some = replace(rows, frames=frames)
    found = ResidentFrames(some, CPU)
    which = np.array([30, 5, 0, len(rows) - 1, 17])
    assert np.array_equal(found.take(found.numbers(which)).numpy(), some.pixels(which))
    assert len(found.pixels) == len(rows) - 1


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_frames_go_to_a_gpu_with_room_for_as_much_again(
    rows: FramedRows, monkeypatch: pytest.MonkeyPatch, spare: int, fits: bool
) -> None:
    made: list[torch.device] = []
    monkeypatch.setattr(resident, "ResidentFrames", lambda _, device: made.append(device))
    free = int(len(np.unique(rows.frames)) * FRAME_BYTES / SHARE) + spare
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2 * free))
    make_resident(rows, GPU)
    assert made == ([GPU] if fits else [])


def test_encoded_frames_go_to_a_gpu_too(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_training_rows(open_curated(encoded), TASKS)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10**10, 10**10))
    monkeypatch.setattr(resident, "ResidentFrames", lambda given, _: ResidentFrames(given, CPU))
    found = make_resident(rows, GPU)
    assert found
    which = np.array([3, 0, len(rows) - 1])
    assert np.array_equal(found.take(found.numbers(which)).numpy(), rows.pixels(which))


def test_frames_of_image_files_and_those_of_a_cpu_stay_where_they_are(rows: FramedRows) -> None:
    class Files:
        def take(self, indices: np.ndarray) -> np.ndarray:
            raise AssertionError(indices)

        def __len__(self) -> int:
            return 10**6

    assert isinstance(rows.store, RawFrames)
    assert make_resident(rows, CPU) is None
    assert make_resident(replace(rows, store=Files()), GPU) is None


def test_a_run_on_frames_of_its_device_ends_with_the_same_weights(
    recipe: Callable[..., Recipe],
    curated: Path,
    full_run: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("abawkit.training.learner.make_resident", ResidentFrames)
    train(recipe(ema=0.9), Inputs(curated), tmp_path)
    assert sha256_of(tmp_path / "last.safetensors") == sha256_of(full_run.out / "last.safetensors")
    assert '"frames_on_gpu": true' in (tmp_path / "manifest.json").read_text()
    assert '"frames_on_gpu": false' in (full_run.out / "manifest.json").read_text()
