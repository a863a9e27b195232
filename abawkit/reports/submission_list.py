"""The report of all submissions: the slots that were used, what each submission holds, and how they differ."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from abawkit.errors import DataError, format_count
from abawkit.formats.base import get_format
from abawkit.probabilities.members import StoredMember, read_member, refuse_other_rows
from abawkit.reports.charts import draw_ranges
from abawkit.reports.page import Chart, Page, ReportTable, Section, Tile
from abawkit.reports.submission import tabulate_correlations
from abawkit.scoring.changes import compare_submissions
from abawkit.submissions.decisions import CROSSFITTED
from abawkit.submissions.ledger import SLOTS, Slot
from abawkit.submissions.plan import OUTPUTS
from abawkit.submissions.slots import Entry, Nearness
from abawkit.tables import Annotations, Submission
from abawkit.tuning.ensemble_analysis import correlate_errors

MOST_COMPARED: Final = 20
"""Submissions of which every two are compared."""

_SHOWN_DIGITS: Final = 12
"""Digits of a SHA-256 that tell files apart."""


def make_submission_list_page(
    folder: Path,
    entries: Sequence[Entry],
    slots: Sequence[Slot],
    near: Mapping[str, Sequence[Nearness]],
    truth: Annotations | None = None,
) -> Page:
    """The report of all submissions.

    Args:
        folder: Contains the submissions' folders and the ledger.
        entries: From `abawkit.submissions.slots.list_submissions`.
        slots: Likewise.
        near: For each submission that was not sent, how it differs from those that were.
        truth: The validation rows of all, to correlate their errors.

    Raises:
        DataError: If a submission's file is not one of its format.
    """
    written = [entry for entry in entries if entry.manifest]
    sections = [_make_slot_section(slots), _make_entry_section(entries)]
    if written:
        sections.append(_make_content_section(written))
    if len(written) > 1 or any(near.values()):
        sections.append(_make_answer_section(folder, written, near))
    if truth is not None:
        sections.append(_make_error_section(folder, written, truth))
    subtitle = f"{format_count(len(entries), 'submission')}, {format_count(len(slots), 'slot')} used"
    return Page("Submissions", subtitle, sections, [("Folder", str(folder))])


def _make_slot_section(slots: Sequence[Slot]) -> Section:
    if not slots:
        return Section("Slots", "No file was sent. abawkit submissions sent NAME records one that was.")
    scores = [slot.returned.score if slot.returned else None for slot in slots]
    known = [score for score in scores if score is not None]
    tiles = [Tile("slots used", str(len(slots)), f"a team often has {SLOTS}")]
    tiles += [Tile("best score returned", f"{max(known):.4f}")] if known else []
    ranges = [slot.sent.validation for slot in slots]
    names = [f"{slot.sent.slot} {slot.sent.name}" for slot in slots]
    inside = sum(
        found.low <= score <= found.high for found, score in zip(ranges, scores, strict=True) if score is not None
    )
    title = "P expected and returned"
    seen = f"Returned within its forecast: {inside} of {len(known)}." if known else "No score was returned yet."
    ends = [[each.value for each in ranges], [each.low for each in ranges], [each.high for each in ranges]]
    svg = draw_ranges("slots", title, seen, names, *ends, label="P", marks=("returned", scores))
    numbers = [
        [name, f"{found.value:.4f}", f"{found.low:.4f}", f"{found.high:.4f}", _format_returned(score)]
        for name, found, score in zip(names, ranges, scores, strict=True)
    ]
    chart = Chart(title, seen, svg, ReportTable(title, ["", "expected", "from", "to", "returned"], numbers))
    rows = [
        [
            str(slot.sent.slot),
            slot.sent.name,
            slot.sent.when[:10],
            slot.sent.sha256[:_SHOWN_DIGITS],
            slot.sent.note or "-",
            f"{slot.sent.rows:,}",
            _format_returned(score),
        ]
        for slot, score in zip(slots, scores, strict=True)
    ]
    columns = ["slot", "name", "sent", "SHA-256", "note", "rows", "P returned"]
    ledger = ReportTable("The ledger", columns, rows, text_columns=5, sortable=True, wide=True)
    text = "Expected is P on validation, with its 95 % forecast for the test as it stood when the file was sent."
    return Section("Slots", text, tiles=tiles, charts=[chart], tables=[ledger])


def _make_entry_section(entries: Sequence[Entry]) -> Section:
    rows, notes = [], []
    for entry in entries:
        if entry.problem:
            notes.append(f"{entry.name} can't be listed: {entry.problem}")
        if entry.recipe_changed:
            notes.append(f"The recipe of {entry.name} has changed since it was run.")
        sent = ", ".join(map(str, entry.slots)) or "-"
        if entry.manifest is None:
            rows.append([entry.name, entry.summary or "-", "not run", "-", "-", "-", "-", sent])
            continue
        found, digest = entry.manifest.validation.interval, entry.manifest.submission.sha256[:_SHOWN_DIGITS]
        scores = [f"{value:.4f}" for value in (found.value, found.low, found.high)]
        rows.append([entry.name, entry.summary, str(entry.state), digest, *scores, sent])
    columns = ["name", "summary", "file", "SHA-256", "P", "from", "to", "slot"]
    table = ReportTable("P on validation", columns, rows, text_columns=4, sortable=True, wide=True)
    charts = []
    if scored := [(entry.name, entry.manifest.validation.interval) for entry in entries if entry.manifest]:
        scored.sort(key=lambda one: -one[1].value)
        title, names = "P on validation", [name for name, _ in scored]
        seen = f"Highest: {names[0]}, {scored[0][1].value:.4f}."
        ends = [[one.value for _, one in scored], [one.low for _, one in scored], [one.high for _, one in scored]]
        numbers = [[name, f"{one.value:.4f}", f"{one.low:.4f}", f"{one.high:.4f}"] for name, one in scored]
        svg = draw_ranges("scores", title, seen, names, *ends, label="P")
        charts.append(Chart(title, seen, svg, ReportTable(title, ["", "P", "from", "to"], numbers)))
    text = (
        "P is cross-fitted where anything was fitted, and its range the 95 % forecast for the test. Ranges that "
        "overlap don't say that two are alike: abawkit compare tests the difference."
    )
    return Section("Submissions", text, charts=charts, tables=[table], notes=notes)


def _make_content_section(written: Sequence[Entry]) -> Section:
    rows = []
    for entry in written:
        assert entry.manifest is not None  # noqa: S101 - the caller chooses
        manifest, validation = entry.manifest, entry.manifest.validation
        rows.append(
            [
                entry.name,
                manifest.format,
                manifest.policy,
                ", ".join(network.name for network in manifest.networks),
                f"cross-fitted, {validation.folds} folds" if validation.fitted else "nothing fitted",
                validation.best_member,
                f"{len(validation.members)}",
                f"{manifest.submission.rows:,}",
                f"{validation.difference.value:+.4f}{' ~' if validation.difference.within_noise else ''}",
            ]
        )
    columns = [
        "name", "format", "curation", "networks", "rule", "best member", "members", "rows", "P less the best member's"
    ]  # fmt: skip
    table = ReportTable("What each holds", columns, rows, text_columns=6, sortable=True, wide=True)
    return Section("Contents", "~ marks a difference within noise.", tables=[table])


def _make_answer_section(folder: Path, written: Sequence[Entry], near: Mapping[str, Sequence[Nearness]]) -> Section:
    """How the files differ, every two that answer one list in one format."""
    read: dict[str, tuple[str, Submission]] = {}
    for entry in written[:MOST_COMPARED]:
        if entry.manifest and entry.state == "as written":
            submission = get_format(entry.manifest.format).read(folder / entry.name / entry.manifest.submission.file)
            read[entry.name] = entry.manifest.format, submission
    rows, headings = [], ["V and A apart", "other expressions", "other action units"]
    for (first, (kind, one)), (second, (other_kind, other)) in combinations(read.items(), 2):
        if kind == other_kind and one.images.equals(other.images):
            found = compare_submissions(one, other).describe()
            rows.append([first, second, *(found.get(heading, "-") for heading in headings)])
    tables = []
    if rows:
        columns = ["one", "other", *headings]
        tables.append(ReportTable("Files of one list", columns, rows, text_columns=2, sortable=True, wide=True))
    against = [
        [name, str(one.slot), one.text(), "nearly the same" if one.near else "-"]
        for name, all_ in near.items()
        for one in all_
    ]
    if against:
        columns = ["not sent yet", "slot", "differs by", "verdict"]
        tables.append(ReportTable("Against what was sent", columns, against, text_columns=4, wide=True))
    text = (
        "Mean absolute difference of valence and arousal, and the share of other decisions, over all rows of the list."
    )
    return Section("How they differ", text, tables=tables, notes=[] if tables else ["No two files answer one list."])


def _make_error_section(folder: Path, written: Sequence[Entry], truth: Annotations) -> Section:
    """How alike the errors on validation are, of the submissions that have probabilities of these rows."""
    members: dict[str, StoredMember] = {}
    notes = []
    for entry in written[:MOST_COMPARED]:
        path = (folder / entry.name / OUTPUTS / CROSSFITTED).with_suffix(".npz")
        try:
            member = read_member(path)
            refuse_other_rows(member, truth)
        except (DataError, OSError) as error:
            notes.append(f"{entry.name} is left out: {str(error).splitlines()[0]}")
        else:
            members[entry.name] = member
    text = (
        "Correlation of errors on validation, each video by a rule that was fitted on others. Submissions that are "
        "wrong alike, near 1, are much the same bet; stronger colour, more alike."
    )
    if len(members) < 2:
        return Section("Errors", text, notes=[*notes, "Fewer than two have probabilities of these rows."])
    correlations = correlate_errors(list(members.values()), truth)
    return Section("Errors", text, tables=tabulate_correlations(correlations, list(members)), notes=notes)


def _format_returned(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"
