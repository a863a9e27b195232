"""Both policies give the published figures on files of the official counts."""

from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.compute as pc
import pytest

from abawkit.choices import Policy
from abawkit.curation import Curation, curate, find_sources, open_curated
from abawkit.formats.editions import ABAW7
from abawkit.frame_columns import count_occurrences

KEPT = {"strict": (52_154, 15_440), "per-task": (142_333, 26_876)}


@pytest.fixture(scope="session", params=get_args(Policy))
def curated(
    request: pytest.FixtureRequest, official: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Curation, Path]:
    out = tmp_path_factory.mktemp("official")
    return curate(find_sources(official, labels_only=True), out, policy=request.param), out


def test_rows_repeats_and_videos(curated: tuple[Curation, Path]) -> None:
    train, validation = curated[0].splits["train"], curated[0].splits["validation"]
    assert (train.rows, train.repeated, train.videos) == (142_382, 951, 257)
    assert (validation.rows, validation.repeated, validation.videos) == (26_876, 210, 50)
    assert curated[0].shared_videos == []


def test_valid_rows_of_each_task(curated: tuple[Curation, Path]) -> None:
    train, validation = curated[0].splits["train"], curated[0].splits["validation"]
    assert train.valid == {"va": 103_917, "expression": 90_645, "au": 103_316, "all": 52_154, "any": 142_333}
    assert validation.valid == {"va": 26_876, "expression": 15_440, "au": 26_876, "all": 15_440, "any": 26_876}


def test_rows_of_each_class(curated: tuple[Curation, Path]) -> None:
    train, validation = curated[0].splits["train"], curated[0].splits["validation"]
    assert train.expressions == [23_976, 4_555, 3_168, 3_122, 18_135, 7_609, 5_228, 24_852]
    assert validation.expressions == [1_886, 487, 565, 1_254, 3_751, 1_893, 1_003, 4_601]


def test_rows_with_each_unit_active(curated: tuple[Curation, Path]) -> None:
    train, validation = curated[0].splits["train"], curated[0].splits["validation"]
    assert train.action_units == [
        *(18_713, 8_745, 20_342, 30_605, 41_337, 38_286),
        *(26_783, 2_460, 2_980, 5_003, 70_584, 10_756),
    ]
    assert validation.action_units == [
        *(5_531, 2_554, 5_442, 8_818, 13_224, 11_421),
        *(8_319, 782, 757, 808, 20_427, 2_934),
    ]


def test_rows_that_the_policy_keeps(curated: tuple[Curation, Path]) -> None:
    curation, out = curated
    splits = open_curated(out).splits
    assert tuple(counts.kept for counts in curation.splits.values()) == KEPT[curation.policy]
    assert tuple(int(np.sum(split.kept)) for split in splits.values()) == KEPT[curation.policy]
    assert tuple(len(split.annotations) for split in splits.values()) == (142_333, 26_876)


def test_every_dropped_row_is_in_the_csv(curated: tuple[Curation, Path]) -> None:
    curation, out = curated
    lines = (out / "dropped.csv").read_bytes().count(b"\n") - 1
    assert lines == 142_382 + 26_876 - sum(KEPT[curation.policy])


def test_the_share_of_labels_that_strict_curation_discards(curated: tuple[Curation, Path]) -> None:
    valid = curated[0].splits["train"].valid
    discarded = [round(100 * (1 - valid["all"] / valid[task]), 1) for task in ("va", "expression", "au")]
    assert discarded == [49.8, 42.5, 49.5]


def test_the_test_list(official: Path) -> None:
    path = next(p for p in (official / "MTL.txt", official / "MTL.txt.gz") if p.exists())
    frames = ABAW7().read_list(path)
    assert len(frames) == 51_159
    assert int((count_occurrences(frames.images) > 0).sum()) == 718
    assert len(pc.unique(frames.videos)) == 82
