"""A run with `--stage` reads copies, which are gone afterwards, and gives the same weights."""

import json
import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import abawkit
from abawkit.errors import ConfigError, DataWarning
from abawkit.features.store import FeatureStore
from abawkit.frames.packed import PackedFrames
from abawkit.system.files import sha256_of
from abawkit.system.filesystems import FileSystem
from abawkit.training.recipe import Recipe
from abawkit.training.run import Trained, train
from abawkit.training.run_folder import run_folder
from abawkit.training.staging import stage_inputs
from abawkit.training.start import Inputs, Start
from tests.commands import Started

BEST = "best.safetensors"
CHANGES = {"heads.epochs": 0, "all.epochs": 1, "batch_size": 90}


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "tmpdir"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_packed_frames_are_read_from_a_copy_and_the_weights_are_the_same(
    curated: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    said: list[str] = []
    open_store = PackedFrames.open.__func__  # type: ignore[attr-defined]

    def note(cls: type[PackedFrames], folder: Path) -> PackedFrames:
        store: PackedFrames = open_store(cls, folder)
        opened.append(Path(f"/proc/self/fd/{store._files[0].fileno()}").readlink())
        return store

    monkeypatch.setattr(PackedFrames, "open", classmethod(note))
    abawkit.train("demo", curated, tmp_path / "plain", changes=CHANGES)
    assert {path.parent for path in opened} == {(curated / "frames").resolve()}
    opened.clear()
    abawkit.train("demo", curated, tmp_path / "staged", changes=CHANGES, stage=True, on_run=said.append)
    assert any(path.is_relative_to(temporary) for path in opened)
    assert [line.partition(" (")[0] for line in said] == [f"copying {curated / 'frames' / 'frames.u8'}"]
    assert sha256_of(tmp_path / "staged" / BEST) == sha256_of(tmp_path / "plain" / BEST)
    assert list(temporary.iterdir()) == []


def test_encoded_frames_are_copied_file_by_file_and_train_the_network_of_raw_ones(
    recipe: Callable[..., Recipe], encoded: Path, full_run: Trained, tmp_path: Path, temporary: Path
) -> None:
    said: list[str] = []
    start = Start(recipe(ema=0.9), Inputs(encoded), threads=None, ops=None)
    (tmp_path / "run").mkdir()
    with stage_inputs(start, on_copy=said.append):
        train(start.recipe, start.inputs, tmp_path / "run")
    names = ["frames.index", "frames-00000.shard"]
    assert [line.partition(" (")[0] for line in said] == [f"copying {encoded / 'frames' / name}" for name in names]
    for name in (BEST, "last.safetensors"):
        assert sha256_of(tmp_path / "run" / name) == sha256_of(full_run.out / name)
    raw, found = (json.loads((run / "manifest.json").read_text())["data"] for run in (full_run.out, tmp_path / "run"))
    assert raw["table_digest"] == found["table_digest"]
    assert list(temporary.iterdir()) == []


def test_features_are_read_from_copies_and_the_manifest_names_the_store_itself(
    curated: Path, features: Path, sequence_recipe: Callable[..., Recipe], tmp_path: Path, temporary: Path
) -> None:
    said: list[str] = []
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(sequence_recipe().to_toml())
    out = tmp_path / "run"
    abawkit.train(recipe, curated, out, features=features, stage=True, on_run=said.append)
    arrays = [file.path for file in FeatureStore.open(features).list_arrays()]
    assert [line.partition(" (")[0] for line in said] == [f"copying {path}" for path in arrays]
    assert json.loads((out / "manifest.json").read_text())["data"]["features"][0]["folder"] == str(features.resolve())
    assert list(temporary.iterdir()) == []


def test_folds_share_one_copy(
    curated: Path, features: Path, sequence_recipe: Callable[..., Recipe], tmp_path: Path, temporary: Path
) -> None:
    said: list[str] = []
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(sequence_recipe(all={"epochs": 1, "learning_rate": 1e-2}).to_toml())
    warnings.simplefilter("ignore", DataWarning)  # a fold of this set lacks a unit
    abawkit.train(recipe, curated, tmp_path / "run", features=features, folds=2, stage=True, on_run=said.append)
    arrays = FeatureStore.open(features).list_arrays()
    assert [line for line in said if line.startswith("copying")] == said[: len(arrays)]
    assert list(temporary.iterdir()) == []


def test_image_files_are_not_copied(curated: Path, tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(ConfigError, match="--stage copies packed frames and features; with --frames"):
        abawkit.train("demo", curated, tmp_path / "run", changes=CHANGES, frames=curated.parent, stage=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.faults
def test_a_signal_removes_the_copies(curated: Path, tmp_path: Path, temporary: Path) -> None:
    settings = ("--set", "heads.epochs=0", "--set", "all.epochs=100", "--set", "batch_size=48")
    with Started("train", "demo", "--data", curated, "--out", tmp_path / "run", "--stage", *settings) as process:
        assert process.first_error_line().startswith("copying ")
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert process.poll() is None
        assert len(list(temporary.glob("abawkit-stage-*/*"))) == 2  # the copy and its lock
        process.send_signal(signal.SIGTERM)
        ended = process.wait()
    assert ended.returncode == 143, ended.stderr
    assert list(temporary.glob("abawkit-*")) == []


def test_a_run_says_what_its_file_system_does_not_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FileSystem("fuse.s3fs", frozenset())
    monkeypatch.setattr("abawkit.system.filesystems.find_file_system", lambda _: s3)
    with (
        pytest.warns(DataWarning, match="run: is on a file system of type fuse.s3fs: objects have no locks"),
        run_folder(tmp_path / "run", resume=False, force=False),
    ):
        pass
