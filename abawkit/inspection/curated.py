"""Curated sets: policy, rows, frames, and whether table, ledger, frames and sources belong together."""

from pathlib import Path
from typing import Any

from abawkit.choices import Split
from abawkit.curation.counts import SPLIT_WORDS
from abawkit.curation.curated_set import (
    CURATED_TABLE,
    CURATION_LEDGER,
    DROPPED_LABELS,
    DROPPED_ROWS,
    FRAMES_FOLDER,
    SPLITS,
    CuratedSet,
    find_contradictions,
    open_curated,
    read_curation_ledger,
)
from abawkit.curation.reading import digest_source
from abawkit.errors import DataError, format_count
from abawkit.frames.packed import PackedFrames
from abawkit.inspection.report import FileState, Inspection, Record, is_file, is_present
from abawkit.system.files import sha256_of


def inspect_curated(folder: Path, *, verify: bool = True) -> Inspection:
    """Inspects a curated set.

    Args:
        folder: Its folder.
        verify: Whether all packed frames are read; otherwise only their header and size.
    """
    found = Inspection(folder, "curated set")
    record, curated = _read_ledger_record(found, folder), _open_table(found, folder)
    recorded = record.get("policy", str) if record else None
    policy = curated.policy if curated else recorded
    found.note("policy", policy)
    if record:
        found.note("repeats", record.get("repeats", str))
        found.note("abawkit", record.get("abawkit", str))
    found.note("splits", {split: _describe_split(found, split, curated, record) for split in SPLITS})
    if curated:
        _check_frames(found, curated, record, verify)
    if curated and record:
        found.problems += [f"{record.source}: {text}" for text in find_contradictions(curated, record.content)]
    if record:
        found.note("sources", _describe_sources(found, record))
    _check_dropped_rows(found, folder / DROPPED_ROWS, record)
    if record and record.entries("drop", optional=True):
        found.note("dropped_labels", record.get("dropped_labels", dict))
        if not is_file(folder / DROPPED_LABELS):
            found.problems.append(f"{folder / DROPPED_LABELS}: is absent")
    for name in (CURATED_TABLE, CURATION_LEDGER, DROPPED_ROWS, DROPPED_LABELS):
        if is_file(folder / name):
            found.digests[name] = sha256_of(folder / name)
    kept = [int(curated.splits[split].kept.sum()) for split in SPLITS] if curated else []
    found.summary = f"a curated set ({policy or 'of an unknown policy'}), " + (
        f"{format_count(kept[0], 'training row')} and {format_count(kept[1], 'validation row')} kept"
        if curated
        else "which can't be opened"
    )
    return found


def _read_ledger_record(found: Inspection, folder: Path) -> Record | None:
    try:
        return Record(str(folder / CURATION_LEDGER), read_curation_ledger(folder), found.problems)
    except DataError as error:
        found.problems.append(str(error))
        return None


def _open_table(found: Inspection, folder: Path) -> CuratedSet | None:
    try:
        return open_curated(folder, check_ledger=False)
    except DataError as error:
        found.problems.append(str(error))
        return None


def _describe_split(
    found: Inspection, name: Split, curated: CuratedSet | None, record: Record | None
) -> dict[str, Any]:
    """Rows of a split: those of its source by the ledger; annotated, kept and with a frame by the table."""
    content: dict[str, Any] = {"rows": record.get(f"splits.{name}.rows", int) if record else None}
    if curated is None:
        return content
    if record:
        record.get(f"splits.{name}.valid.any", int)  # one that is absent contradicts nothing, and is a problem
    split = curated.splits[name]
    counted = {"annotated": len(split.rows), "kept": int(split.kept.sum())}
    for what, rows in (("is kept by its policy", counted["kept"]), ("is annotated", counted["annotated"])):
        if not rows:
            found.problems.append(
                f"{curated.folder}: no {SPLIT_WORDS[name]} row {what}; make the set with another --policy"
            )
    if curated.frames_digest and not (split.frames[split.kept] >= 0).any():
        found.problems.append(f"{curated.folder}: no {SPLIT_WORDS[name]} row that is kept has a frame")
    return {
        **content,
        **counted,
        "va": int(split.annotations.va_valid.sum()),
        "expression": int(split.annotations.expression_valid.sum()),
        "au": int(split.annotations.au_valid.sum()),
        "with_frame": int((split.frames >= 0).sum()),
    }


def _check_frames(found: Inspection, curated: CuratedSet, record: Record | None, verify: bool) -> None:
    """Checks that the packed frames are those of the table, and whole."""
    if not curated.frames_digest:
        found.note("frames", "labels only")
        return
    if record:
        record.get("frames_digest", str)
    found.digests["frames"] = curated.frames_digest
    try:
        store = PackedFrames.open(curated.folder / FRAMES_FOLDER)
        stored = {"packed": len(store), "form": store.header.form, "bytes": store.bytes}
        found.note("frames", {**stored, "read_through": verify})
        found.problems += curated.compare_frames(store)
        if verify:
            store.verify()
    except (DataError, OSError) as error:
        found.problems.append(str(error))


def _check_dropped_rows(found: Inspection, path: Path, record: Record | None) -> None:
    """Checks that there is one line for each row that was dropped according to the ledger."""
    if not is_file(path):
        found.problems.append(f"{path}: is absent")
        return
    counts = [
        (rows, kept)
        for split in SPLITS
        if record and (rows := record.get(f"splits.{split}.rows", int)) is not None
        if (kept := record.get(f"splits.{split}.kept", int)) is not None
    ]
    lines = path.read_bytes().count(b"\n") - 1
    dropped = sum(rows - kept for rows, kept in counts)
    if len(counts) == len(SPLITS) and lines != dropped:
        found.problems.append(f"{path}: has {format_count(lines, 'row')}, the ledger counts {dropped:,} as dropped")


def _describe_sources(found: Inspection, record: Record) -> dict[str, Any]:
    """The annotation files, and whether each is unchanged where it was."""
    content: dict[str, Any] = {}
    for split in SPLITS:
        path, digest = record.get(f"sources.{split}.path", str), record.get(f"sources.{split}.sha256", str)
        content[split] = {"path": path, "state": _compare_source(found, path, digest)}
        if digest:
            found.digests[f"source, {split}"] = digest
        for number, track in enumerate(record.entries(f"sources.{split}.joined_with", optional=True), start=2):
            path, digest = track.get("path", str), track.get("sha256", str)
            content[f"{split}, {number}"] = {"path": path, "state": _compare_source(found, path, digest)}
            if digest:
                found.digests[f"source, {split}, {number}"] = digest
    return content


def _compare_source(found: Inspection, path: str | None, digest: str | None) -> FileState | None:
    """Whether an annotation file, or the folder of a track, is unchanged."""
    return found.compare("an annotation file", Path(path), digest, digest_source, is_present) if path else None
