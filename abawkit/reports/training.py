"""The report of a training run, made of the files in its folder: how it went, what it reached, and what was run.

The maps of attention need the curated set as well.
"""

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.errors import format_count
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS
from abawkit.reports.charts import draw_bars, draw_lines
from abawkit.reports.gates import make_gate_sections
from abawkit.reports.page import Cell, Chart, Page, ReportTable, Section, Tile
from abawkit.reports.run_metrics import Lines, get_class_scores, list_scored_parts, read_metrics
from abawkit.run_names import BEST, MANIFEST, RECIPE
from abawkit.system.json_records import read_object
from abawkit.training.goodput import ACTIVITIES, ACTIVITY_WORDS

_SHOWN_EPOCHS: Final = 12
"""Columns of the table of F1 by epoch."""

_LOSSES: Final = {"va": "valence and arousal", "expression": "expressions", "au": "action units"}


def make_training_page(run: Path, *, with_frames: bool = False) -> Page:
    """The report of a finished run.

    Args:
        run: The folder, with recipe, manifest and metrics.
        with_frames: Whether validation frames are shown beside the maps of attention; synthetic ones always are.

    Raises:
        DataError: If the manifest can't be read.
    """
    manifest = read_object(run / MANIFEST, "the manifest of a run")
    recipe = tomllib.loads((run / RECIPE).read_text(encoding="utf-8"))
    lines = read_metrics(run)
    sections = [
        _make_result_section(manifest, lines),
        _make_progress_section(lines),
        *_make_class_sections(manifest, lines),
        *make_gate_sections(run, manifest, with_frames=with_frames),
        _make_time_section(manifest),
        _make_provenance_section(recipe, manifest),
        _make_next_section(run, manifest),
    ]
    rows = manifest["rows"]
    subtitle = (
        f"{recipe['network']} on {format_count(rows['train'], 'training row')}, scored on "
        f"{format_count(rows['validation'], 'validation row')} after each of {format_count(len(lines), 'epoch')}"
    )
    facts = [("Run", str(run)), ("Data", str(manifest["data"]["folder"])), ("Digest", manifest["checkpoints"][BEST])]
    return Page("Training", subtitle, sections, facts)


def _make_result_section(manifest: Mapping[str, Any], lines: Lines) -> Section:
    best = manifest["best"]
    protocols = [name for name in ("official", "strict") if name in best]
    protocol, fold = _find_protocol(best), manifest.get("fold")
    scores = best[protocol]
    parts = {"score": "P" if list(manifest["tasks"]) == list(TASKS) else "sum of the parts", **list_scored_parts(lines)}
    tiles = [Tile(name, f"{scores[key]:.4f}") for key, name in parts.items() if scores[key] is not None]
    tiles.append(Tile("best epoch", str(best["epoch"]), f"of {len(lines)}"))
    tiles.append(Tile("goodput", f"{100 * manifest['goodput']['share']:.0f} %", "of the time in training steps"))
    rows = [[name, *(_format_score(best[protocol][key]) for protocol in protocols)] for key, name in parts.items()]
    columns = ["", *(f"{protocol}: {best[protocol]['rows']:,} rows" for protocol in protocols)]
    if protocol == best["selected_by"]:
        text = (
            f"Scores of the best epoch, chosen on the rows that it is scored on by the {protocol} protocol: other data "
            "is expected to score lower."
        )
    else:
        text = "Scores of the last epoch, which is kept as the best."
    if fold:
        text += f" Scored on: {fold['validated_on']}."
    return Section("Result", text, tiles=tiles, tables=[ReportTable("Both protocols", columns, rows)])


def _find_protocol(best: Mapping[str, Any]) -> str:
    """The protocol that the best epoch was chosen by; the official one where it is the last epoch."""
    return str(best["selected_by"]) if best["selected_by"] in best else "official"


