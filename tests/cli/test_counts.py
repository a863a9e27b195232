"""A count and its noun agree: 1 row of 1 video."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from abawkit.labels import ACTION_UNITS, EXPRESSIONS

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_one_row_of_one_video_is_no_plural(run: Run, tmp_path: Path) -> None:
    header = ",".join(["image", "valence", "arousal", *EXPRESSIONS, *ACTION_UNITS])
    member, answer, listed = tmp_path / "m.csv", tmp_path / "a.txt", tmp_path / "list.txt"
    member.write_text(f"{header}\nv/00001.jpg,0,0" + ",0.125" * 8 + ",0.5" * 12 + "\n")
    listed.write_text("image\nv/00001.jpg\n")
    shown = [
        run("smooth", member, "--out", tmp_path / "s.csv").stdout,
        run("ensemble", member, "--out", answer).stdout,
        run("check", answer, "--list", listed).stdout,
        run("compare", answer, answer).stdout,
        run("inspect", answer.with_suffix(".npz")).stdout,
    ]
    for text, words in zip(
        shown, ("1 row of 1 video", "1 row from 1 member", "1 row, as listed", "the one row", "of 1 row"), strict=True
    ):
        assert words in " ".join(text.split())
