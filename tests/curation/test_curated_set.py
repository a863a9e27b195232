"""What curation writes can be opened again, row for row, and nothing else is taken for it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abawkit.curation import Sources, curate, open_curated
from abawkit.curation.curated_set import CURATED_TABLE, CURATION_LEDGER, read_curation_ledger
from abawkit.errors import DataError
from abawkit.formats.readers import read_annotations

Release = Callable[..., Sources]
Row = Callable[..., str]
COLUMNS = ("lines", "va", "expression", "au", "va_valid", "expression_valid", "au_valid", "va_partial", "au_partial")


@pytest.fixture
def sources(release: Release, row: Row) -> Sources:
    nothing = {"va": "-5,0.1", "expression": "-1", "au": ",".join(["-1"] * 12)}
    train = [row("v/1.jpg"), row("v/2.jpg", **nothing), row("é/3.jpg", va="-5,-5"), row("v/1.jpg", expression="5")]
    return release(train, [row("clip/1.jpg", expression="-1"), row("clip/2.jpg", va="0.123,-1")])


def test_every_annotated_row_comes_back_with_its_labels_masks_and_lines(sources: Sources, out: Path) -> None:
    curate(sources, out)
    opened = open_curated(out)
    read = {"train": read_annotations(sources.train), "validation": read_annotations(sources.validation)}
    for split, curated in opened.splits.items():
        expected = read[split].select(read[split].any_valid)
        assert curated.annotations.images.equals(expected.images)
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(curated.annotations, name), getattr(expected, name), name)
    assert opened.splits["train"].rows.tolist() == [0, 2, 3]
    assert opened.splits["train"].kept.tolist() == [True, False, True]
    assert opened.splits["train"].frames.tolist() == [-1, -1, -1]
    assert opened.policy == "strict"


def test_strict_curation_keeps_all_validation_rows_so_that_the_official_protocol_can_be_scored(
    sources: Sources, out: Path
) -> None:
    curate(sources, out, policy="strict")
    validation = open_curated(out).splits["validation"]
    assert validation.annotations.images.to_pylist() == ["clip/1.jpg", "clip/2.jpg"]
    assert validation.kept.tolist() == [False, True]


def test_what_is_not_annotated_is_null_in_the_table_and_no_magic_number(sources: Sources, out: Path) -> None:
    curate(sources, out)
    table = pq.read_table(out / CURATED_TABLE)
    assert table.column("valence").to_pylist() == [0.5, None, 0.5, 0.5, 0.123]
    assert table.column("expression").to_pylist() == [3, 3, 5, None, 3]


def test_the_same_release_gives_the_same_table(sources: Sources, out: Path) -> None:
    curate(sources, out)
    first = open_curated(out).digest
    curate(sources, out)
    assert open_curated(out).digest == first == hashlib.sha256((out / CURATED_TABLE).read_bytes()).hexdigest()


def test_the_ledger_holds_the_digests_of_the_sources_and_the_counts(sources: Sources, out: Path) -> None:
    curation = curate(sources, out, policy="per-task", repeats="unique")
    ledger = read_curation_ledger(out)
    for split, path in (("train", sources.train), ("validation", sources.validation)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert ledger["sources"][split] == {"path": str(path), "sha256": digest}
        assert ledger["splits"][split] == curation.as_dict()["splits"][split]
    assert (ledger["policy"], ledger["repeats"], ledger["frames_digest"]) == ("per-task", "unique", None)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no curated set .*abawkit curate"):
        open_curated(tmp_path)


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[: len(b) // 2], lambda b: b[:0], lambda b: b[4:]])
def test_a_damaged_table_is_refused(sources: Sources, out: Path, damage: Callable[[bytes], bytes]) -> None:
    curate(sources, out)
    (out / CURATED_TABLE).write_bytes(damage((out / CURATED_TABLE).read_bytes()))
    with pytest.raises(DataError, match=r"(?s)can't be read as a Parquet table .*abawkit curate"):
        open_curated(out)


@pytest.mark.parametrize("metadata", [None, {"abawkit": "abawkit curated table 0", "policy": "strict"}])
def test_a_parquet_file_of_another_origin_or_version_is_refused(out: Path, metadata: dict[str, str] | None) -> None:
    pq.write_table(pa.table({"split": ["train"]}).replace_schema_metadata(metadata), out / CURATED_TABLE)
    with pytest.raises(DataError, match="is not the table of a curated set of this version"):
        open_curated(out)


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_ledger_that_is_absent_or_damaged_is_named(out: Path, content: bytes | None) -> None:
    if content:
        (out / CURATION_LEDGER).write_bytes(content)
    with pytest.raises(DataError, match=r"ledger\.json: (can't be read|is not JSON) .*; make the curated set again"):
        read_curation_ledger(out)


def rewritten(out: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes a table anew, as a program of someone else's would."""
    table = pq.read_table(out / CURATED_TABLE)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), out / CURATED_TABLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: pa.concat_tables([table, table]), r"splits\.train\.valid\.any is 3, the table has 6 such rows"),
        (lambda table: table.slice(0, 4), r"splits\.validation\.valid\.any is 2, the table has 1"),
        (
            lambda table: table.set_column(4, "valence", table["arousal"]),
            r"table_sha256 is [0-9a-f]{64}, the table has",
        ),
        (lambda table: table.take([1, 0, 2, 3, 4]), r"table_sha256 is"),
    ],
)
def test_a_table_that_contradicts_its_ledger_is_refused(
    sources: Sources, out: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    curate(sources, out, policy="per-task")
    rewritten(out, change)
    with pytest.raises(DataError, match=rf"table\.parquet: contradicts its ledger: {message}"):
        open_curated(out)
    assert open_curated(out, check_ledger=False).policy == "per-task"


def test_a_ledger_of_another_set_is_refused_and_one_that_says_less_is_not(sources: Sources, out: Path) -> None:
    curate(sources, out, policy="per-task")
    ledger = read_curation_ledger(out)
    (out / CURATION_LEDGER).write_text(json.dumps(ledger | {"policy": "strict"}))
    with pytest.raises(DataError, match="policy is strict, the table has per-task as its policy"):
        open_curated(out)
    (out / CURATION_LEDGER).write_text(json.dumps({"abawkit": ledger["abawkit"]}))  # as an older version's
    assert open_curated(out).policy == "per-task"
    (out / CURATION_LEDGER).write_text("[]")
    with pytest.raises(DataError, match=r"holds JSON, but no object; .*; make the curated set again"):
        open_curated(out)
