"""The report of a tuned rule: what it gains on videos that it was not fitted on, what it is, and what was tried."""

from pathlib import Path
from typing import Final

from abawkit.errors import format_count
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from abawkit.postprocessing.rule import Rule
from abawkit.reports.charts import draw_differences, draw_dots
from abawkit.reports.compare import PART_LABELS
from abawkit.reports.page import Chart, Page, ReportTable, Section, Tile
from abawkit.scoring.bootstrap import PART_OF, describe_few_videos
from abawkit.tuning.cross_validation import Tuning
from abawkit.tuning.task_search import Candidate, Chosen

_HALF: Final = 0.5


def make_tuning_page(tuning: Tuning, rule: Path, truth: Path) -> Page:
    """The report of a rule.

    Args:
        tuning: From `abawkit.tune`.
        rule: Where the rule was written, for the end of the page.
        truth: Where the truth was read, likewise.
    """
    about = tuning.about
    sections = [_make_gain_section(tuning), _make_rule_section(tuning), *make_calibration_sections(tuning.rule)]
    tried = [(task, chosen) for task, chosen in tuning.found.chosen.items() if chosen.tried]
    if tried:
        text = "The task's part of the score of each candidate, over folds of videos where something was fitted."
        sections.append(Section("What was tried", text, tables=[_tabulate_trials(*each) for each in tried]))
    if tuning.found.not_fitted:
        rows = [[each.parameter, each.reason] for each in tuning.found.not_fitted]
        table = ReportTable("Kept as is", ["parameter", "why"], rows, text_columns=2, wide=True)
        sections.append(Section("What was not fitted", tables=[table]))
    subtitle = (
        f"{format_count(about['rows'], 'row')} of {format_count(about['videos'], 'video')}, {about['protocol']} "
        f"protocol, {about['folds']} folds"
    )
    facts = [("Rule", rule.name), ("Truth", truth.name), *(("Member", member.path.name) for member in tuning.members)]
    return Page("Tuned rule", subtitle, sections, facts)


def _name_parts(tuning: Tuning) -> dict[str, str]:
    """The parts of the score that are tuned; with the whole, where there are several."""
    whole = {"score": "P" if len(tuning.tasks) == len(PART_OF) else "sum of two tasks"} if len(tuning.tasks) > 1 else {}
    return whole | {PART_OF[task]: PART_LABELS[PART_OF[task]] for task in tuning.tasks}


def _make_gain_section(tuning: Tuning) -> Section:
    parts = _name_parts(tuning)
    tiles = [
        Tile(label, f"{found.value:.4f}", f"{found.low:.3f} to {found.high:.3f} on as many other videos")
        for label, found in ((label, tuning.cross_fitted[part]) for part, label in parts.items())
    ]
    kinds = (
        ("cross-fitted", {part: tuning.cross_fitted[part].value for part in parts}),
        ("in-sample, too high", tuning.in_sample),
        ("untuned", {part: tuning.untuned[part].value for part in parts}),
    )
    scores = ReportTable(
        "Scores", ["", *parts.values()], [[name, *(f"{values[part]:.4f}" for part in parts)] for name, values in kinds]
    )
    gains = [tuning.difference[part] for part in parts]
    seen = f"Within noise: {sum(gain.within_noise for gain in gains)} of {len(gains)}."
    title = "Gain: cross-fitted less untuned"
    ends = [[gain.value for gain in gains], [gain.low for gain in gains], [gain.high for gain in gains]]
    svg = draw_differences("gain", title, seen, list(parts.values()), *ends, label="gain")
    numbers = [
        [label, *(f"{value:+.4f}" for value in (gain.value, gain.low, gain.high)), "yes" if gain.within_noise else "no"]
        for label, gain in zip(parts.values(), gains, strict=True)
    ]
    chart = Chart(title, seen, svg, ReportTable(title, ["", "gain", "from", "to", "within noise"], numbers))
    text = (
        "Cross-fitted: each video is decided by a rule that was fitted on other videos. A line is the 95 % interval of "
        "the gain, over draws of these videos; a hollow mark is within noise."
    )
    if tuning.fallen:
        text += f" The rule changes nothing of {', '.join(tuning.fallen)}, whose score falls."
    if note := describe_few_videos(tuning.about["videos"]):
        text += f" Note: {note}."
    return Section("What the rule gains", text, tiles=tiles, charts=[chart], tables=[scores])


