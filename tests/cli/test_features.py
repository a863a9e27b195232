"""``abawkit features`` from end to end: of a curated set and of a list, killed and continued, and inspected."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.features import extract, store_writer
from abawkit.features.store import FeatureStore
from abawkit.features.store_writer import StoreWriter
from abawkit.system import files
from tests.cli.conftest import Run, answer
from tests.commands import Started

pytestmark = pytest.mark.e2e


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def extracted(run: Run, runs: list[Path], curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "out"
    run("features", runs[0], "--data", curated, "--flip", "--out", out)
    return out


def test_a_curated_set_is_extracted_and_reported(run: Run, runs: list[Path], curated: Path, tmp_path: Path) -> None:
    found = answer(run("features", "extract", runs[0], "--data", curated, "--out", tmp_path / "a", "--json"))
    store = FeatureStore.open(tmp_path / "a")
    source = found.pop("source")
    assert found == {
        "out": str(tmp_path / "a"),
        "rows": 229,
        "dimension": 128,
        "dtype": "float16",
        "mirrored": False,
        "filled": 0,
        "digest": store.digest,
    }
    assert source["path"] == str(runs[0] / "best.safetensors")
    shown = run("features", "--data", curated, runs[0], "--out", tmp_path / "b", "--flip", "--dtype", "float32").stdout
    assert shown == f"{tmp_path / 'b'}: 229 rows of 128 numbers (float32), and of the mirrored frames\n"
    assert np.array_equal(FeatureStore.open(tmp_path / "b").values.astype(np.float16), store.values)


def test_a_list_and_a_folder_are_extracted(run: Run, runs: list[Path], test_list: list[str], tmp_path: Path) -> None:
    run("features", runs[0], *test_list, "--out", tmp_path / "a")
    listed = FeatureStore.open(tmp_path / "a")
    assert listed.manifest.frames["list"] == test_list[1]
    run("features", runs[0], *test_list[2:], "--out", tmp_path / "b")
    folder = FeatureStore.open(tmp_path / "b")
    assert set(listed.names) <= set(folder.names)
    rows = folder.select(list(dict.fromkeys(listed.names)))
    np.testing.assert_allclose(folder.values[rows].std(), listed.values.std(), rtol=0.1)


@pytest.mark.faults
@pytest.mark.parametrize("moment", ["behind a chunk", "within a chunk", "at the end"])
def test_a_killed_command_is_continued_to_the_same_bits(
    run: Run,
    runs: list[Path],
    curated: Path,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    arguments = ["features", runs[0], "--data", curated, "--flip", "--out", tmp_path / "out"]
    appended = StoreWriter.append
    written = files.write_json
    calls = []

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def append(writer: StoreWriter, *arrays: Any) -> None:
        appended(writer, *arrays)
        calls.append(writer.written)
        if moment == "behind a chunk" and len(calls) == 3:
            die()

    def write(path: Path, content: Any) -> None:
        if moment == "within a chunk" and content == {"rows": 96}:
            die()
        if moment == "at the end" and content.get("complete"):
            die()
        written(path, content)

    monkeypatch.setattr(extract, "_DURABLE_ROWS", 32)
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "append", append)
        patched.setattr(store_writer, "write_json", write)
        assert Started(*arguments).wait().returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    rows = {"behind a chunk": 96, "within a chunk": 64, "at the end": 229}[moment]
    shown = run(*arguments).stderr
    assert f"out: continues behind row {rows} of 229 rows, where an earlier call was stopped" in shown
    assert read_all(tmp_path / "out") == read_all(extracted)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_rows_of_other_settings_are_not_continued(
    run: Run, runs: list[Path], curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["features", runs[0], "--data", curated, "--out", tmp_path / "out"]
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "finish", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        Started(*arguments).wait()
    shown = run(*arguments, "--dtype", "float32", "--batch", 16).stderr
    assert "rows of an earlier call that was stopped are not used: it had other dtype, preprocessing.batch" in shown
    assert FeatureStore.open(tmp_path / "out").values.dtype == np.float32


def test_force_replaces_a_store_and_leaves_it_whole_until_the_end(
    run: Run, runs: list[Path], curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run("features", runs[0], "--data", curated, "--out", out)
    before = read_all(out)
    assert "is not empty" in run("features", runs[1], "--data", curated, "--out", out, code=2).stderr
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "finish", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        Started("features", runs[1], "--data", curated, "--out", out, "--force").wait()
    assert read_all(out) == before
    run("features", runs[1], "--data", curated, "--out", out, "--force")
    assert read_all(out)["features.npy"] != before["features.npy"]


def test_weights_that_torch_saved_are_to_be_imported_first(run: Run, curated: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pth")
    shown = run("features", tmp_path / "w.pth", "--data", curated, "--out", tmp_path / "out", code=3).stderr
    assert "abawkit import-weights" in shown


def test_an_onnx_file_on_a_gpu_is_refused(run: Run, curated: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    arguments = ("features", tmp_path / "m.onnx", "--data", curated, "--out", tmp_path / "out")
    assert "--device cuda: ONNX files run on the CPU" in run(*arguments, "--device", "cuda", code=2).stderr
    assert "m.toml: can't be read" in run(*arguments, code=3).stderr


def test_inspect_says_what_they_are_and_finds_damage(
    run: Run, extracted: Path, runs: list[Path], tmp_path: Path
) -> None:
    found = answer(run("inspect", extracted, "--json"))["inspected"][0]
    assert found["kind"] == "features"
    assert found["summary"] == "features of 229 rows, 128 numbers each (float16), from ddamfn-nano"
    assert found["facts"]["images"] == 227
    assert found["facts"]["source"]["state"] == "unchanged"
    store = FeatureStore.open(extracted)
    assert found["digests"]["store"] == store.digest
    assert answer(run("inspect", extracted / "manifest.json", "--json"))["inspected"][0]["facts"] == found["facts"]
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name, content in read_all(extracted).items():
        (damaged / name).write_bytes(content[:-1] + b"\x3c" if name == "mirrored.npy" else content)
    shown = run("inspect", damaged, code=3).stdout
    assert "mirrored.npy: is damaged" in " ".join(shown.split())
    assert "features of 229 rows" in " ".join(shown.split())
    assert run("inspect", damaged, "--no-verify").stdout
    (damaged / "names.txt").unlink()
    assert "names.txt: can't be read" in " ".join(run("inspect", damaged, code=3).stdout.split())


def test_features_of_another_program_are_imported(run: Run, extracted: Path, curated: Path, tmp_path: Path) -> None:
    store = FeatureStore.open(extracted)
    np.savez(tmp_path / "theirs.npz", images=np.array(store.names), features=store.values)
    out = tmp_path / "out"
    arguments = ("features", "import", tmp_path / "theirs.npz", "--data", curated, "--out", out)
    found = answer(run(*arguments, "--json"))
    assert (found["rows"], found["source"]["kind"]) == (229, "import")
    assert read_all(out)["features.npy"] == read_all(extracted)["features.npy"]
    assert "is not empty" in run(*arguments, code=2).stderr
    assert run(*arguments, "--force").stdout == f"{out}: 229 rows of 128 numbers (float16)\n"
    facts = answer(run("inspect", out, "--json"))["inspected"][0]["facts"]
    assert facts["source"]["state"] == "unchanged"
    np.savez(tmp_path / "theirs.npz", images=np.array(store.names)[1:], features=store.values[1:])
    assert "no features for 1 of 229 rows" in run(*arguments, "--force", code=3).stderr
    assert "was changed or replaced" in " ".join(run("inspect", out, code=3).stdout.split())
    assert "give --data for the rows" in run(*arguments[:3], "--out", tmp_path / "new", code=2).stderr
    videos = ("--list", tmp_path / "videos.txt", "--format", "abaw3-va", "--out", tmp_path / "new")
    (tmp_path / "videos.txt").write_text("video1\nvideo2\n")
    assert "lists videos, expected a list of frames" in run(*arguments[:3], *videos, code=2).stderr
