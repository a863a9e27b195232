"""The report of a comparison: which submission is better by more than noise, and where submissions differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from abawkit.errors import format_count
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS
from abawkit.reports.charts import draw_differences, draw_dots
from abawkit.reports.page import Cell, Chart, Page, ReportTable, Section
from abawkit.scoring.bootstrap import describe_few_videos
from abawkit.scoring.comparison import Comparison, ScoreComparison
from abawkit.scoring.details import LONG, describe_score
from abawkit.tables import Annotations, Submission

PART_LABELS: Final = {
    "score": "P",
    "ccc_va": "CCC",
    "expression_f1": "F1 expressions",
    "au_f1": "F1 action units",
}
"""The parts of a score, P first."""

_MOST_VIDEOS: Final = 30
_SHOWN_SERIES: Final = 3


def make_comparison_page(
    found: Comparison, truth: Annotations, submissions: Sequence[Submission], truth_path: Path
) -> Page:
    """The report of a comparison.

    Args:
        found: From `abawkit.compare`, with scores.
        truth: The annotations.
        submissions: The submissions that were compared, row for row as `truth`.
        truth_path: Where `truth` was read, for the end of the page.
    """
    scores = list(found.scores.values())
    first = scores[0]
    sections = [
        _make_ranking_section(scores),
        _make_differences_section(first),
        Section(
            "Every pair",
            "The score of the submission at the left less that of the one at the top. In brackets: within noise, as "
            "the interval of the difference holds 0.",
            tables=[_tabulate_pairs(each) for each in scores],
        ),
    ]
    if {"expression", "au"} & set(first.scores[0].tasks):
        sections.append(_make_class_section(first))
    sections.append(_make_differing_videos_section(first, truth, submissions))
    sections.append(_make_answers_section(found))
    counted = f"{format_count(first.scores[0].rows, 'row')} of {format_count(first.videos, 'video')}"
    facts = [("Submission", name) for name in found.names]
    facts += [("Truth", truth_path.name), ("Draws of the bootstrap", f"{first.draws:,}")]
    subtitle = f"{len(found.names)} submissions on {counted}, {first.protocol} protocol"
    return Page("Comparison of submissions", subtitle, sections, facts)


def _list_parts(scores: ScoreComparison) -> dict[str, str]:
    """The parts that are scored, and their labels; without P where it is one task's part."""
    parts = scores.parts if len(scores.parts) > 2 else scores.parts[:1]
    labels = PART_LABELS if scores.scores[0].tasks == TASKS else PART_LABELS | {"score": "sum of two tasks"}
    return {part: label for part, label in labels.items() if part in parts}


def _make_ranking_section(scores: Sequence[ScoreComparison]) -> Section:
    tables = []
    for each in scores:
        parts = _list_parts(each)
        rows = [[each.names[i], *(f"{each.forecasts[i][part].value:.4f}" for part in parts)] for i in each.ranking]
        caption = f"{each.protocol.capitalize()} protocol: {format_count(each.scores[0].rows, 'row')}, the best first"
        tables.append(ReportTable(caption, ["", *parts.values()], rows, sortable=True, wide=True))
    return Section("Scores", f"{scores[0].describe_leaders()}.", tables=tables)


def _make_differences_section(scores: ScoreComparison) -> Section:
    best, *others = scores.ranking
    text = (
        f"Each score less that of {scores.names[best]}, the best. A line is the 95 % interval of the difference on all "
        "videos of this kind, from a bootstrap over videos; a hollow mark is within noise, as its interval holds 0."
    )
    if len(scores.pairs) > 1:
        text += (
            f" The intervals of all {len(scores.pairs)} pairs are simultaneous, by the maximum statistic: set so that "
            "95 times in 100, all of them hold at once; in simulations, they did 88 to 94 times."
        )
    elif note := describe_few_videos(scores.videos):
        text += f" Note: {note}."
    names = [scores.names[i] for i in others]
    charts = []
    for part, label in _list_parts(scores).items():
        found = [scores.find_difference(i, best)[part] for i in others]
        noise = sum(each.within_noise for each in found)
        seen = f"Within noise: {noise} of {len(found)}."
        title = f"{label}: difference to the best"
        ends = [[each.value for each in found], [each.low for each in found], [each.high for each in found]]
        key = f"difference-{part.replace('_', '-')}"
        svg = draw_differences(key, title, seen, names, *ends, label="difference")
        rows = [
            [name, f"{each.value:+.4f}", f"{each.low:+.4f}", f"{each.high:+.4f}", "yes" if each.within_noise else "no"]
            for name, each in zip(names, found, strict=True)
        ]
        table = ReportTable(title, ["", "difference", "from", "to", "within noise"], rows)
        charts.append(Chart(title, seen, svg, table))
    return Section("Differences to the best", text, charts=charts)


