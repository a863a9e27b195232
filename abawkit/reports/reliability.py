"""The section of a report on how far probabilities can be trusted."""

from collections.abc import Collection, Mapping
from typing import Final

from abawkit.choices import Protocol
from abawkit.labels import Task
from abawkit.reports.charts import draw_reliability
from abawkit.reports.page import Chart, ReportTable, Section
from abawkit.scoring.reliability import Reliability, measure_expressions, measure_units
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations, Predictions

_TEXT: Final = (
    "Of all rows that are said to be so with 70 %, 70 % should be so: then the curve is on the diagonal. Below it, the "
    "network is surer than it is right. A bar is the 95 % range over draws of these videos; grey is the share of rows. "
    "ECE is the mean distance to the diagonal, over rows."
)


def make_reliability_sections(
    predictions: Predictions, truth: Annotations, tasks: Collection[Task], protocol: Protocol
) -> list[Section]:
    """How far the probabilities of expressions and action units can be trusted; none where neither is known.

    Args:
        predictions: Probabilities, row for row as `truth`.
        truth: The annotations.
        tasks: The tasks that the probabilities are of.
        protocol: Which rows count.
    """
    rows = select_scored_rows(truth, protocol)
    charts, tables = [], []
    if "expression" in tasks and rows["expression"].any():
        found = measure_expressions(predictions, truth, rows["expression"])
        charts.append(_chart_curve("expressions", "The chosen expression", "share that is right", found))
    if "au" in tasks and rows["au"].any():
        whole, each = measure_units(predictions, truth, rows["au"])
        charts.append(_chart_curve("units", "All action units", "share that is active", whole))
        tables.append(_tabulate_units(each))
    return [Section("Reliability of probabilities", _TEXT, charts=charts, tables=tables)] if charts else []


def _chart_curve(name: str, title: str, label: str, found: Reliability) -> Chart:
    total = int(found.count.sum())
    over = float(found.count @ (found.predicted - found.observed)) / total
    text = f"ECE {found.error:.3f}. Mean probability {abs(over):.3f} {'above' if over > 0 else 'below'} the {label}."
    share = found.count / total
    svg = draw_reliability(f"reliability-{name}", title, text, found, share, label=label)
    ranges = ["-"] * len(share)
    if found.low is not None and found.high is not None:
        ranges = [f"{low:.3f} to {high:.3f}" for low, high in zip(found.low, found.high, strict=True)]
    rows = [
        [f"{low:.1f} to {high:.1f}", f"{count:,}", f"{predicted:.3f}", f"{observed:.3f}", between]
        for (low, high), count, predicted, observed, between in zip(
            found.edges.tolist(), found.count.tolist(), found.predicted, found.observed, ranges, strict=True
        )
    ]
    columns = ["probability", "answers", "mean probability", label, "95 % range"]
    return Chart(title, text, svg, ReportTable(title, columns, rows))


def _tabulate_units(units: Mapping[str, Reliability]) -> ReportTable:
    rows = []
    for name, found in units.items():
        share = found.count / found.count.sum()
        rows.append(
            [name, *(f"{share @ values:.3f}" for values in (found.predicted, found.observed)), f"{found.error:.3f}"]
        )
    columns = ["", "mean probability", "share that is active", "ECE"]
    return ReportTable("Every action unit", columns, rows, sortable=True)
