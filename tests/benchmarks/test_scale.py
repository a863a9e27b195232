"""What `benchmarks/scale.py` measures on: a release that curates as it is, with features of all its rows."""

import sys
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation.curate import curate
from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import find_sources
from benchmarks.scale import Measured, list_steps, measure, print_table, write_annotations, write_features

ROWS = 5_000


def test_annotations_are_a_release_whose_every_class_and_unit_occurs_and_features_are_of_all_rows(
    tmp_path: Path,
) -> None:
    write_annotations(tmp_path / "release", ROWS)
    write_features(tmp_path, 3)
    (tmp_path / "curated").mkdir()
    curate(find_sources(tmp_path / "release", labels_only=True), tmp_path / "curated", policy="per-task", workers=1)
    names = set((tmp_path / "names.txt").read_text().splitlines())
    assert (len(names), np.load(tmp_path / "features.npy").shape) == (ROWS, (ROWS, 3))
    for split in open_curated(tmp_path / "curated").splits.values():
        a = split.annotations
        assert 0.99 * ROWS / 2 < len(a) <= ROWS / 2  # few rows are annotated for no task
        assert names.issuperset(a.images.to_pylist())
        assert set(a.expression[a.expression_valid].tolist()) == set(range(8))
        assert (a.au[a.au_valid].mean(axis=0) > 0.1).all()
        assert a.va_valid.mean() == pytest.approx(0.9, abs=0.03)


def test_a_row_of_the_table_has_the_growth_per_row_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"score": [Measured(2.0, 100 * 2**20), Measured(8.0, 100 * 2**20 + 15_000_000)]}
    print_table(found, [100_000, 400_000], {"score": 0.5})
    expected = "| `score` | 200,000 | 8.0 s | 25,000 | 4.0 | 114 MiB | 100 |"
    assert capsys.readouterr().out.splitlines()[-1] == expected


def test_the_memory_of_a_command_is_its_own_and_not_that_of_who_starts_it(tmp_path: Path) -> None:
    held = np.ones(2**27, np.uint8)  # 128 MiB
    idle, busy = (
        measure([sys.executable, "-c", f"import time; held = b'x' * {size}"], tmp_path / "log").peak
        for size in (1, 2**26)
    )
    assert idle < held.nbytes / 2
    assert busy - idle == pytest.approx(2**26, rel=0.1)
    with pytest.raises(SystemExit, match="ended with 3:\nwhat it said"):
        measure([sys.executable, "-c", "print('what it said'); raise SystemExit(3)"], tmp_path / "log")


def test_each_command_is_measured_once(tmp_path: Path) -> None:
    steps = list_steps(tmp_path)
    assert [str(arguments[0]) for arguments, _ in steps.values()] == [
        *("curate", "features", "train", "train", "predict", "score", "smooth", "tune")
    ]