def _make_progress_section(lines: Lines) -> Section:
    losses, parts = list(lines[-1]["losses"]), list_scored_parts(lines)
    protocols = [name for name in ("official", "strict") if any(name in line for line in lines)]
    charts = [_chart_epochs("loss", "Loss in training", lines, [("total", "losses", "total")])]
    tasks = [(name, "losses", key) for key, name in _LOSSES.items() if key in losses]
    charts.append(_chart_epochs("losses", "Loss by task", lines, tasks))
    if "attention" in losses:
        charts.append(_chart_epochs("attention", "Attention loss", lines, [("attention", "losses", "attention")]))
    charts.append(_chart_epochs("score", "Score on validation", lines, [(name, name, "score") for name in protocols]))
    for protocol in protocols:
        entries = [(name, protocol, key) for key, name in parts.items()]
        charts.append(_chart_epochs(f"parts-{protocol}", f"Parts of the score, {protocol} protocol", lines, entries))
    charts.append(_chart_epochs("rate", "Learning rate", lines, [("learning rate", "", "learning_rate")]))
    charts.append(_chart_epochs("speed", "Images per second", lines, [("images per second", "", "images_per_second")]))
    return Section("Progress", "Losses are means over the rows of an epoch; scores are taken after it.", charts=charts)


def _chart_epochs(name: str, title: str, lines: Lines, entries: Sequence[tuple[str, str, str]]) -> Chart:
    """Values by epoch: for each line of the chart its label, the group in the metrics (or none) and the key."""
    at = np.array([line["epoch"] for line in lines])
    values = {
        label: np.array([np.nan if (v := _get_value(line, group, key)) is None else v for line in lines], np.float64)
        for label, group, key in entries
    }
    first, last = lines[0]["epoch"], lines[-1]["epoch"]
    seen = [
        f"{label} from {series[0]:.4g} in epoch {first} to {series[-1]:.4g} in epoch {last}"
        for label, series in values.items()
    ]
    text = f"{'; '.join(seen)}."
    text = text[0].upper() + text[1:]
    svg = draw_lines(name, title, text, at, list(values.items()), label="epoch", limits=None, whole=True)
    rows = [
        [str(epoch), *(f"{series[i]:.4g}" if np.isfinite(series[i]) else "-" for series in values.values())]
        for i, epoch in enumerate(at.tolist())
    ]
    return Chart(title, text, svg, ReportTable(title, ["epoch", *values], rows))


def _get_value(line: Mapping[str, Any], group: str, key: str) -> float | None:
    found: float | None = (line.get(group, {}) if group else line).get(key)
    return found


def _make_class_sections(manifest: Mapping[str, Any], lines: Lines) -> list[Section]:
    """F1 of each class: of the best epoch as bars, over the epochs as a shaded table."""
    best = manifest["best"]
    protocol = _find_protocol(best)
    scores = best[protocol]
    shown = _choose_epochs(lines, best["epoch"])
    sections = []
    for key, title, name, labels in (
        ("expression_f1_per_class", "Expressions", "expressions", EXPRESSIONS),
        ("au_f1_per_unit", "Action units", "units", ACTION_UNITS),
    ):
        found = scores[key]
        if found is None:
            continue
        values = [float(found[label]) for label in labels]
        heading = f"F1 in the best epoch, {protocol} protocol"
        worst = min(zip(values, labels, strict=True))
        text = f"Lowest: {worst[1]}, {worst[0]:.3f}."
        svg = draw_bars(name, heading, text, labels, values, label="F1")
        table = ReportTable(heading, ["", "F1"], [[label, f"{found[label]:.4f}"] for label in labels])
        tables = []
        if any(get_class_scores(line) for line in lines):
            rows = [[label, *(_make_cell(get_class_scores(line).get(label)) for line in shown)] for label in labels]
            columns = ["", *(f"epoch {line['epoch']}" for line in shown)]
            tables = [ReportTable("F1 after each epoch; stronger colour, higher", columns, rows)]
        sections.append(Section(title, charts=[Chart(heading, text, svg, table)], tables=tables))
    return sections


