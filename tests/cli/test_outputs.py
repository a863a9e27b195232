"""Outputs never replace what is read, and are refused before the work where they can't be written."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


def test_the_list_is_not_replaced_by_its_answer(run: Run, runs: list[Path], test_list: list[str]) -> None:
    before = Path(test_list[1]).read_bytes()
    shown = run("predict", runs[0], *test_list, "--out", test_list[1], "--force", code=2).stderr
    assert "would replace what is read" in shown
    assert Path(test_list[1]).read_bytes() == before


def test_a_run_is_not_written_where_its_weights_lie(run: Run, runs: list[Path], curated: Path) -> None:
    weights = runs[0] / "best.safetensors"
    before = weights.read_bytes()
    run("train", "demo", "--data", curated, "--out", runs[0], "--force", "--weights", weights, code=2)
    assert weights.read_bytes() == before


def test_an_output_in_an_absent_folder_is_refused_at_once(
    run: Run, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    shown = run("predict", runs[0], *test_list, "--out", tmp_path / "no" / "p.txt", code=2).stderr
    assert "no such folder" in shown


def test_a_damaged_frame_store_is_named(run: Run, runs: list[Path], release: Path, tmp_path: Path) -> None:
    run("curate", release, "--out", tmp_path / "c", "--policy", "per-task")
    pixels = tmp_path / "c/frames/frames.u8"
    content = bytearray(pixels.read_bytes())
    content[1000] ^= 1
    pixels.write_bytes(content)
    arguments = ("predict", runs[0], "--split", "validation", "--data", tmp_path / "c", "--out", tmp_path / "p.txt")
    assert "is damaged" in run(*arguments, code=3).stderr


def test_a_bit_flipped_in_the_notes_of_a_checkpoint_is_found(
    run: Run, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    content = (runs[0] / "best.safetensors").read_bytes()
    assert content.count(b"va,expression,au") == 1
    damaged = tmp_path / "w.safetensors"
    damaged.write_bytes(content.replace(b"va,expression,au", b"va,expression,at"))
    assert "damaged" in run("predict", damaged, *test_list, "--out", tmp_path / "p.txt", code=3).stderr


def test_names_of_missing_frames_are_escaped(run: Run, release: Path, tmp_path: Path) -> None:
    rows = (release / "training_set_annotations.txt").read_text().splitlines()
    rows.append("v\x1b[31m/00001.jpg" + rows[1][rows[1].index(",") :])
    changed = tmp_path / "train.txt"
    changed.write_text("\n".join(rows) + "\n")
    result = run("curate", release, "--train", changed, "--max-missing", "0.5", "--out", tmp_path / "c")
    assert "\x1b" not in result.stdout + result.stderr
