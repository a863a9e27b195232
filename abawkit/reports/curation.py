"""The report of a curation: what was dropped and why, what is left of each class, and how the splits differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from abawkit.choices import Split
from abawkit.curation.counts import SPLIT_WORDS, SplitCounts
from abawkit.curation.curate import Curation, ExaminedRows
from abawkit.curation.curated_set import SPLITS
from abawkit.curation.rules import REASONS, get_reason_bit
from abawkit.errors import format_count
from abawkit.frame_columns import find_videos, split_names
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from abawkit.reports.charts import draw_density, draw_grouped_bars, draw_strips
from abawkit.reports.page import Cell, Chart, Page, ReportTable, Section, Tile
from abawkit.synth.rates import PUBLIC_EXPRESSIONS, PUBLIC_ROWS, PUBLIC_UNITS
from abawkit.tables import Annotations, Array

_LISTED_VIDEOS: Final = 600
"""Videos in the table; the official release has 307."""

_LISTED_FAILURES: Final = 30
_COLUMNS: Final = 100
"""Parts of a video in the strip of its coverage."""

_LINES: Final = 300
"""Lines of a strip; of more videos, neighbours share one."""


@dataclass(frozen=True)
class _Video:
    """A video of a split: its rows by their numbers, shape (n,), and their frame numbers."""

    name: str
    rows: Array
    frames: Array


def make_curation_page(
    result: Curation, rows: Mapping[Split, ExaminedRows], *, files: Sequence[tuple[str, Path]] = ()
) -> Page:
    """The report of a curation.

    Args:
        result: From `abawkit.curation.curate.curate`.
        rows: The rows of both splits, from the same.
        files: What was read and written, by a name, for the end of the page.
    """
    videos = {split: _group_videos(rows[split].annotations) for split in SPLITS}
    sections = [
        _make_overview_section(result),
        _make_dropped_section(result),
        _make_balance_section("Expressions", "expressions", EXPRESSIONS, result, rows, PUBLIC_EXPRESSIONS),
        _make_balance_section("Action units", "units", ACTION_UNITS, result, rows, PUBLIC_UNITS),
        _make_va_density_section(rows),
        _make_difference_section(rows),
        _make_missing_section(result),
        _make_coverage_section(rows, videos),
        _make_kept_videos_section(rows, videos),
    ]
    counts = [f"{format_count(result.splits[split].rows, f'{SPLIT_WORDS[split]} row')}" for split in SPLITS]
    subtitle = f"{' and '.join(counts)}, policy {result.policy}, repeats: {result.repeats}"
    return Page("Curation", subtitle, sections, [(name, str(path)) for name, path in files])


def _group_videos(annotations: Annotations) -> list[_Video]:
    """The videos of a split in the order of their names, each with its rows in the order of time."""
    encoded = find_videos(annotations.images).dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    _, frames = split_names(annotations.images)
    order = np.lexsort((frames, codes))
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    parts = [order[start:end] for start, end in pairwise(bounds.tolist())]
    found = [_Video(name or "", part, frames[part]) for name, part in zip(names, parts, strict=True)]
    return sorted(found, key=lambda video: video.name)


def _make_overview_section(result: Curation) -> Section:
    splits = result.splits
    tiles = [
        Tile(f"{SPLIT_WORDS[split]} rows kept", f"{splits[split].kept:,}", f"of {splits[split].rows:,}")
        for split in SPLITS
    ]
    tiles += [Tile(f"{SPLIT_WORDS[split]} videos", f"{splits[split].videos:,}") for split in SPLITS]
    if result.frames:
        tiles.append(Tile("frames packed", f"{result.frames:,}", f"{len(result.failures):,} missing or unreadable"))
    entries: list[tuple[str, list[int]]] = [
        ("rows", [splits[split].rows for split in SPLITS]),
        ("with valence and arousal", [splits[split].valid["va"] for split in SPLITS]),
        ("with an expression", [splits[split].valid["expression"] for split in SPLITS]),
        ("with all action units", [splits[split].valid["au"] for split in SPLITS]),
        ("with all three", [splits[split].valid["all"] for split in SPLITS]),
        ("with at least one", [splits[split].valid["any"] for split in SPLITS]),
        ("only one of V and A", [splits[split].va_partial for split in SPLITS]),
        ("only some action units", [splits[split].au_partial for split in SPLITS]),
    ]
    entries += [
        (f"kept by {policy}", [splits[split].kept_by[policy] for split in SPLITS]) for policy in splits["train"].kept_by
    ]
    entries.append(("kept, of rows with a frame" if result.frames else "kept", [splits[s].kept for s in SPLITS]))
    rows = [[name, *(f"{value:,}" for value in values)] for name, values in entries]
    rows.insert(1, ["rows of the official release", *(f"{PUBLIC_ROWS[split]:,}" for split in SPLITS)])
    return Section("Rows", tiles=tiles, tables=[ReportTable("Rows of each split", ["", *SPLITS], rows)])


def _make_dropped_section(result: Curation) -> Section:
    found = {split: result.splits[split].reasons for split in SPLITS}
    reasons = [reason for reason in REASONS if any(reason in counts for counts in found.values())]
    rows: list[list[str | Cell]] = []
    for reason in reasons:
        counts = [found[split].get(reason, 0) for split in SPLITS]
        shares = [count / max(result.splits[split].rows, 1) for count, split in zip(counts, SPLITS, strict=True)]
        rows.append([reason, *(Cell(f"{c:,} ({s:.2%})", s) for c, s in zip(counts, shares, strict=True))])
    text = (
        "A row counts once for each reason that it has, so that the counts can add up to more than the rows dropped. "
        "The table of videos, below, has them by video; dropped.csv names every row."
    )
    table = ReportTable("Rows dropped, by rule", ["rule", *SPLITS], rows)
    return Section("What was dropped", text if rows else "No row was dropped.", tables=[table] if rows else [])


def _make_balance_section(
    title: str,
    key: str,
    labels: Sequence[str],
    result: Curation,
    rows: Mapping[Split, ExaminedRows],
    published: Mapping[str, Sequence[int]],
) -> Section:
    """Counts of each class before and after, and its share of the rows that are annotated."""
    counts = {split: _get_balance(result.splits[split], key) for split in SPLITS}
    task = "expression" if key == "expressions" else "au"
    totals = {split: _count_annotated(rows[split], task) for split in SPLITS}
    groups, columns = [], [""]
    table_rows = [[label] for label in labels]
    for split in SPLITS:
        for when, values, total in zip(("all", "kept"), counts[split], totals[split], strict=True):
            groups.append((f"{split}, {when}", [value / total if total else 0.0 for value in values]))
            columns.append(f"{split}, {when}")
            for row, value in zip(table_rows, values, strict=True):
                row.append(f"{value:,}")
        columns.append(f"{split}, official")
        for row, count in zip(table_rows, published[split], strict=True):
            row.append(f"{count:,}")
    shown = [group for group in groups if group[0] != "validation, all"]
    least = int(np.argmin(shown[1][1]))
    what = "an expression" if task == "expression" else "all action units"
    heading = f"Share of the rows that are annotated with {what}"
    text = f"Rarest among the training rows kept: {labels[least]}, {shown[1][1][least]:.2%}."
    svg = draw_grouped_bars(key, heading, text, labels, shown)
    shares = [[label, *(f"{values[i]:.2%}" for _, values in groups)] for i, label in enumerate(labels)]
    chart = Chart(heading, text, svg, ReportTable(heading, ["", *(name for name, _ in groups)], shares))
    full = ReportTable(f"{title}: rows of each, beside those of the official release", columns, table_rows, wide=True)
    return Section(title, charts=[chart], tables=[full])


def _get_balance(counts: SplitCounts, key: str) -> tuple[list[int], list[int]]:
    if key == "expressions":
        return counts.expressions, counts.expressions_kept
    return counts.action_units, counts.action_units_kept


def _count_annotated(rows: ExaminedRows, task: str) -> tuple[int, int]:
    valid = rows.annotations.expression_valid if task == "expression" else rows.annotations.au_valid
    return int(valid.sum()), int((valid & (rows.reasons == 0)).sum())


def _make_va_density_section(rows: Mapping[Split, ExaminedRows]) -> Section:
    charts = []
    for split in SPLITS:
        a = rows[split].annotations
        values = a.va[a.va_valid & (rows[split].reasons == 0)]
        if not len(values):
            continue
        means = values.mean(axis=0)
        title = f"Valence and arousal, {SPLIT_WORDS[split]} rows kept"
        text = (
            f"{format_count(len(values), 'row')}; mean valence {means[0]:+.3f}, mean arousal {means[1]:+.3f}. The "
            "stronger the colour, the more rows."
        )
        svg = draw_density(f"va-{split}", title, text, values[:, 0], values[:, 1], labels=DIMENSIONS, diagonal=False)
        charts.append(Chart(title, text, svg, _tabulate_va(values)))
    return Section("Valence and arousal", "" if charts else "No row that is kept has both.", charts=charts)


def _tabulate_va(values: Array) -> ReportTable:
    edges = np.linspace(-1, 1, 6)
    counts, *_ = np.histogram2d(values[:, 1], values[:, 0], bins=[edges, edges])
    names = [f"{low:+.1f} to {high:+.1f}" for low, high in pairwise(edges.tolist())]
    cells = [[name, *(f"{count:,.0f}" for count in line)] for name, line in zip(names, counts, strict=True)]
    return ReportTable("Rows: arousal (left), valence (top)", ["", *names], cells[::-1])


def _make_difference_section(rows: Mapping[Split, ExaminedRows]) -> Section:
    """How far validation is from training, each task by one number that is stated."""
    train, validation = (_describe_distribution(rows[split]) for split in SPLITS)
    tiles, lines = [], []
    if train.expressions is not None and validation.expressions is not None:
        apart = float(np.abs(train.expressions - validation.expressions).sum() / 2)
        tiles.append(Tile("expressions", f"{apart:.3f}", "half the sum of |difference of shares|, 0..1"))
        lines += _compare_shares(EXPRESSIONS, train.expressions, validation.expressions)
    if train.units is not None and validation.units is not None:
        apart = float(np.abs(train.units - validation.units).mean())
        tiles.append(Tile("action units", f"{apart:.3f}", "mean |difference of shares|, 0..1"))
        lines += _compare_shares(ACTION_UNITS, train.units, validation.units)
    moments = []
    if train.va is not None and validation.va is not None:
        for i, name in enumerate(DIMENSIONS):
            (mean, spread), (other, other_spread) = train.va[:, i], validation.va[:, i]
            shift = (other - mean) / spread if spread else 0.0
            tiles.append(Tile(name, f"{shift:+.3f}", "difference of means in training deviations"))
            moments.append(
                [name, f"{mean:+.3f}", f"{other:+.3f}", f"{spread:.3f}", f"{other_spread:.3f}", f"{shift:+.3f}"]
            )
    text = (
        "Of the rows that are kept. A rule that is fitted on validation, as thresholds and biases are, takes such "
        "differences for granted; the test set has differences of its own."
    )
    tables = [ReportTable("Shares of rows", ["", *SPLITS, "difference, points"], lines)] if lines else []
    if moments:
        columns = ["", "mean, train", "mean, validation", "deviation, train", "deviation, validation", "shift"]
        tables.append(ReportTable("Means and deviations", columns, moments))
    return Section("How far training and validation differ", text, tiles=tiles, tables=tables)


@dataclass(frozen=True)
class _Distribution:
    """Of the rows kept: shares of classes (8,), shares of units (12,), mean and deviation of V and A (2, 2)."""

    expressions: Array | None
    units: Array | None
    va: Array | None


def _describe_distribution(rows: ExaminedRows) -> _Distribution:
    a, kept = rows.annotations, rows.reasons == 0
    expression, au, va = a.expression[a.expression_valid & kept], a.au[a.au_valid & kept], a.va[a.va_valid & kept]
    return _Distribution(
        np.bincount(expression, minlength=len(EXPRESSIONS)) / len(expression) if len(expression) else None,
        au.mean(axis=0) if len(au) else None,
        np.stack([va.mean(axis=0), va.std(axis=0)]) if len(va) else None,
    )


def _compare_shares(labels: Sequence[str], first: Array, second: Array) -> list[list[str | Cell]]:
    rows: list[list[str | Cell]] = []
    for label, a, b in zip(labels, first.tolist(), second.tolist(), strict=True):
        rows.append([label, f"{a:.2%}", f"{b:.2%}", Cell(f"{100 * (b - a):+.2f}", min(1.0, 4 * abs(b - a)))])
    return rows


def _make_missing_section(result: Curation) -> Section:
    splits = result.splits
    reasons = {failure.reason for failure in result.failures}
    unseen = "" if result.frames else "labels only: not looked for"
    count = {reason: sum(failure.reason == reason for failure in result.failures) for reason in reasons}
    tiles = [
        Tile("frames missing", f"{count.get('missing', 0):,}" if result.frames else "-", unseen),
        Tile("frames unreadable", f"{count.get('unreadable', 0):,}" if result.frames else "-", unseen),
        Tile("repeated rows", f"{sum(splits[s].repeated for s in SPLITS):,}", "their image is in a row before"),
        Tile("conflicting images", f"{sum(splits[s].conflicting for s in SPLITS):,}", "rows with other labels"),
        Tile("images in both splits", f"{len(result.shared_images):,}"),
    ]
    tables = []
    if result.failures:
        listed = [[failure.image, failure.reason, failure.message] for failure in result.failures[:_LISTED_FAILURES]]
        first = f"The first {_LISTED_FAILURES} of" if len(result.failures) > _LISTED_FAILURES else "All of"
        caption = f"{first} {format_count(len(result.failures), 'frame')} that could not be packed"
        tables.append(ReportTable(caption, ["frame", "reason", "found"], listed, text_columns=3, wide=True))
    for caption, counts in (
        ("Sizes of the images", result.sizes),
        ("Converted", result.conversions),
        ("Images by folder", result.folders),
    ):
        if counts:
            tables.append(ReportTable(caption, ["", "frames"], [[name, f"{n:,}"] for name, n in counts.items()]))
    if result.shared_clips:
        tables.append(
            ReportTable("Clips with videos in both splits", ["clip"], [[name] for name in result.shared_clips[:50]])
        )
    return Section("Frames and repeats", tiles=tiles, tables=tables)


def _make_coverage_section(rows: Mapping[Split, ExaminedRows], videos: Mapping[Split, Sequence[_Video]]) -> Section:
    charts = []
    for split in SPLITS:
        a = rows[split].annotations
        tasks = a.va_valid.astype(np.float64) + a.expression_valid + a.au_valid
        lines = [_find_coverage(video, tasks / 3) for video in videos[split] if (video.frames >= 0).all()]
        if not lines:
            continue
        picture = np.array(lines)
        title = f"Annotated tasks over each {SPLIT_WORDS[split]} video"
        text = (
            f"{format_count(len(lines), 'video')} from top to bottom, in the order of their names; left to right from "
            "frame 0 to the last listed one. No colour: no row; full colour: all three tasks."
        )
        svg = draw_strips(f"coverage-{split}", title, text, _merge_lines(picture), len(lines))
        charts.append(Chart(title, text, svg, _tabulate_coverage(picture)))
    text = "Blank parts are frames that the lists do not name; pale ones lack tasks."
    return Section(
        "Coverage of the videos", text if charts else "Names without frame numbers have none.", charts=charts
    )


def _find_coverage(video: _Video, tasks: Array) -> Array:
    """Share of tasks that are annotated, over the parts of a video, shape (_COLUMNS,); nan where no row is."""
    part = video.frames * _COLUMNS // (int(video.frames.max(initial=0)) + 1)
    rows = np.bincount(part, minlength=_COLUMNS)
    return np.bincount(part, weights=tasks[video.rows], minlength=_COLUMNS) / np.where(rows, rows, np.nan)


def _merge_lines(picture: Array) -> Array:
    """At most `_LINES` lines; of more, neighbours are averaged."""
    if len(picture) <= _LINES:
        return picture
    parts = np.array_split(np.arange(len(picture)), _LINES)
    known, values = np.isfinite(picture), np.nan_to_num(picture)
    counts = np.array([known[part].sum(axis=0) for part in parts])
    sums = np.array([values[part].sum(axis=0) for part in parts])
    return np.asarray(sums / np.where(counts, counts, np.nan))


def _tabulate_coverage(picture: Array) -> ReportTable:
    """Means over all videos by tenths of their length."""
    rows = []
    for i, part in enumerate(np.array_split(picture, 10, axis=1)):
        known = np.isfinite(part)
        mean = f"{np.nansum(part) / known.sum():.1%}" if known.any() else "-"
        rows.append([f"{10 * i} to {10 * i + 10} %", f"{known.mean():.1%}", mean])
    return ReportTable("Over all videos", ["part of the video", "has rows", "tasks annotated"], rows)


def _make_kept_videos_section(rows: Mapping[Split, ExaminedRows], videos: Mapping[Split, Sequence[_Video]]) -> Section:
    bits = {reason: get_reason_bit(reason) for reason in REASONS}
    bits = {reason: bit for reason, bit in bits.items() if any((rows[s].reasons & bit).any() for s in SPLITS)}
    lines = []
    for split in SPLITS:
        found = rows[split]
        for video in videos[split]:
            reasons = found.reasons[video.rows]
            kept = int((reasons == 0).sum())
            known = video.frames[video.frames >= 0]
            gap = f"{int(np.diff(known).max()):,}" if len(known) > 1 else "-"
            last = f"{int(known.max()):,}" if len(known) else "-"
            counts = [int(((reasons & bit) != 0).sum()) for bit in bits.values()]
            repeated = int(found.repeated.later[video.rows].sum())
            cells = [f"{len(reasons):,}", f"{kept:,}", f"{kept / len(reasons):.0%}", last, gap, f"{repeated:,}"]
            lines.append((kept / len(reasons), [video.name, split, *cells, *(f"{n:,}" if n else "" for n in counts)]))
    lines.sort(key=lambda line: line[0])
    shown = [line for _, line in lines[:_LISTED_VIDEOS]]
    columns = ["video", "split", "rows", "kept", "share", "last frame", "largest gap", "repeated", *bits]
    all_of = "Every video" if len(shown) == len(lines) else f"{len(shown):,} of {len(lines):,} videos"
    caption = f"{all_of}, those that lose most first; under each rule the rows that it drops"
    table = ReportTable(caption, columns, shown, text_columns=2, sortable=True, wide=True)
    return Section("Videos", tables=[table])
