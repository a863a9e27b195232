"""The report of an ablation: what each choice is worth, how far seeds are apart, and what was trained for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from abawkit.ablation.report import PART_TITLES, Report, Row
from abawkit.choices import Protocol
from abawkit.errors import format_count
from abawkit.reports.charts import draw_differences, draw_points
from abawkit.reports.page import Chart, Page, ReportTable, Section

_LONGEST: Final = 26
"""Characters of a title in a chart."""

_SHOWN_SEEDS: Final = 10
"""Columns of the table of P by seed."""


def make_ablation_page(found: Report) -> Page:
    """The report of an ablation.

    Args:
        found: From `abawkit.ablation.run.ablate`.
    """
    content = found.content
    sections = [
        Section(
            "The table",
            "Means over seeds. The first row is the base; every other row changes one choice. The difference is that "
            "to the base, with its 95 % interval over videos and seeds.",
            tables=[_tabulate_rows(found.rows, protocol) for protocol in _list_protocols(found)],
        ),
        _make_worth_section(found),
        _make_seeds_section(found),
    ]
    if any(row.fitted for row in found.rows):
        sections.append(_make_optimism_section(found))
    sections.append(_make_runs_section(content))
    sections.append(Section("How it was made", notes=found.notes))
    subtitle = (
        f"{format_count(len(found.rows), 'row')}, {format_count(len(content['seeds']), 'seed')}, "
        f"{format_count(content['videos'], 'validation video')}, {found.protocol} protocol first"
    )
    facts = [
        ("Release", content["release"].replace("drawn, ", "synthetic, ")),
        ("Recipe of the base", ", ".join([content["recipe"]["name"], *content["recipe"]["set"]])),
        ("Weights at the start", "a stand-in" if content["start"]["stand_in"] else content["start"]["path"]),
        ("SHA-256 of them", content["start"]["sha256"]),
    ]
    return Page("Ablation", subtitle, sections, facts)


def _list_protocols(found: Report) -> list[Protocol]:
    """The main protocol first."""
    return [found.protocol, *(each for each in found.rows[0].scores if each != found.protocol)]


def _tabulate_rows(rows: Sequence[Row], protocol: Protocol) -> ReportTable:
    lines = []
    for row in rows:
        scores = row.scores[protocol]
        deviation = f"{scores.deviation['score']:.4f}" if scores.deviation else "-"
        line = [row.title, str(len(row.seeds)), *(f"{scores.mean[part]:.4f}" for part in PART_TITLES.values())]
        gap = scores.difference.get("score")
        if gap is None:
            line += [deviation, "-", "-", "-", "-"]
        else:
            line += [
                deviation,
                f"{gap.value:+.4f}",
                f"{gap.low:+.4f}",
                f"{gap.high:+.4f}",
                _name_noise(gap.within_noise),
            ]
        lines.append(line)
    columns = ["", "seeds", *PART_TITLES, "deviation of P", "difference", "from", "to", "within noise"]
    return ReportTable(f"{protocol.capitalize()} protocol", columns, lines, sortable=True, wide=True)


def _make_worth_section(found: Report) -> Section:
    others = [row for row in found.rows if row.scores[found.protocol].difference]
    names = [row.title for row in others]
    charts = []
    for title, part in sorted(PART_TITLES.items(), key=lambda each: each[0] != "P"):
        gaps = [row.scores[found.protocol].difference[part] for row in others]
        heading = f"{title}: difference to the base"
        beyond = [name for name, gap in zip(names, gaps, strict=True) if not gap.within_noise]
        seen = f"Beyond noise: {', '.join(beyond) or 'none'}."
        ends = [[gap.value for gap in gaps], [gap.low for gap in gaps], [gap.high for gap in gaps]]
        svg = draw_differences(
            f"difference-{part.replace('_', '-')}", heading, seen, names, *ends, label="difference", longest=_LONGEST
        )
        rows = [
            [name, f"{gap.value:+.4f}", f"{gap.low:+.4f}", f"{gap.high:+.4f}", _name_noise(gap.within_noise)]
            for name, gap in zip(names, gaps, strict=True)
        ]
        table = ReportTable(heading, ["", "difference", "from", "to", "within noise"], rows)
        charts.append(Chart(heading, seen, svg, table))
    text = (
        f"Each row less the base, {found.protocol} protocol. A line is the 95 % interval; a hollow mark is within "
        "noise, as its interval holds 0. Of this many differences some are beyond noise by chance alone."
    )
    return Section("What each choice is worth", text, charts=charts)


def _make_seeds_section(found: Report) -> Section:
    names = [row.title for row in found.rows]
    values = [row.scores[found.protocol].each[:, -1].tolist() for row in found.rows]
    spread = [max(each) - min(each) for each in values]
    widest = max(range(len(names)), key=spread.__getitem__)
    title = "P of each seed"
    seen = f"Furthest apart: {names[widest]}, by {spread[widest]:.3f}. The upright line is the mean."
    svg = draw_points("seeds", title, seen, names, values, label="P")
    shown = min(_SHOWN_SEEDS, max(map(len, values)))
    rows = [
        [name, *(f"{value:.4f}" for value in each[:shown]), *[""] * (shown - len(each))]
        for name, each in zip(names, values, strict=True)
    ]
    columns = ["", *(f"{i}" for i in range(1, shown + 1))]
    text = "How far seeds of one choice are apart, a single run can't tell. An ensemble has one score for all seeds."
    return Section("Seeds", text, charts=[Chart(title, seen, svg, ReportTable(title, columns, rows))])


def _make_optimism_section(found: Report) -> Section:
    rows = []
    for row in found.rows:
        if row.fitted:
            inside = sum(row.in_sample) / len(row.in_sample)
            outside = row.scores[found.protocol].mean["score"]
            rows.append([row.title, f"{outside:.4f}", f"{inside:.4f}", f"{inside - outside:+.4f}"])
    text = (
        "A rule scores better on the rows that it was fitted on than on others. Only the first column, cross-fitted, "
        "is in the table above."
    )
    table = ReportTable("P of what is fitted", ["", "cross-fitted", "in-sample", "too good by"], rows, wide=True)
    return Section("Fitted rules", text, tables=[table])


def _make_runs_section(content: Mapping[str, Any]) -> Section:
    rows = [
        [
            run["variant"],
            ", ".join(run["tasks"]),
            run["policy"],
            ", ".join(run["changes"]) or "-",
            str(run["seed"]),
            f"{run['rows']:,}",
            f"{run['steps']:,}",
        ]
        for run in content["runs"]
    ]
    columns = ["variant", "tasks", "curation", "changes of the recipe", "seed", "training rows", "steps"]
    table = ReportTable("Networks", columns, rows, text_columns=4, sortable=True, wide=True)
    return Section("What was trained", tables=[table])


def _name_noise(within: bool) -> str:
    return "yes" if within else "no"
