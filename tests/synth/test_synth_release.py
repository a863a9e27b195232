"""The files of a procedural release: layout, names, quirks, and that they are the same whoever writes them."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import abawkit
from abawkit.errors import ConfigError
from abawkit.synth import SIZES, ReleaseSummary, write_release
from abawkit.synth.release import RELEASE_VERSION

Rows = list[list[str]]
Read = Callable[[Path], Rows]

LISTS = ("training_set_annotations.txt", "validation_set_annotations.txt", "held_out/test_set_annotations.txt")
TRUTH = "held_out/test_set_annotations.txt"


def content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_has_the_official_layout(release: Path, rows: Read) -> None:
    for name, folder in zip(LISTS, ("cropped_aligned", "cropped_aligned", "test_data/cropped_aligned"), strict=True):
        for row in rows(release / name):
            assert len(row) == 16
            with Image.open(release / folder / row[0]) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (112, 112))
    listed = {row[0] for name in LISTS for row in rows(release / name)}
    assert len(list(release.rglob("*.jpg"))) == len(listed)


def test_the_test_list_is_the_truths_images_each_with_a_trailing_comma(release: Path, rows: Read) -> None:
    lines = (release / "test_set_examples/MTL.txt").read_text().splitlines()
    assert lines[0] == "image,valence,arousal,expression,aus"
    assert lines[1:] == [f"{row[0]}," for row in rows(release / TRUTH)]


@pytest.mark.parametrize("size", ["tiny", "demo", "large"])
def test_summary_counts_what_the_files_hold(
    size: str, large: tuple[Path, ReleaseSummary], tmp_path: Path, rows: Read
) -> None:
    folder, summary = large if size == "large" else (tmp_path, write_release(tmp_path, size=size, labels_only=True))
    for name, split in zip(LISTS, (summary.train, summary.validation, summary.test), strict=True):
        images = [row[0] for row in rows(folder / name)]
        assert split.rows == len(images)
        assert split.repeated_rows == len(images) - len(set(images)) > 0
        assert split.videos == len({image.split("/")[0] for image in images})
        assert split.frames == 0


def test_sizes_are_as_documented() -> None:
    totals = {size: sum(rows for rows, _ in splits.values()) for size, splits in SIZES.items()}
    assert totals == {"tiny": 300, "demo": 13_120, "large": 50_000}
    assert [SIZES["large"][split][0] for split in ("train", "validation", "test")] == [32_298, 6_097, 11_605]


def test_no_video_is_in_two_splits_and_each_is_one_block_of_ascending_frames(large_labels: Path, rows: Read) -> None:
    seen: set[str] = set()
    for name in LISTS:
        images = [row[0].split("/") for row in rows(large_labels / name)]
        blocks = [
            video for position, (video, _) in enumerate(images) if not position or images[position - 1][0] != video
        ]
        assert len(blocks) == len(set(blocks))
        assert not seen & set(blocks)
        seen |= set(blocks)
        assert all(a[1] <= b[1] for a, b in pairwise(images) if a[0] == b[0])


def test_frame_numbers_are_sparse_and_irregular(large_labels: Path, rows: Read) -> None:
    images = [row[0].split("/") for row in rows(large_labels / LISTS[0])]
    gaps = [int(b[1][:5]) - int(a[1][:5]) for a, b in pairwise(images) if a[0] == b[0]]
    assert set(range(10)) <= set(gaps)
    assert max(gaps) > 100
    assert 12 < np.mean(gaps) < 18


@pytest.mark.parametrize("size", ["tiny", "demo"])
def test_the_training_list_has_every_quirk(size: str, tmp_path: Path, rows: Read) -> None:
    write_release(tmp_path, size=size, labels_only=True)
    train = rows(tmp_path / LISTS[0])
    missing = [([field == "-5.0" for field in row[1:3]], row[3] == "-1", [u == "-1" for u in row[4:]]) for row in train]
    assert any(va == [False, True] for va, _, _ in missing)
    assert any(va == [True, False] for va, _, _ in missing)
    assert any(any(units) and not all(units) for _, _, units in missing)
    assert any(all(va) and expression and all(units) for va, expression, units in missing)
    whole = {(all(va), expression, all(units)) for va, expression, units in missing}
    assert len(whole) == 8, "every combination of missing tasks occurs"


def test_repeated_rows_lie_side_by_side_some_with_other_labels(large_labels: Path, rows: Read) -> None:
    for name in LISTS:
        agree = [a == b for a, b in pairwise(rows(large_labels / name)) if a[0] == b[0]]
        assert 0.1 < np.mean(agree) < 0.5


def test_the_test_truth_has_nothing_missing(large_labels: Path, rows: Read) -> None:
    assert all("-1" not in row[3:] and "-5.0" not in row[1:3] for row in rows(large_labels / TRUTH))


def test_values_are_in_their_ranges_and_formats(large_labels: Path, rows: Read) -> None:
    for name in LISTS:
        for row in rows(large_labels / name):
            assert all(
                v == "-5.0" or (v == f"{float(v):.3f}" and -1 <= float(v) <= 1 and v != "-0.000") for v in row[1:3]
            )
            assert int(row[3]) in range(-1, 8)
            assert {*row[4:]} <= {"-1", "0", "1"}


def test_labels_only_writes_the_same_bytes_and_no_frames(release: Path, tmp_path: Path) -> None:
    write_release(tmp_path, size="tiny", labels_only=True)
    without = content(tmp_path)
    assert without.pop("release.json") != content(release)["release.json"], "difficulty and number of frames"
    assert without == {name: digest for name, digest in content(release).items() if name.endswith(".txt")}


def test_the_number_of_workers_changes_nothing_and_progress_counts_frames(release: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    summary = write_release(tmp_path, size="tiny", workers=2, progress=lambda done, total: calls.append((done, total)))
    assert content(tmp_path) == content(release)
    frames = summary.train.frames + summary.validation.frames + summary.test.frames
    assert calls[-1] == (frames, frames)
    assert np.all(np.diff([done for done, _ in calls]) > 0)
    assert len(calls) > 10


def test_the_manifest_says_how_the_release_was_made(release: Path) -> None:
    manifest = json.loads((release / "release.json").read_text())
    assert {key: manifest[key] for key in ("version", "size", "seed", "difficulty")} == {
        "version": RELEASE_VERSION,
        "size": "tiny",
        "seed": 0,
        "difficulty": 0.45,
    }
    assert manifest["abawkit"] == abawkit.__version__
    assert manifest["splits"]["train"] == {"rows": 180, "videos": 12, "repeated_rows": 1, "frames": 179}


@pytest.mark.parametrize(("size", "shortest"), [("demo", 40), ("large", 120)])
def test_videos_last(size: str, shortest: int) -> None:
    for split, (rows, videos) in SIZES[size].items():
        if (size, split) != ("demo", "train"):  # with fewer persons, a network learns who shows what
            assert rows / videos >= shortest
        assert videos >= 30, "an interval over videos needs some"


def test_another_seed_gives_another_release(release: Path, tmp_path: Path) -> None:
    made = tmp_path / "a/folder/that/is/made"
    write_release(made, size="tiny", seed=1, labels_only=True)
    assert content(made)[LISTS[0]] != content(release)[LISTS[0]]


def test_difficulty_changes_frames_but_no_label(release: Path, tmp_path: Path) -> None:
    write_release(tmp_path, size="tiny", difficulty=1.0, workers=2)
    default, hard = content(release), content(tmp_path)
    assert default.keys() == hard.keys()
    assert all((default[name] == hard[name]) is name.endswith(".txt") for name in default)


def test_labels_of_a_seed_are_the_same_on_every_machine(release: Path) -> None:
    digests = {name: digest[:16] for name, digest in content(release).items() if name in LISTS}
    assert digests == {
        "training_set_annotations.txt": "4acab560a91f1589",
        "validation_set_annotations.txt": "469cdd4e8a3c8469",
        "held_out/test_set_annotations.txt": "416012b69dcf2cf3",
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"size": "huge"}, "huge"),
        ({"seed": -1}, "-1"),
        ({"difficulty": 1.5}, "1.5"),
        ({"workers": 0}, "workers: got 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, int], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        write_release(tmp_path, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_the_workers_and_leaves_no_list(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_release(tmp_path, size="demo", workers=2, progress=interrupt)
    assert not multiprocessing.active_children()
    assert not list(tmp_path.rglob("*.txt"))


def test_a_killed_worker_is_an_error_that_says_what_helps(tmp_path: Path) -> None:
    def kill_one(done: int, total: int) -> None:
        for child in multiprocessing.active_children()[:1]:
            child.kill()

    with pytest.raises(ConfigError, match="set workers to 1"):
        write_release(tmp_path, size="demo", workers=2, progress=kill_one)
    assert not multiprocessing.active_children()
