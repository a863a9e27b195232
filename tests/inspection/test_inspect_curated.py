"""Curated sets: their rows, and whether table, ledger, frames and sources still belong together."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.curation import curate, find_sources, open_curated
from abawkit.curation.curated_set import write_table
from abawkit.inspection import Inspection, inspect
from abawkit.system.files import sha256_of

Edit = Callable[[Path, str, Any], None]
Flip = Callable[[Path], None]


def only_problem(found: Inspection) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def test_a_curated_set_says_what_it_holds(curated: Path, release: Path) -> None:
    ledger = json.loads((curated / "ledger.json").read_text())
    found = inspect(curated)
    assert (found.kind, found.problems, found.facts["policy"]) == ("curated set", [], "per-task")
    for split, counts in ledger["splits"].items():
        shown = found.facts["splits"][split]
        assert (shown["rows"], shown["kept"]) == (counts["rows"], counts["kept"])
        assert (shown["annotated"], shown["va"]) == (counts["valid"]["any"], counts["valid"]["va"])
    assert found.facts["frames"]["packed"] == ledger["frames"]["packed"]
    assert found.facts["frames"]["read_through"]
    train = release / "training_set_annotations.txt"
    assert found.facts["sources"]["train"] == {"path": str(train), "state": "unchanged"}
    assert found.digests["source, train"] == sha256_of(train)
    assert found.digests["frames"] == ledger["frames_digest"]
    assert found.digests["table.parquet"] == sha256_of(curated / "table.parquet")


@pytest.mark.parametrize("name", ["table.parquet", "ledger.json"])
def test_a_part_of_a_curated_set_stands_for_all_of_it(curated: Path, name: str) -> None:
    assert inspect(curated / name).kind == "curated set"


def test_labels_alone_are_a_curated_set(release: Path, tmp_path: Path) -> None:
    curate(find_sources(release, labels_only=True), tmp_path, policy="strict", workers=1)
    found = inspect(tmp_path)
    assert (found.facts["frames"], found.problems) == ("labels only", [])
    assert "frames" not in found.digests


def test_a_source_that_is_gone_is_no_problem_and_one_that_changed_is(dataset: Path, edit: Edit) -> None:
    moved = dataset.parent / "moved.txt"
    edit(dataset / "ledger.json", "sources.train.path", str(moved))
    found = inspect(dataset)
    assert (found.facts["sources"]["train"]["state"], found.problems) == ("gone", [])
    moved.write_text("image\n")
    found = inspect(dataset)
    assert found.facts["sources"]["train"]["state"] == "changed"
    assert str(moved) in only_problem(found)


def test_damaged_frames_are_found_by_reading_them_through(dataset: Path, flip: Flip) -> None:
    flip(dataset / "frames/frames.u8")
    assert "frames.u8: is damaged" in only_problem(inspect(dataset))
    found = inspect(dataset, verify=False)
    assert (found.problems, found.facts["frames"]["read_through"]) == ([], False)


def test_encoded_frames_are_described_and_read_through(encoded: Path, tmp_path: Path, flip: Flip) -> None:
    found = inspect(encoded)
    assert found.problems == []
    size = sum(path.stat().st_size for path in (encoded / "frames").iterdir() if path.name != "frames.json")
    assert found.facts["frames"] == {"packed": 227, "form": "encoded", "bytes": size, "read_through": True}
    copy = Path(shutil.copytree(encoded, tmp_path / "copy"))
    flip(copy / "frames/frames-00000.shard")
    assert "frames-00000.shard: is damaged" in only_problem(inspect(copy))
    assert inspect(copy, verify=False).problems == []
    (copy / "frames/frames.index").unlink()
    assert f"{copy}/frames/frames.index: can't be opened" in only_problem(inspect(copy, verify=False))


def test_frames_that_are_cut_off_are_found_by_their_size(dataset: Path) -> None:
    path = dataset / "frames/frames.u8"
    path.write_bytes(path.read_bytes()[:-1])
    assert "frames.u8: has " in only_problem(inspect(dataset, verify=False))


def test_frames_of_another_set_are_a_problem(dataset: Path, edit: Edit) -> None:
    edit(dataset / "frames/frames.json", "sha256", "0" * 64)
    assert "table and packed frames are not of one run" in only_problem(inspect(dataset, verify=False))


def test_fewer_frames_than_the_table_names_are_a_problem(dataset: Path, edit: Edit) -> None:
    path = dataset / "frames/frames.u8"
    path.write_bytes(path.read_bytes()[: 10 * 112 * 112 * 3])
    edit(dataset / "frames/frames.json", "frames", 10)
    edit(dataset / "frames/frames.json", "bytes", 10 * 112 * 112 * 3)
    assert "names frames that are not packed" in only_problem(inspect(dataset, verify=False))


@pytest.mark.parametrize("name", ["frames/frames.json", "frames/frames.u8", "dropped.csv", "ledger.json"])
def test_a_part_that_is_gone_is_named(dataset: Path, name: str) -> None:
    (dataset / name).unlink()
    assert str(dataset / name) in only_problem(inspect(dataset))


def test_without_its_table_the_ledger_still_speaks(dataset: Path) -> None:
    (dataset / "table.parquet").unlink()
    found = inspect(dataset)
    assert "table.parquet is absent" in only_problem(found)
    assert found.facts["splits"]["train"]["rows"] > 0


@pytest.mark.parametrize("size", [0, 4, 5000, -1])
def test_a_truncated_table_is_a_problem(dataset: Path, size: int) -> None:
    path = dataset / "table.parquet"
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in only_problem(inspect(dataset))


def test_rows_without_their_reason_are_a_problem(dataset: Path) -> None:
    with (dataset / "dropped.csv").open("a") as file:
        file.write("train,9,v/1.jpg,mine\n")
    assert str(dataset / "dropped.csv") in only_problem(inspect(dataset))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", "strict"),
        ("policy", None),
        ("splits", []),
        ("splits.train", 3),
        ("splits.train.kept", "x"),
        ("splits.validation.valid.any", 3),
        ("splits.validation.valid.any", None),
        ("sources", None),
        ("sources.train.path", 3),
        ("sources.validation.sha256", [1]),
        ("frames_digest", None),
        ("frames_digest", 3),
    ],
)
def test_a_ledger_that_does_not_fit_is_a_problem(dataset: Path, edit: Edit, name: str, value: Any) -> None:
    edit(dataset / "ledger.json", name, value)
    found = inspect(dataset)
    assert found.problems
    assert all(str(dataset / "ledger.json") in problem for problem in found.problems)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"policy": Infinity}'])
def test_a_ledger_that_is_no_json_object_is_named(dataset: Path, text: str) -> None:
    (dataset / "ledger.json").write_text(text)
    assert str(dataset / "ledger.json") in only_problem(inspect(dataset))


def test_a_copy_is_as_good(dataset: Path) -> None:
    elsewhere = Path(shutil.move(dataset, dataset.with_name("elsewhere")))
    assert inspect(elsewhere).problems == []


def test_a_set_that_keeps_nothing_or_has_no_frame_of_a_split_has_problems(dataset: Path) -> None:
    opened = open_curated(dataset)
    train = opened.splits["train"]
    nothing = np.zeros(len(train.kept), dtype=bool)
    for split, words in (
        (replace(train, kept=nothing), "no training row is kept by its policy"),
        (replace(train, frames=np.full(len(nothing), -1)), "no training row that is kept has a frame"),
    ):
        write_table(dataset, {**opened.splits, "train": split}, "per-task", opened.frames_digest)
        assert any(words in problem for problem in inspect(dataset).problems)
