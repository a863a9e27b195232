"""The curated set on disk: one Parquet table of both splits, a ledger, and the packed frames."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abawkit.choices import Split, TruthSplit
from abawkit.errors import DataError
from abawkit.frames.packed import PackedFrames
from abawkit.labels import ACTION_UNITS, DIMENSIONS
from abawkit.system.files import replacing, sha256_of
from abawkit.system.json_records import read_object
from abawkit.tables import Annotations, Array, join_annotations

SPLITS: Final[tuple[Split, ...]] = ("train", "validation")

CURATED_TABLE: Final = "table.parquet"
CURATION_LEDGER: Final = "ledger.json"
DROPPED_ROWS: Final = "dropped.csv"
DROPPED_LABELS: Final = "dropped-labels.csv"
"""Only in a set from which labels were dropped on request."""
FRAMES_FOLDER: Final = "frames"

_TABLE_FORMAT: Final = b"abawkit curated table 2"
_CURATE_AGAIN: Final = "make the curated set again with `abawkit curate`"


@dataclass(frozen=True)
class CuratedSplit:
    """One split of a curated set: every row with at least one annotated task.

    Attributes:
        annotations: The rows.
        rows: Row number of each in its source, from 0, int64, shape (n,).
        kept: True where the policy keeps the row, shape (n,).
        frames: Index of each row's frame in the packed store, -1 where it has none, int64, shape (n,).
    """

    annotations: Annotations
    rows: Array
    kept: Array
    frames: Array


@dataclass(frozen=True)
class CuratedSet:
    """A curated set, opened.

    Attributes:
        folder: Where it is.
        splits: Its splits by name.
        policy: The policy that chose `CuratedSplit.kept`.
        digest: SHA-256 of its table.
        frames_digest: SHA-256 of the packed frames that the table was made with; empty for a set of labels only.
    """

    folder: Path
    splits: dict[Split, CuratedSplit]
    policy: str
    digest: str
    frames_digest: str

    def open_frames(self) -> PackedFrames:
        """Opens the packed frames.

        Raises:
            DataError: If the set holds labels only, or the frames are absent, damaged or not those of its table.
        """
        if not self.frames_digest:
            raise DataError(
                f"{self.folder}: holds labels only; run `abawkit curate` with the frames; train takes --frames too"
            )
        store = PackedFrames.open(self.folder / FRAMES_FOLDER)
        for problem in self.compare_frames(store):
            raise DataError(problem)
        store.verify()
        return store

    def compare_frames(self, store: PackedFrames) -> list[str]:
        """What is wrong with packed frames for this table; empty where they were packed for it."""
        wrong = []
        if store.digest != self.frames_digest:
            wrong.append("table and packed frames are not of one run of `abawkit curate`")
        if max(split.frames.max(initial=-1) for split in self.splits.values()) >= len(store):
            wrong.append("its table names frames that are not packed")
        return [f"{self.folder}: {text}; {_CURATE_AGAIN}" for text in wrong]


def join_splits(curated: CuratedSet) -> CuratedSplit:
    """The rows of both splits as one; row numbers of validation go on from those of training."""
    first, second = (curated.splits[split] for split in SPLITS)
    following = int(first.rows.max(initial=-1)) + 1
    return CuratedSplit(
        join_annotations(first.annotations, second.annotations),
        np.concatenate([first.rows, second.rows + following]),
        np.concatenate([first.kept, second.kept]),
        np.concatenate([first.frames, second.frames]),
    )


def find_truth_rows(curated: CuratedSet, split: TruthSplit) -> Array:
    """A mask of the rows of a split, or of `join_splits`, that are the truth: of training, the kept ones; (n,)."""
    train, validation = curated.splits["train"].kept, np.ones(len(curated.splits["validation"].rows), dtype=bool)
    return {"train": train, "validation": validation, "train+validation": np.concatenate([train, validation])}[split]


def select_truth(curated: CuratedSet, split: TruthSplit) -> Annotations:
    """The annotations that a split is scored by; see `find_truth_rows`."""
    rows = join_splits(curated) if split == "train+validation" else curated.splits[split]
    return rows.annotations.select(find_truth_rows(curated, split))


def make_table(split: Split, curated: CuratedSplit) -> pa.Table:
    """The columns of one split; what is not annotated is null."""
    a = curated.annotations
    va_missing, expression_missing, au_missing = ~a.va_valid, ~a.expression_valid, ~a.au_valid
    columns: dict[str, Any] = {
        "split": pa.DictionaryArray.from_arrays(pa.array(np.full(len(a), SPLITS.index(split), np.int8)), list(SPLITS)),
        "row": pa.array(curated.rows, pa.int32()),
        "line": pa.array(a.lines, pa.int32()),
        "image": a.images,
        **{name: pa.array(a.va[:, i], mask=va_missing) for i, name in enumerate(DIMENSIONS)},
        "expression": pa.array(a.expression, mask=expression_missing),
        **{name: pa.array(a.au[:, i], mask=au_missing) for i, name in enumerate(ACTION_UNITS)},
        "va_valid": a.va_valid,
        "expression_valid": a.expression_valid,
        "au_valid": a.au_valid,
        "va_partial": a.va_partial,
        "au_partial": a.au_partial,
        "kept": curated.kept,
        "frame": pa.array(curated.frames, pa.int32()),
    }
    return pa.table(columns)


def write_table(folder: Path, splits: dict[Split, CuratedSplit], policy: str, frames_digest: str) -> None:
    """Writes the table of a curated set into its folder; see `CuratedSet` for the arguments."""
    table = pa.concat_tables([make_table(split, curated) for split, curated in splits.items()])
    table = table.replace_schema_metadata({"abawkit": _TABLE_FORMAT, "policy": policy, "frames": frames_digest})
    with replacing(folder / CURATED_TABLE) as file:
        # Only the split repeats itself; looking for repeats in other columns takes longer than writing them.
        pq.write_table(table, file, use_dictionary=["split"], write_statistics=False, write_page_checksum=True)


def open_curated(folder: Path, *, check_ledger: bool = True) -> CuratedSet:
    """Opens a curated set.

    Args:
        folder: Its folder.
        check_ledger: Whether a table that contradicts the ledger beside it is refused.

    Raises:
        DataError: If the folder has none, its table has another version's form, or it contradicts the ledger.
    """
    path = folder / CURATED_TABLE
    if not path.is_file():
        raise DataError(f"{folder}: holds no curated set ({CURATED_TABLE} is absent); {_CURATE_AGAIN}")
    try:
        with pa.OSFile(os.fsencode(path)) as file:  # by its bytes: Arrow takes no name that is not UTF-8
            table = pq.read_table(file, page_checksum_verification=True, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as a Parquet table ({error}); {_CURATE_AGAIN}") from error
    metadata = table.schema.metadata or {}
    if metadata.get(b"abawkit") != _TABLE_FORMAT:
        raise DataError(f"{path}: is not the table of a curated set of this version; {_CURATE_AGAIN}")
    try:
        splits = {split: _read_split_rows(table.filter(pc.equal(table["split"], split))) for split in SPLITS}
        policy, frames = metadata[b"policy"].decode(), metadata[b"frames"].decode()
    except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not what `abawkit curate` wrote ({error}); {_CURATE_AGAIN}") from error
    curated = CuratedSet(folder, splits, policy, sha256_of(path), frames)
    if check_ledger and (folder / CURATION_LEDGER).exists():
        _refuse_contradiction(curated, read_curation_ledger(folder))
    return curated


def find_contradictions(curated: CuratedSet, ledger: Mapping[str, Any]) -> list[str]:
    """Where a table and its ledger contradict each other; what a ledger leaves out is no contradiction.

    Args:
        curated: The set, with the table.
        ledger: Its ledger.
    """
    found: list[str] = []

    def compare(key: str, number: object, what: str) -> None:
        recorded: Any = ledger
        for part in key.split("."):
            recorded = recorded.get(part) if isinstance(recorded, dict) else None
        if recorded is not None and recorded != number:
            found.append(f"{key} is {str(recorded)[:80]}, the table has {number} {what}")

    compare("policy", curated.policy, "as its policy")
    compare("frames_digest", curated.frames_digest, "as that of its frames")
    for name, split in curated.splits.items():
        a = split.annotations
        for task, mask in [("any", a.any_valid), *a.valid.items()]:
            compare(f"splits.{name}.valid.{task}", int(mask.sum()), "such rows")
        compare(f"splits.{name}.kept", int(split.kept.sum()), "such rows")
    compare("table_sha256", curated.digest, "as its digest")
    return found


def _refuse_contradiction(curated: CuratedSet, ledger: dict[str, Any]) -> None:
    found = find_contradictions(curated, ledger)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DataError(
            f"{curated.folder / CURATED_TABLE}: contradicts its ledger: {found[0]}{more}; "
            f"`abawkit inspect` names all that is wrong with it; {_CURATE_AGAIN}"
        )


def read_curation_ledger(folder: Path) -> dict[str, Any]:
    """What `curate` wrote down about a curated set.

    Raises:
        DataError: If the ledger is absent or no JSON object.
    """
    return read_object(folder / CURATION_LEDGER, "the ledger of a curated set", _CURATE_AGAIN)


def _read_split_rows(table: pa.Table) -> CuratedSplit:
    def column(name: str) -> Array:
        return np.array(pc.fill_null(table[name], 0).to_numpy())

    annotations = Annotations(
        images=table["image"].combine_chunks(),
        lines=column("line").astype(np.int64),
        va=np.stack([column(name) for name in DIMENSIONS], axis=1),
        expression=column("expression"),
        au=np.stack([column(name) for name in ACTION_UNITS], axis=1),
        **{
            name: table[name].to_numpy()
            for name in ("va_valid", "expression_valid", "au_valid", "va_partial", "au_partial")
        },
    )
    return CuratedSplit(
        annotations, column("row").astype(np.int64), table["kept"].to_numpy(), column("frame").astype(np.int64)
    )
