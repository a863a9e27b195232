"""The report of a score: what it is made of, where it comes from, and in which videos it fails."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.choices import Protocol
from abawkit.errors import format_count
from abawkit.frame_columns import split_names
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from abawkit.probabilities.members import StoredMember
from abawkit.reports.charts import draw_bars, draw_density, draw_lines
from abawkit.reports.page import Cell, Chart, Page, ReportTable, Section, Tile
from abawkit.reports.reliability import make_reliability_sections
from abawkit.scoring.bootstrap import DRAWS, LEVEL, VideoStatistics, score_draws, sum_by_video
from abawkit.scoring.details import ClassDetails, Details, VideoDetails, select_long_videos
from abawkit.scoring.forecast import find_forecast_range
from abawkit.scoring.score import Score
from abawkit.scoring.scored_rows import select_answered_rows
from abawkit.tables import Annotations, Array, Submission

_SHOWN_FRAMES: Final = 10
_GAP: Final = 30
"""Frames without an annotation at which a line over time is interrupted."""


def make_score_page(
    result: Score,
    truth: Annotations,
    submission: Submission,
    *,
    member: StoredMember | None = None,
    files: Sequence[tuple[str, Path]] = (),
) -> Page:
    """The report of a score.

    Args:
        result: From `abawkit.score`, with its details.
        truth: The annotations.
        submission: One row for each row of `truth`, in its order.
        member: The probabilities that it was decided from, where they are known, likewise.
        files: What was read, by a name, for the end of the page.
    """
    if result.details is None:
        raise ValueError("the score has no details")
    sections = [_make_score_section(result), *make_detail_sections(result.details, truth, submission, result.protocol)]
    if member is not None:
        sections += make_reliability_sections(member.predictions, truth, member.tasks, result.protocol)
    videos = format_count(len(result.details.videos), "video")
    subtitle = f"{format_count(result.rows, 'row')} of {videos}, {result.protocol} protocol"
    return Page("Score", subtitle, sections, [(name, path.name) for name, path in files])


def make_detail_sections(
    details: Details, truth: Annotations, submission: Submission, protocol: Protocol
) -> list[Section]:
    """Where a score comes from: task by task, video by video, and the worst frames.

    Args:
        details: From `abawkit.scoring.details.describe_score`, of the next three.
        truth: The annotations.
        submission: One row for each row of `truth`, in its order.
        protocol: Which rows count.
    """
    statistics, masks = sum_by_video(truth, submission, protocol), select_answered_rows(truth, submission, protocol)
    sections = []
    if details.values:
        sections.append(_make_va_section(details, truth.va[masks["va"]], submission.va[masks["va"]]))
    if details.expression:
        sections.append(_make_expression_section(details, statistics))
    if details.au:
        sections.append(_make_unit_section(details, statistics))
    sections.append(_make_video_section(details.videos, truth, submission, masks.get("va")))
    if details.values:
        sections.append(_make_frame_section(truth, submission, masks["va"]))
    return sections


def _make_score_section(result: Score) -> Section:
    parts = [
        ("P", "score", result.score),
        ("CCC of valence and arousal", "ccc_va", result.ccc_va),
        ("F1 of 8 expressions", "expression_f1", result.expression_f1),
        ("F1 of 12 action units", "au_f1", result.au_f1),
    ]
    held = {"ccc_va": "va", "expression_f1": "expression", "au_f1": "au"}
    parts = [part for part in parts if part[1] == "score" or held[part[1]] in result.tasks]
    tiles = [Tile(label, f"{value:.4f}", _format_forecast(result, part)) for label, part, value in parts]
    text = ""
    if result.forecast:
        text = (
            f"The range is where a test of {format_count(result.forecast.test_videos, 'other video')} of the same kind "
            f"is expected to score, {100 * LEVEL:.0f} times in 100."
        )
    details, other = result.details, result.other
    rows = [_make_score_row(label, value, getattr(other, part) if other else None) for label, part, value in parts]
    beside = _list_accuracies(other.details) if other and other.details else {}
    for label, value in _list_accuracies(details).items() if details else ():
        rows.append(_make_score_row(label, value, beside.get(label)))
    columns = ["", f"{result.protocol}: {result.rows:,} rows"]
    if other:
        columns.append(f"{other.protocol}: {other.rows:,} rows")
    return Section("The score", text, tiles=tiles, tables=[ReportTable("Both protocols", columns, rows)])


def _list_accuracies(details: Details) -> dict[str, float]:
    found: dict[str, float] = {}
    if details.expression:
        found["accuracy, expressions"] = details.expression.accuracy
        found["balanced accuracy, expressions"] = details.expression.balanced_accuracy
    if details.au:
        found["accuracy, mean of 12 action units"] = details.au.accuracy
        found["rows with all 12 action units right"] = details.au.exact_match
    return found


def _make_score_row(label: str, value: float, other: float | None) -> list[str]:
    return [label, f"{value:.4f}", *([] if other is None else [f"{other:.4f}"])]


def _format_forecast(result: Score, part: str) -> str:
    found = result.forecast.parts.get(part) if result.forecast else None
    return f"{found.low:.3f} to {found.high:.3f}" if found else ""


def _make_va_section(details: Details, truth: Array, given: Array) -> Section:
    values = details.values or {}
    rows = [
        [
            name,
            f"{v.ccc:.4f}",
            _format_or_dash(v.pearson),
            _format_or_dash(v.accuracy),
            f"{v.rmse:.4f}",
            f"{v.bias:+.4f}",
        ]
        for name, v in values.items()
    ]
    table = ReportTable(
        "CCC is the product of Pearson's correlation and C_b",
        ["", "CCC", "Pearson", "C_b", "RMSE", "bias"],
        rows,
        wide=True,
    )
    charts = []
    for i, name in enumerate(DIMENSIONS):
        text = f"The stronger the colour, the more rows. CCC {values[name].ccc:.3f}, bias {values[name].bias:+.3f}."
        title = f"{name.capitalize()}: predicted against annotated"
        svg = draw_density(f"density-{name}", title, text, truth[:, i], given[:, i])
        charts.append(Chart(title, text, svg, _tabulate_density(truth[:, i], given[:, i])))
    text = (
        "C_b is 1 where predictions have the mean and the spread of the annotations; a smaller one can be calibrated."
    )
    return Section("Valence and arousal", text, charts=charts, tables=[table])


def _tabulate_density(truth: Array, given: Array) -> ReportTable:
    edges = np.linspace(-1, 1, 6)
    counts, *_ = np.histogram2d(truth, given, bins=[edges, edges])
    names = [f"{low:+.1f} to {high:+.1f}" for low, high in pairwise(edges.tolist())]
    rows = [[name, *(f"{count:,.0f}" for count in line)] for name, line in zip(names, counts, strict=True)]
    return ReportTable("Rows: annotated (left), predicted (top)", ["", *names], rows)


def _make_expression_section(details: Details, statistics: VideoStatistics) -> Section:
    found = details.expression
    assert found is not None  # noqa: S101 - the caller asks
    chart = _chart_f1("expressions", "F1 by expression", EXPRESSIONS, found.classes, statistics, "classes")
    rows: list[list[str | Cell]] = []
    for name, counts in zip(EXPRESSIONS, found.confusion, strict=True):
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        rows.append([name, *(Cell(f"{count:,}", share) for count, share in zip(counts, shares, strict=True))])
    confusion = ReportTable(
        "Confusion: rows annotated as (left), predicted as (top); stronger colour, larger share of the line",
        ["", *EXPRESSIONS],
        rows,
        wide=True,
    )
    return Section("Expressions", charts=[chart], tables=[_tabulate_classes("Expressions", found.classes), confusion])


def _make_unit_section(details: Details, statistics: VideoStatistics) -> Section:
    found = details.au
    assert found is not None  # noqa: S101 - the caller asks
    chart = _chart_f1("units", "F1 by action unit", ACTION_UNITS, found.units, statistics, "units")
    return Section("Action units", charts=[chart], tables=[_tabulate_classes("Action units", found.units)])


def _chart_f1(
    name: str,
    title: str,
    labels: Sequence[str],
    classes: dict[str, ClassDetails],
    statistics: VideoStatistics,
    what: str,
) -> Chart:
    """Bars of F1, with the forecast of each for a test of as many videos."""
    values = [one.f1 for one in classes.values()]
    low = high = None
    videos = len(statistics.names)
    if videos > 1:
        draws = score_draws(videos, DRAWS, 0).astype(np.float64)
        measured = statistics.measure_classes(draws) if what == "classes" else statistics.measure_units(draws)
        low, high = (end.tolist() for end in np.clip(find_forecast_range(measured, videos, videos), 0, 1))
    worst = min(zip(values, labels, strict=True))
    text = f"Lowest: {worst[1]}, {worst[0]:.3f}."
    text += " A line shows where a test of as many other videos is expected." if low is not None else ""
    svg = draw_bars(name, title, text, labels, values, low=low, high=high, label="F1")
    columns = ["", "F1", *(["from", "to"] if low and high else [])]
    rows = [
        [label, f"{values[i]:.4f}", *([f"{low[i]:.4f}", f"{high[i]:.4f}"] if low and high else [])]
        for i, label in enumerate(labels)
    ]
    return Chart(title, text, svg, ReportTable(title, columns, rows))


def _tabulate_classes(title: str, classes: dict[str, ClassDetails]) -> ReportTable:
    columns = ["", "rows", "predicted", "precision", "recall", "F1", "accuracy", "balanced"]
    rows = [
        [
            name,
            f"{one.support:,}",
            f"{one.predicted:,}",
            *map(_format_or_dash, (one.precision, one.recall, one.f1, one.accuracy, one.balanced_accuracy)),
        ]
        for name, one in classes.items()
    ]
    return ReportTable(f"{title} in full", columns, rows, sortable=True, wide=True)


def _make_video_section(
    videos: Sequence[VideoDetails], truth: Annotations, submission: Submission, scored: Array | None
) -> Section:
    known = select_long_videos(videos)
    charts = []
    if scored is not None and known:
        names, (_, frames) = truth.videos.to_numpy(zero_copy_only=False), split_names(truth.images)
        chosen = {"best": known[0], "median": known[len(known) // 2], "worst": known[-1]}
        shown = {video.name: f"{rank} video" for rank, video in reversed(chosen.items())}
        for number, video in enumerate(dict.fromkeys(video.name for video in chosen.values())):
            rows = np.flatnonzero(scored & (names == video))
            rows = rows[np.argsort(frames[rows], kind="stable")]
            for i, dimension in enumerate(DIMENSIONS):
                lines = [("annotated", truth.va[rows, i]), ("predicted", submission.va[rows, i])]
                charts.append(
                    _chart_video(f"video-{number}-{dimension}", shown[video], video, dimension, frames[rows], lines)
                )
    columns = ["video", "rows", "CCC V", "CCC A", "EXPR F1", "AU F1", "mean"]
    rows_shown = [
        [
            video.name,
            f"{video.rows:,}",
            *map(_format_or_dash, (video.ccc_valence, video.ccc_arousal, video.expression_f1, video.au_f1, video.mean)),
        ]
        for video in videos
    ]
    table = ReportTable("Every video, the best first", columns, rows_shown, sortable=True, wide=True)
    text = "F1 is the mean over the classes that a video has: few videos show all of them."
    return Section("Videos", text, charts=charts, tables=[table])


def _chart_video(
    name: str, rank: str, video: str, dimension: str, frames: Array, lines: Sequence[tuple[str, Array]]
) -> Chart:
    title = f"{dimension.capitalize()} in the {rank}, {video}"
    truth, given = (values for _, values in lines)
    if not len(frames):
        frames, lines = np.zeros(1), [(label, np.full(1, np.nan)) for label, _ in lines]
    error = f" Mean absolute error {float(np.abs(truth - given).mean()):.3f}." if len(truth) else " No annotated row."
    text = f"{format_count(len(truth), 'row')}.{error}"
    svg = draw_lines(name, title, text, frames, lines, gap=_GAP)
    parts = np.array_split(np.arange(len(truth)), min(10, max(len(truth), 1)))
    rows = [
        [
            f"{int(frames[part[0]])} to {int(frames[part[-1]])}",
            f"{truth[part].mean():+.3f}",
            f"{given[part].mean():+.3f}",
        ]
        for part in parts
        if len(part)
    ]
    return Chart(title, text, svg, ReportTable("Means over frames", ["frames", "annotated", "predicted"], rows))


def _make_frame_section(truth: Annotations, submission: Submission, scored: Array) -> Section:
    rows = np.flatnonzero(scored)
    errors = np.linalg.norm(truth.va[rows] - submission.va[rows], axis=1)
    order = np.argsort(-errors, kind="stable")[:_SHOWN_FRAMES]
    names = truth.images.take(pa.array(rows[order])).to_pylist()
    lines = [[name, f"{error:.3f}"] for name, error in zip(names, errors[order].tolist(), strict=True)]
    table = ReportTable("Distance of predicted from annotated valence and arousal", ["frame", "distance"], lines)
    return Section(
        "Worst frames", "Look at these first: an error here is often one of the crop or of the label.", tables=[table]
    )


def _format_or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
