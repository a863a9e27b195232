"""Inputs besides the recipe, and formats of some of the tasks."""

import os
from pathlib import Path

from abawkit.submissions.workspace import digest_frames
from tests.submissions.conftest import RECIPE, Bench


def test_the_digest_of_frames_is_of_names_sizes_and_times(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"abc")
        os.utime(folder / name, (1, 1))
    images = ["v/1.jpg", "v/2.jpg", "v/absent.jpg"]
    whole = digest_frames(tmp_path, images)
    assert digest_frames(tmp_path, images) == whole
    assert digest_frames(tmp_path, images[::-1]) != whole
    os.utime(folder / "1.jpg", (1, 2))
    assert digest_frames(tmp_path, images) != whole
    (folder / "1.jpg").write_bytes(b"abcd")
    os.utime(folder / "1.jpg", (1, 1))
    assert digest_frames(tmp_path, images) != whole
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    (moved / "v/1.jpg").write_bytes(b"abc")
    os.utime(moved / "v/1.jpg", (1, 1))
    assert digest_frames(moved, images) == whole


# formats of some of the tasks


def test_calibration_of_a_task_that_the_format_does_not_hold_fits_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.list_for_any_track(tmp_path)
    bench.write(RECIPE.replace("seeds =", 'format = "abaw5-au"\nseeds =').replace('["au"]', '["expression"]'))
    validation = bench.submit().manifest.validation
    assert not validation.fitted
    assert validation.folds == 0
    assert validation.crossfitted == validation.in_sample == validation.untuned
    assert not [line for line in bench.said if line.startswith("$ abawkit calibrate")]


def test_the_command_of_the_fit_names_the_calibrated_tasks_of_the_format_alone(bench: Bench, tmp_path: Path) -> None:
    bench.list_for_any_track(tmp_path)
    recipe = RECIPE.replace("seeds =", 'format = "abaw5-va"\nseeds =').replace('["au"]', '["va", "au"]')
    for text, without in ((recipe, False), (recipe.replace('"va", ', ""), True)):
        bench.write(text + 'smoothing = "tuned"\n')
        assert bench.submit().manifest.validation.fitted
        (said,) = [line for line in bench.said if line.startswith("$ abawkit tune")]
        assert ("--no-calibration" in said, "--tasks" in said) == (without, False)
