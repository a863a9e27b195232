"""--frames more than once and --follow-links, in every command that has them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run, answer

pytestmark = pytest.mark.e2e


@pytest.fixture
def two(release: Path, tmp_path: Path) -> Path:
    """A release whose frames are in two folders, as Aff-Wild2 is given out."""
    copy = tmp_path / "two"
    shutil.copytree(release, copy)
    for start in (copy, copy / "test_data"):
        more = start / "cropped_aligned_new_50_vids"
        more.mkdir()
        for video in sorted((start / "cropped_aligned").iterdir())[::2]:
            video.rename(more / video.name)
    return copy


def folders(root: Path) -> list[object]:
    return ["--frames", root / "cropped_aligned", "--frames", root / "cropped_aligned_new_50_vids"]


def test_curate_packs_the_frames_of_both(run: Run, two: Path, tmp_path: Path) -> None:
    found = answer(run("curate", two, "--policy", "per-task", *folders(two), "--out", tmp_path / "a", "--json"))
    assert found["frames"]["packed"] == sum(found["frames"]["folders"].values()) == 227
    shown = run("curate", two, "--policy", "per-task", "--out", tmp_path / "b").stdout
    assert f"from {two / 'cropped_aligned_new_50_vids'}" in shown
    one = run("curate", two, "--frames", two / "cropped_aligned", "--out", tmp_path / "c", code=3).stderr
    assert "cropped_aligned_new_50_vids has them: add it with another --frames" in one


def test_curate_names_an_image_that_both_have_with_different_bytes(run: Run, two: Path, tmp_path: Path) -> None:
    first, second = two / "cropped_aligned", two / "cropped_aligned_new_50_vids"
    frame = sorted(second.rglob("*.jpg"))[0]
    name = frame.relative_to(second)
    (first / name.parent).mkdir()
    shutil.copyfile(sorted(first.rglob("*.jpg"))[0], first / name)
    shown = run("curate", two, "--policy", "per-task", *folders(two), "--out", tmp_path / "a").stderr
    assert "warning: 1 image is in two folders of frames with different bytes" in shown
    assert str(name) in shown


def test_predict_answers_from_both(run: Run, runs: list[Path], test_list: list[str], two: Path, tmp_path: Path) -> None:
    rows = [*test_list[:2], *folders(two / "test_data")]
    run("predict", runs[0], *rows, "--out", tmp_path / "p.txt")
    run("predict", runs[0], *test_list, "--out", tmp_path / "q.txt")
    assert (tmp_path / "p.txt").read_bytes() == (tmp_path / "q.txt").read_bytes()
    assert len(json.loads((tmp_path / "p.json").read_text())["source"]["frames"]) == 2


def test_train_reads_from_both(run: Run, curated: Path, two: Path) -> None:
    settings = ["--set", "all.epochs=1", "--set", "heads.epochs=0", "--threads", 1, "--dry-run"]
    assert "nothing was written" in run("train", "demo", "--data", curated, *folders(two), *settings).stdout


def test_submit_takes_both(run: Run, curated: Path, test_list: list[str], two: Path, tmp_path: Path) -> None:
    folder = tmp_path / "submissions/small"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text('summary = "x"\nseeds = [1]\n[[networks]]\nname = "all"\nrecipe = "demo"\n')
    rows = [*test_list[:2], *folders(two / "test_data")]
    assert "train all-seed1" in run("submit", folder, "--data", curated, *rows, "--dry-run").stdout


def test_every_image_of_a_folder_is_predicted_without_a_list(
    run: Run, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    frames = test_list[2:4]
    run("predict", runs[0], *frames, "--out", tmp_path / "p.txt")
    images = [line.split(",")[0] for line in (tmp_path / "p.txt").read_text().splitlines()[1:]]
    assert sorted(images) == sorted(str(p.relative_to(frames[1])) for p in Path(frames[1]).rglob("*.jpg"))
    shown = run("predict", runs[0], *frames, "--format", "abaw3-va", "--out", tmp_path / "q", code=2).stderr
    assert "--format abaw3-va: needs --list" in shown


@pytest.mark.parametrize("command", ["curate", "train", "predict", "submit"])
def test_the_same_folder_twice_is_refused(
    run: Run, curated: Path, release: Path, test_list: list[str], tmp_path: Path, command: str
) -> None:
    twice = ["--frames", test_list[3], "--frames", f"{test_list[3]}/"]
    arguments: dict[str, list[object]] = {
        "curate": [release, "--out", tmp_path / "a"],
        "train": ["demo", "--data", curated, "--dry-run"],
        "predict": [tmp_path / "net.safetensors", *test_list[:2], "--out", tmp_path / "p.txt"],
        "submit": [tmp_path, "--data", curated, *test_list[:2]],
    }
    assert "is the same folder as --frames" in run(command, *arguments[command], *twice, code=2).stderr


def test_links_to_another_disk_are_followed_when_asked(run: Run, two: Path, tmp_path: Path) -> None:
    second = two / "cropped_aligned_new_50_vids"
    shutil.move(second, tmp_path / "disk")
    for video in (tmp_path / "disk").iterdir():
        (two / "cropped_aligned" / video.name).symlink_to(video)
    arguments = ["curate", two, "--policy", "per-task", "--out", tmp_path / "a"]
    assert "--follow-links follows links to other disks" in run(*arguments, code=3).stderr
    assert "227 packed" in run(*arguments, "--follow-links").stdout


def test_following_links_is_refused_where_no_frames_are_read(run: Run, release: Path, tmp_path: Path) -> None:
    shown = run("curate", release, "--labels-only", "--follow-links", "--out", tmp_path / "a", code=2).stderr
    assert "give one of them" in shown
    for command in (
        ["train", "demo", "--data", tmp_path, "--dry-run"],
        ["predict", release / "net", "--out", tmp_path / "p"],
    ):
        assert "--follow-links goes with --frames" in run(*command, "--follow-links", code=2).stderr
