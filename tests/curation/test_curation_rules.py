"""Which rows each policy keeps, and why the others are dropped."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from abawkit.choices import Policy, Repeats
from abawkit.curation import Sources, curate
from abawkit.curation.rules import REASONS, get_reason_bit
from abawkit.errors import DataError, DataWarning

Release = Callable[..., Sources]
Row = Callable[..., str]

NO_AU = ",".join(["-1"] * 12)
SOME_AU = ",".join(["-1"] + ["1"] * 11)


def test_each_reason_has_a_bit_of_its_own() -> None:
    assert len({get_reason_bit(reason) for reason in REASONS}) == len(REASONS)


@pytest.mark.parametrize(
    ("labels", "strict", "per_task"),
    [
        ({}, {}, {}),
        ({"va": "-5,-5"}, {"va-missing": 1}, {}),
        ({"va": "-5.0,0.5"}, {"va-missing": 1, "va-partial": 1}, {}),
        ({"va": "0.5,-5"}, {"va-missing": 1, "va-partial": 1}, {}),
        ({"expression": "-1"}, {"expression-missing": 1}, {}),
        ({"au": NO_AU}, {"au-missing": 1}, {}),
        ({"au": SOME_AU}, {"au-missing": 1, "au-partial": 1}, {}),
        ({"va": "-5,-5", "expression": "-1"}, {"va-missing": 1, "expression-missing": 1}, {}),
        (
            {"va": "-5,0.5", "expression": "-1", "au": SOME_AU},
            dict.fromkeys(
                ["va-missing", "va-partial", "expression-missing", "au-missing", "au-partial", "no-label"], 1
            ),
            {"no-label": 1},
        ),
    ],
)
def test_a_row_is_dropped_for_every_reason_that_it_has(
    release: Release, row: Row, out: Path, labels: dict[str, str], strict: dict[str, int], per_task: dict[str, int]
) -> None:
    sources = release([row("v/1.jpg"), row("v/2.jpg", **labels)])
    for policy, reasons in zip(get_args(Policy), (strict, per_task), strict=True):
        counts = curate(sources, out, policy=policy).splits["train"]
        assert counts.reasons == reasons
        assert counts.kept == (1 if reasons else 2)


def test_rows_with_partial_labels_are_counted_apart(release: Release, row: Row, out: Path) -> None:
    rows = [row("v/1.jpg", va="-5,0"), row("v/2.jpg", au=SOME_AU), row("v/3.jpg", au=NO_AU)]
    counts = curate(release(rows), out, policy="per-task").splits["train"]
    assert (counts.va_partial, counts.au_partial) == (1, 1)
    assert counts.valid == {"va": 2, "expression": 3, "au": 1, "all": 0, "any": 3}


@pytest.mark.parametrize(
    ("second", "repeats", "kept", "reasons"),
    [
        ({}, "keep", 3, {}),
        ({}, "unique", 2, {"repeat": 1}),
        ({"expression": "4"}, "keep", 3, {}),
        ({"expression": "4"}, "unique", 1, {"repeat": 1, "conflict": 2}),
        ({"va": "0.5,-0.24"}, "unique", 1, {"repeat": 1, "conflict": 2}),
        ({"va": "-5,-5"}, "unique", 1, {"repeat": 1, "conflict": 2}),
    ],
)
@pytest.mark.parametrize("policy", ["per-task"])
def test_repeated_rows_are_kept_or_one_an_image_and_none_where_labels_conflict(
    release: Release,
    row: Row,
    out: Path,
    second: dict[str, str],
    repeats: Repeats,
    kept: int,
    reasons: dict[str, int],
    policy: Policy,
) -> None:
    sources = release([row("v/1.jpg"), row("v/2.jpg"), row("v/1.jpg", **second)])
    counts = curate(sources, out, policy=policy, repeats=repeats).splits["train"]
    assert (counts.kept, counts.reasons) == (kept, reasons)
    assert (counts.repeated, counts.conflicting) == (1, 1 if second else 0)


def test_counts_of_classes_and_units_are_of_valid_rows_and_of_kept_ones(release: Release, row: Row, out: Path) -> None:
    rows = [row("v/1.jpg"), row("v/2.jpg", expression="0", va="-5,-5"), row("w/1.jpg", expression="-1", au=NO_AU)]
    counts = curate(release(rows), out).splits["train"]
    assert counts.expressions == [1, 0, 0, 1, 0, 0, 0, 0]
    assert counts.expressions_kept == [0, 0, 0, 1, 0, 0, 0, 0]
    assert counts.action_units == [0] * 11 + [2]
    assert counts.action_units_kept == [0] * 11 + [1]
    assert (counts.rows, counts.videos) == (3, 2)


def test_a_video_in_both_splits_is_refused_unless_it_is_allowed(release: Release, row: Row, out: Path) -> None:
    sources = release([row("v/1.jpg"), row("v/2.jpg"), row("w/1.jpg")], [row("v/2.jpg"), row("v/9.jpg")])
    with pytest.raises(DataError, match=r"1 video and 1 image are in both splits \(v\).*\n.*--allow-shared-videos"):
        curate(sources, out)
    assert list(out.iterdir()) == []
    curation = curate(sources, out, allow_shared_videos=True)
    assert (curation.shared_videos, curation.shared_images) == (["v"], ["v/2.jpg"])


def test_videos_whose_names_begin_alike_are_not_shared(release: Release, row: Row, out: Path) -> None:
    sources = release([row("v_left/1.jpg")], [row("v/1.jpg"), row("v_right/1.jpg")])
    with pytest.warns(DataWarning, match="1 clip is in both splits"):
        assert curate(sources, out).shared_videos == []
