"""``abawkit predict`` of an official list of videos: all crops are answered, every frame of a video has a line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


def test_a_list_of_videos_is_answered_for_all_their_crops(
    run: Run, runs: list[Path], release: Path, tmp_path: Path
) -> None:
    crops = release / "test_data/cropped_aligned"
    videos = sorted(path.name for path in crops.iterdir())[:3]
    last = {video: max(int(path.stem) for path in (crops / video).iterdir()) for video in videos}
    listed, counts = tmp_path / "test_set_release.txt", tmp_path / "counts.csv"
    listed.write_text("\r\n".join([*videos, ""]))
    counts.write_text("".join(f"{video},{last[video] + 2}\n" for video in videos))
    command = ("predict", runs[0], "--format", "abaw3-va", "--list", listed, "--frames", crops)
    without = run(*command, "--out", tmp_path / "a")
    assert "warning: files end with the last crop of each video; --frame-counts says where" in without.stderr
    run(*command, "--frame-counts", counts, "--out", tmp_path / "b")
    for video in videos:
        first, second = ((tmp_path / name / f"{video}.txt").read_text().splitlines() for name in ("a", "b"))
        assert len(first) == last[video] + 1
        assert second == [*first, first[-1], first[-1]]  # two frames behind the last crop take its answer
    check = ("check", tmp_path / "b", "--format", "abaw3-va", "--list", listed, "--frame-counts", counts)
    assert run(*check).stdout == "ok: 3 videos, as listed\n"
    assert json.loads((tmp_path / "b.json").read_text())["source"]["list"] == str(listed)
    counts.write_text(f"{videos[0]},1\n")
    refused = run(*command, "--frame-counts", counts, "--out", tmp_path / "c", code=3).stderr
    assert refused.startswith(f"error: --frame-counts: {videos[0]}: its video is listed up to frame {last[videos[0]]}")


def test_the_list_of_another_track_is_refused_before_any_network_runs(
    run: Run, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    result = run("predict", runs[0], "--format", "abaw5-va", *test_list, "--out", tmp_path / "p.txt", code=3)
    assert "the header names valence, arousal, expression, aus, expected valence, arousal" in result.stderr
    assert not (tmp_path / "p.txt").exists()