def _make_rule_section(tuning: Tuning) -> Section:
    rows = []
    for task, chosen in tuning.found.chosen.items():
        weights = "fitted" if chosen.weights is not None else "equal"
        rows.append([task, *_describe_candidate(chosen.candidate)[:-1], weights])
    tables = [ReportTable("Task by task", ["", "smoothing", "calibration", "pool", "weights"], rows, text_columns=5)]
    weighed = {task: each for task, each in tuning.rule.weights.items() if len(set(each.values())) > 1}
    if weighed:
        lines = [
            [member.path.name, *(_format_weight(weighed[task].get(member.key)) for task in weighed)]
            for member in tuning.members
        ]
        tables.append(ReportTable("Weights of the members", ["", *weighed], lines))
    return Section("The rule", tables=tables)


def make_calibration_sections(rule: Rule) -> list[Section]:
    """The parameters of a rule's calibration as a section; none where nothing is calibrated."""
    found = rule.calibration
    charts, tables = [], []
    if any(value != _HALF for value in found.threshold):
        title = "Thresholds of the action units"
        moved = [unit for unit, value in zip(ACTION_UNITS, found.threshold, strict=True) if value != _HALF]
        seen = f"Without calibration, each is 0.5. Fitted: {', '.join(moved)}."
        svg = draw_dots(
            "thresholds", title, seen, ACTION_UNITS, [("threshold", found.threshold.tolist())], label="probability"
        )
        lines = [[unit, f"{value:.2f}"] for unit, value in zip(ACTION_UNITS, found.threshold, strict=True)]
        charts.append(Chart(title, seen, svg, ReportTable(title, ["", "threshold"], lines)))
    if any(found.bias):
        lines = [[name, f"{value:+.2f}"] for name, value in zip(EXPRESSIONS, found.bias, strict=True)]
        tables.append(ReportTable("Added to the logarithm of each expression's probability", ["", "bias"], lines))
    if any(value != 1 for value in found.scale) or any(found.shift):
        lines = [[name, f"{found.scale[i]:.4f}", f"{found.shift[i]:+.4f}"] for i, name in enumerate(DIMENSIONS)]
        tables.append(ReportTable("Valence and arousal: times scale, plus shift", ["", "scale", "shift"], lines))
    return [Section("Calibration", charts=charts, tables=tables)] if charts or tables else []


def _tabulate_trials(task: str, chosen: Chosen) -> ReportTable:
    trials = sorted(chosen.tried, key=lambda trial: -trial.score)
    rows = [[_name_candidate(trial.candidate), f"{trial.score:.4f}"] for trial in trials]
    return ReportTable(task, ["candidate", "score"], rows, sortable=True)


def _name_candidate(candidate: Candidate) -> str:
    smoothing, calibration, pool, weights = _describe_candidate(candidate)
    words = [
        "" if smoothing == "none" else smoothing,
        "calibrated" if calibration == "fitted" else "",
        "mean of logits" if pool == "log" else "",
        "fitted weights" if weights == "fitted" else "",
    ]
    return ", ".join(filter(None, words)) or "nothing"


def _describe_candidate(candidate: Candidate) -> list[str]:
    """Smoothing, calibration, pool and weights of a candidate."""
    calibration = "fitted" if candidate.calibrated else "none"
    return [str(candidate.smoothing), calibration, candidate.pool, "fitted" if candidate.weighted else "equal"]


def _format_weight(weight: float | None) -> str:
    return "-" if weight is None else f"{weight:.4f}"
