"""Frames packed raw and encoded: every command that reads frames gives the same of either."""

import json
import shutil
from pathlib import Path

import pytest

from abawkit.curation import open_curated
from abawkit.frames.decode import FRAME_BYTES
from tests.cli.conftest import Run, answer

pytestmark = pytest.mark.e2e


def read_all(folder: Path, *but: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in but}


def test_the_tables_are_the_same_and_the_ledgers_name_the_form(curated: Path, encoded: Path) -> None:
    assert (curated / "table.parquet").read_bytes() == (encoded / "table.parquet").read_bytes()
    raw, other = (json.loads((folder / "ledger.json").read_text()) for folder in (curated, encoded))
    sizes = [sum(map(len, read_all(folder / "frames", "frames.json").values())) for folder in (curated, encoded)]
    assert sizes[1] < sizes[0] / 5
    assert [ledger["frames"].pop("bytes") for ledger in (raw, other)] == sizes == [227 * FRAME_BYTES, sizes[1]]
    assert [ledger["frames"].pop("form") for ledger in (raw, other)] == ["raw", "encoded"]
    assert raw == other
    open_curated(encoded).open_frames()


def test_predictions_features_and_pictures_are_the_same(
    run: Run, runs: list[Path], curated: Path, encoded: Path, tmp_path: Path
) -> None:
    for name, data in (("raw", curated), ("encoded", encoded)):
        out = tmp_path / name
        out.mkdir()
        run("predict", runs[0], "--split", "validation", "--data", data, "--out", out / "p.txt")
        run("features", runs[0], "--data", data, "--flip", "--out", out / "features")
        run("explain", runs[0], "--data", data, "--count", 2, "--out", out / "gates.png")
    raw, other = tmp_path / "raw", tmp_path / "encoded"
    for name in ("p.txt", "p.npz", "gates.png"):
        assert (raw / name).read_bytes() == (other / name).read_bytes()
    found, expected = (read_all(folder / "features", "manifest.json") for folder in (other, raw))
    assert found == expected


def test_curate_packs_as_it_is_told_and_replaces_one_form_by_the_other(
    run: Run, release: Path, encoded: Path, tmp_path: Path
) -> None:
    out = tmp_path / "curated"
    arguments = ("curate", release, "--policy", "per-task", "--out", out)
    assert "frames: 227 packed (raw, 8.5 MB), 0 missing" in run(*arguments).stdout
    found = answer(run(*arguments, "--pack", "encoded", "--force", "--json"))["frames"]
    assert (found["packed"], found["form"]) == (227, "encoded")
    assert read_all(out / "frames") == read_all(encoded / "frames")
    assert run(*arguments, "--force").returncode == 0
    assert sorted(read_all(out / "frames")) == ["frames.json", "frames.u8"]
    shown = run("curate", release, "--labels-only", "--pack", "encoded", "--out", tmp_path / "b", code=2).stderr
    assert "--pack does nothing with --labels-only" in shown


def test_a_damaged_shard_is_named(run: Run, runs: list[Path], encoded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(encoded, tmp_path / "copy"))
    shard = copy / "frames/frames-00000.shard"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    arguments = ("predict", runs[0], "--split", "validation", "--data", copy, "--out", tmp_path / "p.txt")
    shown = run(*arguments, code=3).stderr
    assert f"{shard}: is damaged" in shown
    assert "Traceback" not in shown