def _tabulate_pairs(scores: ScoreComparison) -> ReportTable:
    whole = next(iter(_list_parts(scores).values()))
    order = scores.ranking
    rows: list[list[str | Cell]] = []
    for i in order:
        cells: list[str | Cell] = []
        for j in order:
            if i == j:
                cells.append("")
                continue
            gap = scores.find_difference(i, j)["score"]
            cells.append(f"({gap.value:+.4f})" if gap.within_noise else Cell(f"{gap.value:+.4f}", 0.6))
        rows.append([f"{len(rows) + 1} {scores.names[i]}", *cells])
    caption = f"Differences in {whole}, {scores.protocol} protocol"
    return ReportTable(caption, ["", *(str(number) for number in range(1, len(order) + 1))], rows, wide=True)


def _make_class_section(scores: ScoreComparison) -> Section:
    order, tasks = scores.ranking, scores.scores[0].tasks
    kinds: list[tuple[str, str, Sequence[str], list[list[float]]]] = []
    if "expression" in tasks:
        kinds.append(
            ("expressions", "expression", EXPRESSIONS, [scores.scores[i].expression_f1_per_class for i in order])
        )
    if "au" in tasks:
        kinds.append(("units", "action unit", ACTION_UNITS, [scores.scores[i].au_f1_per_unit for i in order]))
    names = [scores.names[i] for i in order]
    charts, tables = [], []
    for name, kind, labels, values in kinds:
        shown = list(zip(names, values, strict=True))[:_SHOWN_SERIES]
        title = f"F1 by {kind}" + (f": the best {len(shown)}" if len(names) > len(shown) else "")
        spread = [max(column) - min(column) for column in zip(*values, strict=True)]
        widest = max(range(len(labels)), key=spread.__getitem__)
        seen = f"Furthest apart over all submissions: {labels[widest]}, by {spread[widest]:.3f}."
        rows: list[list[str | Cell]] = [
            [label, *(Cell(f"{value:.4f}", value) for value in column)]
            for label, column in zip(labels, zip(*values, strict=True), strict=True)
        ]
        svg = draw_dots(name, title, seen, labels, shown, label="F1")
        numbers = ReportTable(title, ["", *names[: len(shown)]], [row[: 1 + len(shown)] for row in rows])
        charts.append(Chart(title, seen, svg, numbers))
        if len(names) > len(shown):
            tables.append(ReportTable(f"F1 by {kind}; stronger colour, higher F1", ["", *names], rows, wide=True))
    return Section("Classes", charts=charts, tables=tables)


def _make_differing_videos_section(
    scores: ScoreComparison, truth: Annotations, submissions: Sequence[Submission]
) -> Section:
    """The videos on which the submissions are furthest apart."""
    order = scores.ranking
    means: dict[str, list[float]] = {}
    rows_of: dict[str, int] = {}
    for i in order:
        for video in describe_score(truth, submissions[i], scores.protocol).videos:
            rows_of[video.name] = video.rows
            if video.mean is not None and video.rows >= LONG:
                means.setdefault(video.name, []).append(video.mean)
    spread = {name: max(values) - min(values) for name, values in means.items() if len(values) == len(order)}
    chosen = sorted(spread, key=lambda name: (-spread[name], name))[:_MOST_VIDEOS]
    rows: list[list[str | Cell]] = [
        [
            name,
            f"{rows_of[name]:,}",
            f"{spread[name]:.3f}",
            *(Cell(f"{value:.3f}", max(0.0, min(1.0, value))) for value in means[name]),
        ]
        for name in chosen
    ]
    columns = ["video", "rows", "apart", *(scores.names[i] for i in order)]
    table = ReportTable("Where submissions differ most", columns, rows, sortable=True, wide=True)
    text = (
        f"Mean of the tasks' scores on each video of {LONG} rows or more, by how far the submissions are apart. "
        "F1 is over the classes that a video has."
    )
    return Section("Videos", text, tables=[table])


def _make_answers_section(found: Comparison) -> Section:
    rows = [
        [found.names[first], found.names[second], *changes.describe().values()]
        for (first, second), changes in found.changes.items()
    ]
    headings = next(iter(found.changes.values())).describe()
    text = (
        "Mean absolute difference of valence and arousal, and the share of other decisions, over all rows of the list."
    )
    table = ReportTable(
        "How the answers differ", ["one", "other", *headings], rows, text_columns=2, sortable=True, wide=True
    )
    return Section("Answers", text, tables=[table])
