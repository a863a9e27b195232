"""The command that makes a set anew with another policy names the files that the set was made of, and runs."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.curation import Sources, curate, find_sources
from abawkit.curation.release import format_command
from abawkit.formats.custom_table import parse_columns

Release = Callable[..., Sources]
Row = Callable[..., str]


def options(out: Path) -> list[str]:
    words = shlex.split(format_command(out, "per-task"))
    assert words[:2] == ["abawkit", "curate"]
    assert words[-4:] == ["--policy", "per-task", "--out", f"{out}-per-task"]
    return words[2:-4]


@pytest.fixture
def official(tmp_path: Path, row: Row) -> Path:
    folder = tmp_path / "a release"
    folder.mkdir()
    for split in ("training", "validation"):
        (folder / f"{split}_set_annotations.txt").write_text(f"image\n{row(split + '/1.jpg')}\n")
    return folder


def test_an_official_release_is_named_by_its_folder(official: Path, out: Path) -> None:
    curate(find_sources(official, labels_only=True), out)
    assert options(out) == [str(official), "--labels-only"]


def test_files_elsewhere_and_frames_are_named_one_by_one(
    release: Release, row: Row, pictures: Callable[..., Path], out: Path
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    sources = release([row("v/1.jpg")], frames=root)
    curate(sources, out, repeats="unique", pack="encoded", workers=1)
    named = ["--train", str(sources.train), "--validation", str(sources.validation)]
    assert options(out) == [*named, "--frames", str(root), "--pack", "encoded", "--repeats", "unique"]


def test_custom_tables_are_named_with_their_columns(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('path,"e, 8"\nv/1.jpg,3\n')
    other = tmp_path / "v.csv"
    other.write_text('path,"e, 8"\nw/1.jpg,3\n')
    columns = parse_columns(["image=path", '"expression=e, 8"'])
    curate(find_sources(train=path, validation=other, labels_only=True, columns=columns), out, policy="per-task")
    named = options(out)
    assert parse_columns([named[named.index("--columns") + 1]]) == columns


def test_without_a_ledger_the_release_is_left_to_the_reader(tmp_path: Path) -> None:
    assert options(tmp_path / "none") == ["RELEASE"]
