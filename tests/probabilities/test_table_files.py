"""Probabilities as tables with named columns: read by name, refused by line and column, written bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.probabilities.members import read_member, write_probabilities
from abawkit.tables import Predictions

NAMES = ["v/00001.jpg", "v/00001.jpg", "é/00002.jpg", "w/00009.jpg"]


def predictions(seed: int = 0, names: list[str] = NAMES) -> Predictions:
    rng, n = np.random.default_rng(seed), len(names)
    columns = rng.uniform(-1, 1, (n, 2)), rng.dirichlet(np.ones(8), n), rng.uniform(0, 1, (n, 12))
    return Predictions(pa.array(names), *(column.astype(np.float32) for column in columns))


def table(order: list[str]) -> str:
    said = predictions()
    names = [*DIMENSIONS, *EXPRESSIONS, *ACTION_UNITS]
    cells = dict(zip(names, np.concatenate([said.va, said.expression, said.au], axis=1).T.tolist(), strict=True))
    cells["image"] = NAMES
    rows = zip(*(cells[name] for name in order), strict=True)
    return "\n".join([",".join(order), *(",".join(map(str, row)) for row in rows)]) + "\n"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_table_of_text_is_read_by_its_header_in_any_order(tmp_path: Path, reverse: bool) -> None:
    order = ["image", *DIMENSIONS, *EXPRESSIONS, *ACTION_UNITS]
    (tmp_path / "p.csv").write_text(table(order[::-1] if reverse else order))
    member = read_member(tmp_path / "p.csv")
    assert member.predictions.images.equals(predictions().images)
    assert all(np.array_equal(getattr(member.predictions, task), getattr(predictions(), task)) for task in TASKS)
    assert (member.tasks, member.key) == (TASKS, "p")


def test_a_table_of_one_task_knows_that_task(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(table(["image", *ACTION_UNITS]))
    member = read_member(tmp_path / "p.csv")
    assert member.tasks == ("au",)
    assert np.array_equal(member.predictions.au, predictions().au)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("AU26", "AU27", "p.csv:1: got 'AU27' which is no column"),
        ("AU26", "AU1", "p.csv:1: got 'AU1' twice"),
        ("Anger,", "", "p.csv:1: has no Anger; give all columns of expression or none"),
        ("image", "frame", "p.csv:1: got 'frame' which is no column"),
        ("v/00001.jpg", "../00001.jpg", "p.csv:2: got a path with '..'"),
        ("w/00009.jpg,", "w/00009.jpg,1.5,", "p.csv:5: has 24 fields, the header has 23"),
        ("image,", "", "p.csv:1: names no column image"),
    ],
)
def test_a_defect_of_a_table_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = table(["image", *DIMENSIONS, *EXPRESSIONS, *ACTION_UNITS])
    assert old in text
    (tmp_path / "p.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        read_member(tmp_path / "p.csv")


@pytest.mark.parametrize("cell", ["nan", "inf", "", "0x1", "1_0", "high"])
def test_a_cell_that_is_no_number_is_named_with_its_line_and_column(tmp_path: Path, cell: str) -> None:
    (tmp_path / "p.csv").write_text(f"image,valence,arousal\nv/00001.jpg,0,0.5\nv/00002.jpg,0,{cell}\n")
    with pytest.raises(DataError, match=rf"p\.csv:3: column 'arousal': got '{cell}', expected a number"):
        read_member(tmp_path / "p.csv")


@pytest.mark.parametrize("tasks", [TASKS, ("va", "au"), ("expression",)])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_that_was_written_reads_back_bit_for_bit(tmp_path: Path, ending: str, tasks: tuple[Task, ...]) -> None:
    path, said = tmp_path / f"p{ending}", predictions()
    write_probabilities(path, said, tasks)
    member = read_member(path)
    assert member.tasks == tasks
    assert member.predictions.images.equals(said.images)
    for task in tasks:
        assert np.array_equal(getattr(member.predictions, task), getattr(said, task))


def test_a_table_is_one_that_other_tools_read_without_an_index(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "p.csv", predictions(), ["va"])
    first, second, *_ = (tmp_path / "p.csv").read_text().splitlines()
    assert first == "image,valence,arousal"
    assert second.startswith("v/00001.jpg,")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="AU26"), "p.parquet: has no AU26; give all columns of au or none"),
        (lambda frame: frame.rename(columns={"image": "frame"}), "p.parquet: got 'frame' which is no column"),
        (lambda frame: frame.assign(AU1=["a"] * len(frame)), "p.parquet: column 'AU1': holds (object|str), expected"),
        (lambda frame: frame.assign(AU1=2.0), "p.parquet: row 1: column 'AU1': got 2, expected 0..1"),
        (lambda frame: frame.assign(image=1), "p.parquet: column 'image': expected names of images"),
        (lambda frame: frame[:0], "p.parquet: does not hold probabilities: it has no rows"),
    ],
)
def test_a_defect_of_a_parquet_table_is_named_with_its_column(
    tmp_path: Path, spoil: Callable[[Any], Any], message: str
) -> None:
    path = tmp_path / "p.parquet"
    write_probabilities(path, predictions())
    spoil(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(DataError, match=message):
        read_member(path)


def test_what_is_no_parquet_table_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"p\.parquet: can't be read as Parquet"):
        read_member(tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"q\.parquet: no such file"):
        read_member(tmp_path / "q.parquet")
