"""Frames that are missing or unreadable: a few are dropped and counted, many are another folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.curation import Sources, curate, open_curated
from abawkit.errors import DataError

Release = Callable[..., Sources]
Row = Callable[..., str]
Pictures = Callable[..., Path]


def test_each_kept_row_points_at_its_own_frame_and_repeats_share_one(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "v/2.jpg", "clip/1.jpg")
    sources = release([row("v/2.jpg"), row("v/1.jpg"), row("v/2.jpg")], frames=root)
    assert curate(sources, out, workers=1).frames == 3
    opened = open_curated(out)
    train, validation = opened.splits["train"], opened.splits["validation"]
    store = opened.open_frames()
    shades = [
        int(store.take(split.frames[[k]])[0, 50, 50, 0]) for split, k in ((train, 0), (train, 1), (validation, 0))
    ]
    assert shades == pytest.approx([30, 20, 40], abs=2)
    assert train.frames[0] == train.frames[2]


def test_a_few_missing_frames_drop_their_rows_with_the_reason_and_no_other_row_shifts(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "v/3.jpg", "clip/1.jpg")
    (root / "v/4.jpg").write_bytes(b"<html>not found</html>")
    sources = release([row(f"v/{number}.jpg") for number in (1, 2, 3, 4)], frames=root)
    curation = curate(sources, out, max_missing=0.5, workers=1)
    assert curation.splits["train"].reasons == {"frame-missing": 1, "frame-unreadable": 1}
    assert [(failure.image, failure.reason) for failure in curation.failures] == [
        ("v/2.jpg", "missing"),
        ("v/4.jpg", "unreadable"),
    ]
    train = open_curated(out).splits["train"]
    assert train.kept.tolist() == [True, False, True, False]
    assert [frame >= 0 for frame in train.frames.tolist()] == [True, False, True, False]
    assert '"train",3,"v/2.jpg","frame-missing"' in (out / "dropped.csv").read_text()


def test_many_missing_frames_are_refused_and_the_first_are_named(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    sources = release([row("v/1.jpg"), row("v/2.jpg")], frames=pictures("v/1.jpg", "clip/1.jpg"))
    with pytest.raises(DataError, match=r"1 of 3 frames are missing or unreadable") as caught:
        curate(sources, out, workers=1)
    assert "v/2.jpg: missing" in str(caught.value)
    assert "--max-missing" in str(caught.value).split("\n")[-1]
    assert not (out / "table.parquet").exists()


def test_training_frames_that_are_not_kept_are_not_packed_but_all_annotated_validation_frames_are(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg", "clip/2.jpg")
    validation = [row("clip/1.jpg"), row("clip/2.jpg", expression="-1")]
    sources = release([row("v/1.jpg"), row("v/2.jpg", va="-5,-5")], validation, frames=root)
    assert curate(sources, out, policy="strict", workers=1).frames == 3
    assert (open_curated(out).splits["validation"].frames >= 0).all()


def test_a_table_is_not_read_with_the_frames_of_another_run(
    release: Release, row: Row, pictures: Pictures, out: Path, tmp_path: Path
) -> None:
    root = pictures("v/1.jpg", "v/2.jpg", "clip/1.jpg")
    curate(release([row("v/1.jpg")], frames=root), out, workers=1)
    other = tmp_path / "other"
    other.mkdir()
    curate(release([row("v/2.jpg")], frames=root), other, workers=1)
    for name in ("frames.u8", "frames.json"):
        (out / "frames" / name).write_bytes((other / "frames" / name).read_bytes())
    with pytest.raises(DataError, match="not of one run"):
        open_curated(out).open_frames()


def test_too_many_missing_frames_leave_an_earlier_set_as_it_was(
    release: Release, row: Row, pictures: Pictures, out: Path
) -> None:
    root = pictures("v/1.jpg", "v/2.jpg", "clip/1.jpg")
    sources = release([row("v/1.jpg"), row("v/2.jpg")], frames=root)
    curate(sources, out, workers=1)
    (root / "v/2.jpg").unlink()
    with pytest.raises(DataError, match="missing or unreadable"):
        curate(sources, out, workers=1)
    assert len(open_curated(out).open_frames()) == 3


def test_a_refused_set_leaves_nothing_in_its_folder(release: Release, row: Row, pictures: Pictures, out: Path) -> None:
    root = pictures("v/1.jpg", "clip/1.jpg")
    with pytest.raises(DataError, match="missing or unreadable"):
        curate(release([row("v/1.jpg"), row("v/2.jpg")], frames=root), out, workers=1)
    assert list(out.iterdir()) == []