def _choose_epochs(lines: Lines, best: int) -> list[Mapping[str, Any]]:
    """The lines of all epochs, or of some that are evenly apart, the best among them."""
    if len(lines) <= _SHOWN_EPOCHS:
        return list(lines)
    chosen = {*np.linspace(0, len(lines) - 1, _SHOWN_EPOCHS - 1).round().astype(int).tolist(), best - 1}
    return [lines[i] for i in sorted(chosen)]


def _make_cell(value: float | None) -> str | Cell:
    return "-" if value is None else Cell(f"{value:.3f}", value)


def _make_time_section(manifest: Mapping[str, Any]) -> Section:
    goodput = manifest["goodput"]
    seconds = goodput["seconds"]
    total = sum(seconds.values()) or 1.0
    labels, shares = [ACTIVITY_WORDS[a] for a in ACTIVITIES], [seconds[a] / total for a in ACTIVITIES]
    title = "Share of the wall time"
    text = f"{100 * shares[ACTIVITIES.index('steps')]:.0f} % of {total:,.0f} s were training steps that counted."
    svg = draw_bars("time", title, text, labels, shares, label="share")
    rows = [
        [word, f"{seconds[a]:,.1f}", f"{100 * share:.1f}"]
        for a, word, share in zip(ACTIVITIES, labels, shares, strict=True)
    ]
    chart = Chart(title, text, svg, ReportTable(title, ["", "seconds", "per cent"], rows))
    resumed = manifest["resumed"]
    repeated = format_count(goodput["lost_steps"], "step")
    about = f"The run was continued {len(resumed)} times; {repeated} had to be repeated." if resumed else ""
    about += " Lost work is what was done after the last checkpoint before a kill." if goodput["lost_steps"] else ""
    return Section("Where the time went", about.strip(), charts=[chart])


def _make_provenance_section(recipe: Mapping[str, Any], manifest: Mapping[str, Any]) -> Section:
    keys = [[key, _format_setting(value)] for key, value in _list_settings(recipe)]
    data, environment = manifest["data"], manifest["environment"]
    made = [["curated set", data["folder"]], ["policy", data["policy"]], ["digest of the table", data["table_digest"]]]
    weights = manifest["weights"]
    made += [[f"fold, {key}", _format_setting(value)] for key, value in _list_settings(manifest.get("fold") or {})]
    made.append(["weights at the start", weights["path"] if weights else "random numbers"])
    made += [[f"weights of {name}", digest] for name, digest in manifest["checkpoints"].items()]
    machine = [[key, _format_setting(value)] for key, value in _list_settings(environment)]
    tables = [
        ReportTable("Recipe, with every default", ["key", "value"], keys, text_columns=2, sortable=True),
        ReportTable("Machine and versions", ["", "value"], machine, text_columns=2),
        ReportTable("Data and weights", ["", "value"], made, text_columns=2, wide=True),
    ]
    drift = [[entry["from"], "; ".join(entry["drift"]) or "nothing"] for entry in manifest["resumed"]]
    if drift:
        tables.append(ReportTable("Continued", ["from checkpoint", "what differed"], drift, text_columns=2, wide=True))
    return Section("What was run", tables=tables)


def _make_next_section(run: Path, manifest: Mapping[str, Any]) -> Section:
    place, data = shlex.quote(str(run)), shlex.quote(str(manifest["data"]["folder"]))
    stores = manifest["data"].get("features", ())
    features = "".join(f" --features {shlex.quote(str(store['folder']))}" for store in stores)
    of_list = " --features FEATURES" * len(stores) or " --frames FRAMES"
    commands = [
        [
            "predict the validation rows",
            f"abawkit predict {place} --data {data} --split validation{features} --out validation.txt",
        ],
        ["predict a list of frames", f"abawkit predict {place} --list LIST{of_list} --out predictions.txt"],
        ["say what the folder holds", f"abawkit inspect {place}"],
    ]
    return Section("Next", tables=[ReportTable("Commands", ["to", "run"], commands, text_columns=2, wide=True)])


def _list_settings(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tables.items():
        found += _list_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def _format_setting(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _format_score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
