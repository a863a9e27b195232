"""The report of a submission: what it scores on validation, how alike its members are, and what it is made of."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from abawkit.errors import format_count
from abawkit.labels import Task
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import Rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.probabilities.members import read_members, read_probabilities
from abawkit.reports.charts import draw_differences
from abawkit.reports.compare import PART_LABELS
from abawkit.reports.page import Cell, Chart, Page, ReportTable, Section, Tile
from abawkit.reports.score import make_detail_sections
from abawkit.reports.tuning import make_calibration_sections
from abawkit.scoring.bootstrap import PART_OF
from abawkit.scoring.details import describe_score
from abawkit.submissions.decisions import CROSSFITTED, RULE
from abawkit.submissions.manifest import Manifest, Scores, Validation
from abawkit.submissions.plan import OUTPUTS
from abawkit.tables import Annotations, Array
from abawkit.tuning.ensemble_analysis import Analysis, analyse

TASK_LABELS: Final[dict[Task, str]] = {
    "va": "valence and arousal",
    "expression": "expressions",
    "au": "action units",
}


def make_submission_page(folder: Path, manifest: Manifest, truth: Annotations) -> Page:
    """The report of a submission that was run.

    Args:
        folder: Of the submission, with its outputs.
        manifest: Of it.
        truth: The validation rows that it was fitted and scored on.

    Raises:
        DataError: If an output can't be read back.
    """
    validation, outputs = manifest.validation, folder / OUTPUTS
    held_out = decide(read_probabilities((outputs / CROSSFITTED).with_suffix(".npz")), validation.tasks)
    details = describe_score(truth, held_out, validation.protocol)
    rule = read_rule(outputs / RULE)
    sections = [
        _make_validation_section(validation),
        _make_simpler_section(validation),
        *_make_member_sections(outputs, validation, truth),
        *_make_rule_sections(rule),
        *make_detail_sections(details, truth, held_out, validation.protocol),
        _make_origin_section(manifest),
        _make_commands_section(folder),
    ]
    subtitle = f"{manifest.summary}; {format_count(manifest.submission.rows, 'row')} in {manifest.submission.file}"
    facts = [("Written", manifest.written), ("SHA-256", manifest.submission.sha256)]
    return Page(f"Submission {manifest.name}", subtitle, sections, facts)


def tabulate_correlations(correlations: Mapping[Task, Array], names: Sequence[str]) -> list[ReportTable]:
    """Correlations of errors as tables, one for each task; stronger colour, more alike.

    Args:
        correlations: From `abawkit.tuning.ensemble_analysis.correlate_errors`.
        names: Of the members.
    """
    tables = []
    for task, matrix in correlations.items():
        rows: list[list[str | Cell]] = []
        for i, (name, line) in enumerate(zip(names, matrix.tolist(), strict=True)):
            cells = ["" if i == j else _make_correlation_cell(value) for j, value in enumerate(line)]
            rows.append([f"{i + 1} {name}", *cells])
        columns = ["", *(str(number) for number in range(1, len(names) + 1))]
        tables.append(ReportTable(f"Errors in {TASK_LABELS[task]}", columns, rows))
    return tables


def _make_correlation_cell(value: float) -> str | Cell:
    return "-" if np.isnan(value) else Cell(f"{value:.3f}", max(0.0, value))


def _name_whole(validation: Validation) -> str:
    return {1: "", 2: "sum of two tasks"}.get(len(validation.tasks), "P")


def _list_scored_parts(validation: Validation) -> dict[str, str]:
    """The parts that are scored, with their labels; the whole first, where there are several."""
    whole = {"score": _name_whole(validation)} if len(validation.tasks) > 1 else {}
    return whole | {PART_OF[task]: PART_LABELS[PART_OF[task]] for task in validation.tasks}


def _make_validation_section(validation: Validation) -> Section:
    parts, interval = _list_scored_parts(validation), validation.interval
    note = f"{interval.low:.3f} to {interval.high:.3f}"
    tiles = [Tile(label, f"{getattr(validation.crossfitted, part):.4f}") for part, label in parts.items()]
    tiles[0] = Tile(tiles[0].label, tiles[0].value, note)
    shown: list[tuple[str, Scores]] = []
    if validation.fitted:
        shown = [("this submission, cross-fitted", validation.crossfitted)]
        shown += [("in-sample: too good", validation.in_sample)]
    shown += [("mean of the members, nothing fitted", validation.untuned)]
    shown += [(f"{member.name} alone", member.validation) for member in validation.members]
    rows = [[name, *(f"{getattr(scores, part):.4f}" for part in parts)] for name, scores in shown]
    table = ReportTable(f"Scores, {validation.protocol} protocol", ["", *parts.values()], rows, wide=True)
    text = "Nothing is fitted: members are averaged, and decided as they are."
    if validation.fitted:
        text = (
            f"Cross-fitted over {validation.folds} folds: a video is decided by a rule that was fitted on other videos."
        )
    text += (
        f" The range is the {100 * interval.level:g} % forecast for a test of "
        f"{format_count(validation.test_videos, 'video')} of the same kind."
    )
    return Section("Validation", text, tiles=tiles, tables=[table], notes=validation.notes)


def _make_simpler_section(validation: Validation) -> Section:
    gaps = [(f"{validation.best_member} alone", validation.difference)]
    gaps += [("mean, nothing fitted", validation.gain)] if validation.fitted else []
    noise = sum(gap.within_noise for _, gap in gaps)
    title = f"{_name_whole(validation) or 'Score'} of this submission less that of a simpler one"
    seen = f"Within noise: {noise} of {len(gaps)}."
    ends = [[gap.value for _, gap in gaps], [gap.low for _, gap in gaps], [gap.high for _, gap in gaps]]
    svg = draw_differences("difference", title, seen, [name for name, _ in gaps], *ends, label="difference", longest=26)
    rows = [
        [name, f"{gap.value:+.4f}", f"{gap.low:+.4f}", f"{gap.high:+.4f}", "yes" if gap.within_noise else "no"]
        for name, gap in gaps
    ]
    table = ReportTable(title, ["", "difference", "from", "to", "within noise"], rows)
    text = (
        f"{validation.best_member} is the best of {format_count(len(validation.members), 'member')}, chosen on these "
        "same rows, which favours it. A line is the 95 % interval of the difference; a hollow mark is within noise."
    )
    return Section("Against simpler ones", text, charts=[Chart(title, seen, svg, table)])


def _make_member_sections(outputs: Path, validation: Validation, truth: Annotations) -> list[Section]:
    """How alike the members' errors are; none of a single member."""
    names = [member.name for member in validation.members]
    if len(names) < 2:
        return []
    members = read_members([outputs / "validation" / f"{name}.npz" for name in names])
    text = (
        "Correlation of the members' errors on validation. Members that are wrong alike, near 1, add little to each "
        "other; stronger colour, more alike. What each can add to the mean of the others follows from its errors and "
        "theirs, at its best weight; what it adds to them with equal weights stands beside it."
    )
    analysis = analyse(members, truth, validation.protocol)
    tables = [_tabulate_prospects(analysis, names), *tabulate_correlations(analysis.correlations, names)]
    return [Section("Members", text, tables=tables)]


