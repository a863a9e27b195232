"""A curated set that keeps nothing is refused, one that keeps little or lacks a task is named for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.choices import Policy
from abawkit.curation import Sources, curate
from abawkit.errors import DataError, DataWarning

Release = Callable[..., Sources]
Row = Callable[..., str]
Pictures = Callable[..., Path]

NO_AU = ",".join(["-1"] * 12)
NOTHING = {"va": "-5,-5", "expression": "-1", "au": NO_AU}


def test_strict_curation_of_a_release_without_expressions_says_what_is_missing_and_what_keeps_all(
    release: Release, row: Row, out: Path
) -> None:
    rows = [row(f"v/{k}.jpg", expression="-1") for k in range(8)]
    validation = [row(f"w/{k}.jpg", expression="-1") for k in range(4)]
    with pytest.raises(DataError) as caught:
        curate(release(rows, validation), out)
    assert str(caught.value).split("\n") == [
        "--policy strict keeps 0 of 8 training rows: none is annotated with an expression",
        "--policy strict keeps 0 of 4 validation rows: none is annotated with an expression",
        "nothing was written; --policy per-task keeps 8 training rows and 4 validation rows",
    ]
    assert list(out.iterdir()) == []


def test_tasks_that_are_annotated_on_different_rows_keep_nothing_together(
    release: Release, row: Row, out: Path
) -> None:
    rows = [row("v/1.jpg", va="-5,-5"), row("v/2.jpg", expression="-1"), row("v/3.jpg", au=NO_AU)]
    with pytest.raises(DataError, match="keeps 0 of 3 training rows: none is annotated with all three tasks"):
        curate(release(rows), out)


@pytest.mark.parametrize("policy", ["strict", "per-task"])
def test_a_split_without_any_label_is_refused_under_both_policies(
    release: Release, row: Row, out: Path, policy: Policy
) -> None:
    with pytest.raises(DataError, match=r"keeps 0 of 1 validation row: (?s:.*)check that these are the annotations"):
        curate(release([row("v/1.jpg")], [row("clip/1.jpg", **NOTHING)]), out, policy=policy)
    assert list(out.iterdir()) == []


def test_rows_that_all_contradict_each_other_are_refused_too(release: Release, row: Row, out: Path) -> None:
    with pytest.raises(DataError, match="keeps 0 of 2 training rows"):
        curate(release([row("v/1.jpg"), row("v/1.jpg", expression="1")]), out, policy="per-task", repeats="unique")


def test_a_policy_that_keeps_less_than_a_quarter_warns_with_the_share(release: Release, row: Row, out: Path) -> None:
    rows = [row("v/1.jpg"), *(row(f"v/{k}.jpg", expression="-1") for k in range(2, 11))]
    with pytest.warns(DataWarning, match=r"keeps 1 of 10 training rows \(10\.0%, less than 25%\).*per-task keeps 10"):
        assert curate(release(rows), out).splits["train"].kept == 1
    curate(release([row("v/1.jpg"), *(row(f"v/{k}.jpg", expression="-1") for k in range(2, 5))]), out)  # a quarter


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"va": "-5,-5"}, "valence and arousal"),
        ({"expression": "-1"}, "an expression"),
        ({"au": NO_AU}, "all action units"),
    ],
)
def test_a_task_without_labels_in_a_split_is_named(
    release: Release, row: Row, out: Path, labels: dict[str, str], words: str
) -> None:
    with pytest.warns(DataWarning, match=f"no training row is annotated with {words}: this set can't be trained on it"):
        curate(release([row("v/1.jpg", **labels)]), out, policy="per-task")
    with pytest.warns(DataWarning, match=f"no validation row is annotated with {words}: .* can't be validated on it"):
        curate(release([row("v/1.jpg")], [row("clip/1.jpg", **labels)]), out, policy="per-task")


def test_what_each_policy_keeps_is_counted_whichever_is_chosen(release: Release, row: Row, out: Path) -> None:
    sources = release([row("v/1.jpg"), row("v/2.jpg", va="-5,-5"), row("v/3.jpg", **NOTHING), row("v/1.jpg")])
    for policy in ("strict", "per-task"):
        counts = curate(sources, out, policy=policy).splits["train"]
        assert counts.kept_by == {"strict": 2, "per-task": 3}
        assert counts.kept == counts.kept_by[policy]
        assert curate(sources, out, policy=policy, repeats="unique").splits["train"].kept_by == {
            "strict": 1,
            "per-task": 2,
        }


@pytest.mark.parametrize(
    ("there", "absent"),
    [("v/1.jpg", "1 validation frame .* clip/1.jpg"), ("clip/1.jpg", "1 training frame .* v/1.jpg")],
)
def test_a_split_of_which_no_frame_is_there_is_refused_whatever_share_may_be_missing(
    release: Release, row: Row, pictures: Pictures, out: Path, there: str, absent: str
) -> None:
    with pytest.raises(DataError, match=f"none of the {absent}; give the right folder with --frames"):
        curate(release([row("v/1.jpg")], frames=pictures(there)), out, max_missing=1.0, workers=1)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("train", "validation", "clips"),
    [
        ("video5_left", "video5_right", ["video5"]),
        ("video5_right", "video5_left", ["video5"]),
        ("video5", "video5_left", ["video5"]),
        ("a/video5_left", "a/video5_right", ["a/video5"]),
        ("a/video5_left", "b/video5_right", []),
        ("video5_left", "video55_right", []),
        ("video_left_1", "video_right_1", []),
        ("left", "right", []),
        ("tell", "tel_left", []),
    ],
)
def test_two_persons_of_one_clip_in_both_splits_are_a_warning(
    release: Release, row: Row, out: Path, train: str, validation: str, clips: list[str]
) -> None:
    sources = release([row(f"{train}/1.jpg")], [row(f"{validation}/1.jpg")])
    if clips:
        with pytest.warns(DataWarning, match=rf"1 clip is in both splits \({clips[0]}\): {train} is in training"):
            curation = curate(sources, out)
    else:
        curation = curate(sources, out)
    assert curation.as_dict()["shared_clips"] == clips


def test_a_video_that_was_allowed_in_both_splits_is_no_second_person(release: Release, row: Row, out: Path) -> None:
    sources = release([row("v_left/1.jpg")], [row("v_left/1.jpg")])
    assert curate(sources, out, allow_shared_videos=True).shared_clips == []
