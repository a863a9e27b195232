"""Curation from end to end: read both splits, apply the policy, pack the frames, write the curated set."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

import abawkit
from abawkit.choices import MAX_MISSING, PackedForm, Policy, Repeats, Split
from abawkit.curation.cells import escape_cell
from abawkit.curation.counts import SPLIT_WORDS, SplitCounts, check_kept, count_split, warn_of_counts
from abawkit.curation.curated_set import (
    CURATED_TABLE,
    CURATION_LEDGER,
    DROPPED_LABELS,
    DROPPED_ROWS,
    FRAMES_FOLDER,
    SPLITS,
    CuratedSplit,
    write_table,
)
from abawkit.curation.label_drops import DroppedLabels, drop_labels, read_label_drops, write_dropped_labels
from abawkit.curation.reading import SplitSource, digest_source, read_split
from abawkit.curation.release import Sources, find_shared_names, refuse_shared, warn_of_shared_clips
from abawkit.curation.rules import REASONS, RepeatedRows, find_reasons, find_repeats, get_reason_bit
from abawkit.errors import DataError, format_count, list_first
from abawkit.frames.hints import describe_failures
from abawkit.frames.packing import PackReport, pack_frames
from abawkit.frames.paths import FramesRoot
from abawkit.frames.reader import FrameFailure
from abawkit.labels import TASKS, Task
from abawkit.system.files import count_processors, replacing, sha256_of, write_json
from abawkit.tables import Annotations, Array

_SAFE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"


def write_dropped(path: Path, splits: dict[str, tuple[Annotations, Array]]) -> None:
    """Writes ``split,line,image,reasons`` for every dropped row, from the rows of each split and bits of `REASONS`."""
    tables = [_make_dropped_table(split, rows, reasons) for split, (rows, reasons) in splits.items()]
    with replacing(path) as file:
        csv.write_csv(pa.concat_tables(tables), file, csv.WriteOptions(quoting_style="needed"))


def _make_dropped_table(split: str, annotations: Annotations, reasons: Array) -> pa.Table:
    rows = np.flatnonzero(reasons)
    images = annotations.images.take(pa.array(rows))
    if not pc.all(pc.match_substring_regex(images, _SAFE_NAME)).as_py():
        images = pa.array([escape_cell(name) for name in images.to_pylist()], pa.string())
    texts = [";".join(r for r in REASONS if bits & get_reason_bit(r)) for bits in range(1 << len(REASONS))]
    return pa.table(
        {
            "split": pa.array([split], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            "line": annotations.lines[rows],
            "image": images,
            "reasons": pa.array(texts, pa.string()).take(pa.array(reasons[rows])),
        }
    )


@dataclass(frozen=True)
class ExaminedRows:
    """All rows of a split, and why they are dropped.

    Attributes:
        annotations: The rows of its source, n of them.
        reasons: Bits of `abawkit.curation.rules.REASONS`, 0 for a row that is kept, int64, shape (n,).
        repeated: Rows whose image is in several.
    """

    annotations: Annotations
    reasons: Array
    repeated: RepeatedRows


@dataclass(frozen=True)
class Curation:
    """The result of curation.

    Attributes:
        policy: The policy.
        repeats: How repeated rows were handled.
        splits: Counts of each split.
        shared_videos: Videos that are in both splits.
        shared_images: Images that are in both splits.
        shared_clips: Clips of which different videos (``_left``, ``_right``) are in the two splits.
        frames: Frames packed; 0 where only labels were curated.
        form: How they are packed; None where only labels were curated.
        bytes: What they take on the disk.
        failures: Frames that are missing or unreadable.
        conversions: How many frames were not 112 x 112 RGB JPEGs, by the conversion.
        missing: For each column of a custom table with missing values, how often each mark occurs.
        sizes: How many frames had which size, as ``112x112``.
        folders: How many images each folder of frames gave.
        differing: Images that two folders of frames have with different bytes.
        dropped_labels: Labels that were dropped on request: of each split and task, rows by reason.
    """

    policy: Policy
    repeats: Repeats
    splits: dict[Split, SplitCounts]
    shared_videos: list[str]
    shared_images: list[str]
    shared_clips: list[str]
    frames: int
    failures: list[FrameFailure]
    conversions: dict[str, int]
    form: PackedForm | None = None
    bytes: int = 0
    missing: dict[Split, dict[str, dict[str, int]]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    differing: int = 0
    dropped_labels: dict[Split, dict[Task, dict[str, int]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "policy": self.policy,
            "repeats": self.repeats,
            "splits": {split: counts.as_dict() for split, counts in self.splits.items()},
            "missing": self.missing,
            "dropped_labels": self.dropped_labels,
            "shared_videos": self.shared_videos,
            "shared_images": len(self.shared_images),
            "shared_clips": self.shared_clips,
            "frames": {
                "packed": self.frames,
                "form": self.form,
                "bytes": self.bytes,
                "failed": len(self.failures),
                "first_failed": [
                    {"image": f.image, "reason": f.reason, "message": f.message} for f in self.failures[:10]
                ],
                "conversions": self.conversions,
                "sizes": self.sizes,
                "folders": self.folders,
                "differing": self.differing,
            },
        }


def curate(
    sources: Sources,
    out: Path,
    *,
    policy: Policy = "strict",
    repeats: Repeats = "keep",
    drop: Sequence[Path] = (),
    allow_shared_videos: bool = False,
    max_missing: float = MAX_MISSING,
    pack: PackedForm = "raw",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_rows: Callable[[dict[Split, ExaminedRows]], None] | None = None,
) -> Curation:
    """Validates and filters a release.

    Writes into `out` the table (`abawkit.curation.curated_set`), ``ledger.json``, ``dropped.csv``, with `drop`
    ``dropped-labels.csv``, and, if `sources` has frames, the packed frames of all validation rows and of the training
    rows that are kept.

    Args:
        sources: The files.
        out: A folder that exists.
        policy: Which rows are kept: see `abawkit.choices.Policy`.
        repeats: How repeated rows are handled: see `abawkit.choices.Repeats`.
        drop: Lists of labels that count as not annotated: see `abawkit.curation.label_drops`.
        allow_shared_videos: Whether a video may be in both splits.
        max_missing: Share of the frames, 0 to 1, that may be missing or unreadable; their rows are dropped.
        pack: How the frames are packed: see `abawkit.choices.PackedForm`.
        workers: Decoding threads; the number of processors by default.
        progress: Called with the frames read and the frames in all.
        on_rows: Called at the end with the rows of both splits, for a report.

    Raises:
        DataError: If the annotations are invalid, the splits share videos, a list of `drop` is not about them, no row
            of a split is kept, too many frames fail, or more than a small share of them are not aligned crops.

    Warns:
        DataWarning: If clips are in both splits, hardly a row is kept, a task was never annotated, frames were resized,
            or an image is in two folders of frames with different bytes.
    """
    listed = read_label_drops(drop)
    if drop and not listed:
        warn_of_counts(f"--drop: {' and '.join(map(str, drop))} lists no label, so none is dropped")
    read = {split: read_split(sources.paths(split), sources.columns) for split in SPLITS}
    reduced = {
        split: drop_labels(source.annotations, listed, sources.paths(split)[0], split) for split, source in read.items()
    }
    annotations: dict[Split, Annotations] = {split: found.annotations for split, found in reduced.items()}
    videos, images = find_shared_names(annotations["train"], annotations["validation"])
    if not allow_shared_videos:
        refuse_shared(videos, images)
    _warn_of_unused_marks(sources, read.values())
    clips = warn_of_shared_clips(annotations["train"], annotations["validation"])
    repeated = {split: find_repeats(table) for split, table in annotations.items()}
    reasons = {split: find_reasons(table, repeated[split], policy, repeats) for split, table in annotations.items()}
    for split, source in read.items():
        _note_lost_rows(reasons[split], reduced[split], source.annotations, policy, repeats)
    frames = {split: np.full(len(table), -1, dtype=np.int64) for split, table in annotations.items()}
    counts = {split: count_split(annotations[split], repeated[split], reasons[split], repeats) for split in SPLITS}
    check_kept(counts, policy, [task for task in TASKS if any(task in source.tasks for source in read.values())])
    report = None
    if sources.frames:
        report = _pack_frames_of_splits(
            sources.frames, out, annotations, reasons, frames, max_missing, pack, workers, progress
        )
        counts = {split: count_split(annotations[split], repeated[split], reasons[split], repeats) for split in SPLITS}
    else:
        shutil.rmtree(out / FRAMES_FOLDER, ignore_errors=True)  # of an earlier set, which --force allowed
    curation = Curation(
        policy=policy,
        repeats=repeats,
        splits=counts,
        shared_videos=videos,
        shared_images=images,
        shared_clips=clips,
        frames=report.frames if report else 0,
        failures=list(report.failures) if report else [],
        form=report.form if report else None,
        bytes=report.bytes if report else 0,
        **(_select_frame_counts(report) if report else {"conversions": {}}),
        missing={split: source.missing for split, source in read.items()},
        dropped_labels={split: found.counts for split, found in reduced.items() if found.counts},
    )
    curated = {split: _make_curated_split(annotations[split], reasons[split], frames[split]) for split in SPLITS}
    write_table(out, curated, policy, report.digest if report else "")
    write_dropped(out / DROPPED_ROWS, {split: (annotations[split], reasons[split]) for split in SPLITS})
    if drop:
        write_dropped_labels(out / DROPPED_LABELS, listed)
    ledger = {
        "abawkit": abawkit.__version__,
        "sources": {split: _describe_source(sources, split) for split in SPLITS},
        **({"columns": sources.columns.names} if sources.columns else {}),
        "drop": [{"path": str(path), "sha256": sha256_of(path)} for path in drop],
        "table_sha256": sha256_of(out / CURATED_TABLE),
        "frames_digest": report.digest if report else None,
        **curation.as_dict(),
    }
    write_json(out / CURATION_LEDGER, ledger)
    if on_rows:
        on_rows({split: ExaminedRows(annotations[split], reasons[split], repeated[split]) for split in SPLITS})
    return curation


def _note_lost_rows(
    reasons: Array, reduced: DroppedLabels, before: Annotations, policy: Policy, repeats: Repeats
) -> None:
    """Adds, in place, the reason of rows that would be kept if no label had been dropped."""
    if reduced.rows.any():
        kept_before = find_reasons(before, find_repeats(before), policy, repeats) == 0
        reasons[reduced.rows & (reasons != 0) & kept_before] |= get_reason_bit("label-dropped")


def _warn_of_unused_marks(sources: Sources, read: Iterable[SplitSource]) -> None:
    """Warns of marks of missing values that are in no cell: they may be misspelt."""
    found = {mark for source in read for marks in source.missing.values() for mark in marks}
    idle = sorted((sources.columns.missing if sources.columns else frozenset()) - found)
    if idle:
        warn_of_counts(f"--missing-value: no cell of the named columns is {' or '.join(map(repr, idle))}")


def _describe_source(sources: Sources, split: Split) -> dict[str, Any]:
    """The file of a split, and those that were joined with it."""
    first, *others = [{"path": str(path), "sha256": digest_source(path)} for path in sources.paths(split)]
    return {**first, "joined_with": others} if others else dict(first)


def _pack_frames_of_splits(
    root: FramesRoot,
    out: Path,
    annotations: dict[Split, Annotations],
    reasons: dict[Split, Array],
    frames: dict[Split, Array],
    max_missing: float,
    pack: PackedForm,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> PackReport:
    """Packs the frames of kept rows; fills in `frames`, and the reasons of rows without a readable frame."""
    wanted = {
        "train": np.flatnonzero(reasons["train"] == 0),
        "validation": np.flatnonzero(annotations["validation"].any_valid),
    }
    images = [name for split in SPLITS for name in annotations[split].select(wanted[split]).images.to_pylist()]
    report = pack_frames(
        images,
        root,
        out / FRAMES_FOLDER,
        form=pack,
        workers=workers or count_processors(),
        progress=progress,
        accept=lambda packed: _refuse_unreadable_frames(root, packed, max_missing, images, len(wanted["train"])),
    )
    report.counts.warn()
    why = {failure.image: get_reason_bit(f"frame-{failure.reason}") for failure in report.failures}
    start = 0
    for split in SPLITS:
        rows = wanted[split]
        frames[split][rows] = report.frame_of_row[start : start + len(rows)]
        start += len(rows)
        for row in rows[frames[split][rows] < 0].tolist():
            reasons[split][row] |= why[annotations[split].images[row].as_py()]
    return report


def _refuse_unreadable_frames(
    root: FramesRoot, report: PackReport, max_missing: float, images: list[str], training: int
) -> None:
    """Refuses too many failures, or a split without frames; the first `training` images are the training split's."""
    total = report.frames + len(report.failures)
    failed = {failure.image for failure in report.failures}
    for split, names in zip(SPLITS, (images[:training], images[training:]), strict=True):
        if failed.issuperset(names):
            found = (
                f"{root}: none of the {format_count(len(names), f'{SPLIT_WORDS[split]} frame')} is there and readable, "
                f"the first is {names[0]}; give the right folder with --frames"
            )
            raise DataError("\n".join([found, *describe_failures(root, report.failures, total)]))
    if len(report.failures) <= max_missing * total:
        return
    raise DataError(
        "\n".join(
            [
                f"{root}: {len(report.failures):,} of {total:,} frames are missing or unreadable; the first:",
                *list_first([failure.text for failure in report.failures], 10),
                *describe_failures(root, report.failures, total),
                f"copy them again, give the right folder with --frames, or allow more than {max_missing:.1%} "
                "with --max-missing",
            ]
        )
    )


def _make_curated_split(annotations: Annotations, reasons: Array, frames: Array) -> CuratedSplit:
    rows = np.flatnonzero(annotations.any_valid)
    return CuratedSplit(annotations.select(rows), rows, reasons[rows] == 0, frames[rows])


def _select_frame_counts(report: PackReport) -> dict[str, Any]:
    counts = report.counts.as_dict()
    return {name: counts[name] for name in ("conversions", "sizes", "folders", "differing")}
