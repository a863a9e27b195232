"""Training from several folders of image files: their order, their counts, and what a run is resumed with."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import CROPS_FOLDER
from abawkit.errors import DataError, StoppedError
from abawkit.frames.paths import FrameFolders
from abawkit.inspection.runs import inspect_run
from abawkit.labels import TASKS
from abawkit.system.signals import Stop
from abawkit.training.callbacks import Callbacks
from abawkit.training.data import read_evaluation_rows, read_training_rows
from abawkit.training.recipe import read_recipe
from abawkit.training.resume import read_recorded
from abawkit.training.run import train
from abawkit.training.start import Inputs, Resume


@pytest.fixture
def two(release: Path, tmp_path: Path) -> FrameFolders:
    """The release's frames in two folders; every second video of the second lies on another disk, with a link."""
    first, second, disk = (tmp_path / name for name in ("first", "second", "disk"))
    shutil.copytree(release / CROPS_FOLDER, first)
    second.mkdir()
    disk.mkdir()
    for k, video in enumerate(sorted(first.iterdir())[::2]):
        video.rename((disk if k % 2 else second) / video.name)
        if k % 2:
            (second / video.name).symlink_to(disk / video.name)
    return FrameFolders((first, second), follow_links=True)


def test_rows_from_two_folders_are_those_of_the_packed_store(curated: Path, two: FrameFolders) -> None:
    opened = open_curated(curated)
    found, expected = read_training_rows(opened, TASKS, two), read_training_rows(opened, TASKS)
    assert found.annotations.digest == expected.annotations.digest
    which = np.random.default_rng(0).permutation(len(found))
    assert np.array_equal(found.pixels(which), expected.pixels(which))
    assert found.counts
    assert sum(found.counts.folders.values()) == found.counts.read == len(set(found.annotations.images.to_pylist()))
    assert min(found.counts.folders.values()) > 0
    assert expected.counts is None


def test_links_are_not_followed_unasked(curated: Path, two: FrameFolders) -> None:
    with pytest.raises(DataError, match="--follow-links"):
        read_evaluation_rows(open_curated(curated), "validation", FrameFolders(two.folders))


def test_frames_in_a_folder_deeper_are_said_to_be_there(curated: Path, release: Path, tmp_path: Path) -> None:
    shutil.copytree(release / CROPS_FOLDER, tmp_path / "images/cropped_aligned")
    with pytest.raises(DataError) as caught:
        read_training_rows(open_curated(curated), TASKS, tmp_path / "images")
    assert f"{tmp_path / 'images/cropped_aligned'} has them" in str(caught.value)


def begin(curated: Path, frames: FrameFolders, out: Path) -> None:
    """Begins a run that a signal ends after its first step."""
    recipe, stop = read_recipe("demo", ["all.epochs=1", "heads.epochs=0", "device=cpu"]), Stop()
    out.mkdir()

    def on_step(moment: Any) -> None:
        stop.signal = 15 if moment.steps == 1 else 0

    with pytest.raises(StoppedError):
        train(recipe, Inputs(curated, frames=frames), out, stopping=nullcontext(stop), callbacks=Callbacks(on_step))


@pytest.mark.parametrize("follow", [True, False])
def test_a_run_records_its_folders_and_goes_on_with_them(
    curated: Path, release: Path, two: FrameFolders, tmp_path: Path, follow: bool
) -> None:
    frames, out = two if follow else FrameFolders((release / CROPS_FOLDER,)), tmp_path / "run"
    begin(curated, frames, out)
    begun = read_recorded(out)
    assert begun
    assert begun.frames == frames.resolve()
    assert inspect_run(out).problems == []
    recipe = read_recipe("demo", ["all.epochs=1", "heads.epochs=0", "device=cpu"])
    train(recipe, Inputs(curated, frames=begun.frames), out, resume=Resume())
    counts = json.loads((out / "manifest.json").read_text())["frames"]
    assert counts["train"]["not_crops"] == counts["validation"]["not_crops"] == 0
    assert len(counts["train"]["folders"]) == len(frames.folders)
    assert len({counts[split]["pixels_sha256"] for split in ("train", "validation")}) == 2


def test_a_run_does_not_go_on_with_other_pixels_under_the_same_names(
    curated: Path, two: FrameFolders, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    begin(curated, two, out)
    first, second = sorted(two.folders[0].rglob("*.jpg"))[:2]
    shutil.copyfile(second, first)
    recipe = read_recipe("demo", ["all.epochs=1", "heads.epochs=0", "device=cpu"])
    with pytest.raises(DataError, match="or their pixels differ"):
        train(recipe, Inputs(curated, frames=two), out, resume=Resume(allow_drift=True))