def _tabulate_prospects(analysis: Analysis, names: Sequence[str]) -> ReportTable:
    rows: list[list[str | Cell]] = []
    for name, one in zip(names, analysis.contributions, strict=True):
        known = one.prospect.correlations if one.prospect else {}
        cells = [_make_correlation_cell(known.get(task, np.nan)) for task in TASK_LABELS]
        expected = f"{one.prospect.expected:.4f}" if one.prospect else "-"
        rows.append([name, *cells, expected, f"{one.adds['score']:+.4f}"])
    columns = ["", *TASK_LABELS.values(), "can add", "adds"]
    return ReportTable("Errors beside those of the others' mean", columns, rows, wide=True)


def _make_rule_sections(rule: Rule) -> list[Section]:
    """The rule's smoothing and weights, and its calibration; none where members are only averaged."""
    tables = []
    if rule.smoothing:
        rows = [[TASK_LABELS[task], str(smoothing)] for task, smoothing in rule.smoothing.items()]
        tables.append(ReportTable("Smoothing over time", ["", "smoothing"], rows, text_columns=2))
    weighed = {task: given for task, given in rule.weights.items() if len(set(given.values())) > 1}
    if weighed:
        keys = list(dict.fromkeys(key for given in weighed.values() for key in given))
        rows = [[key, *(f"{given.get(key, 0):.4f}" for given in weighed.values())] for key in keys]
        tables.append(ReportTable("Weights of the members", ["", *map(TASK_LABELS.__getitem__, weighed)], rows))
    return [*([Section("The rule", tables=tables)] if tables else []), *make_calibration_sections(rule)]


def _make_origin_section(manifest: Manifest) -> Section:
    networks = [[each.name, str(each.seed), each.git or "-", each.sha256] for each in manifest.networks]
    made = [
        ["recipe.toml", manifest.recipe_sha256],
        ["table of the curated set", manifest.table_sha256],
        ["list of frames", manifest.list_digest],
        ["names, sizes and times of the frames", manifest.frames_digest],
        ["weights at the start", manifest.weights_sha256 or "none"],
        ["rule", manifest.rule_sha256],
    ]
    for each in manifest.features:
        made += [[f"features of {each.name}, curated set", each.curated], [f"features of {each.name}, list", each.test]]
    choices = [
        ["format", manifest.format],
        ["curation", manifest.policy],
        ["epoch of each run", manifest.epoch],
        ["rows answered from another frame", f"{manifest.submission.filled:,}"],
        ["commit", manifest.git or "-"],
    ]
    tables = [
        ReportTable("Networks", ["", "seed", "commit", "SHA-256"], networks, text_columns=4, wide=True),
        ReportTable("Digests", ["of", "SHA-256"], made, text_columns=2, wide=True),
        ReportTable("Choices", ["", "value"], choices, text_columns=2),
        ReportTable(
            "Machine and versions of the prediction",
            ["", "value"],
            [[key, str(value)] for key, value in manifest.environment.items()],
            text_columns=2,
        ),
    ]
    return Section("What it is made of", tables=tables)


def _make_commands_section(folder: Path) -> Section:
    name, ledger = shlex.quote(folder.resolve().name), shlex.quote(str(folder.parent))
    commands = [
        ["see all submissions and the slots", f"abawkit submissions --folder {ledger}"],
        ["record that it was sent", f"abawkit submissions sent {name} --folder {ledger}"],
        ["record the score that was returned", f"abawkit submissions returned {name} SCORE --folder {ledger}"],
    ]
    return Section("Next", tables=[ReportTable("Commands", ["to", "run"], commands, text_columns=2, wide=True)])
