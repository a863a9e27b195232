"""``abawkit check --repair``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from abawkit.claims import claim_submission
from abawkit.cli._command import print_json, print_message
from abawkit.errors import ConfigError, format_count, list_first, printable
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.check import find_dummy_rows
from abawkit.formats.repair import RepairedSubmission, repair_content
from abawkit.formats.repair_lines import Repair
from abawkit.formats.writing import write_submission
from abawkit.tables import FrameList, VideoList

SHOWN_RUNS = 10
"""Runs of line numbers that a message lists before it only counts."""

SHOWN_COLUMNS = 4


def refuse_repair(out: Path, inputs: Sequence[Path], plugin: SubmissionFormat, *, force: bool) -> None:
    """Raises ConfigError if the repaired submission can't be written, or would replace what is read."""
    if out.suffix == ".gz":
        raise ConfigError(f"--repair {out}: submissions are plain text; give a name without .gz")
    claim_submission(out, plugin.container, force=force, inputs=inputs)


def repair_submission(
    path: Path, out: Path, frames: FrameList, plugin: SubmissionFormat, *, force: bool, as_json: bool, name: Path
) -> None:
    """Repairs a submission, writes the result if it is valid and changed, and prints every repair.

    Args:
        path: The submission.
        out: The repaired submission to write.
        frames: The list that it answers.
        plugin: Its format.
        force: Whether an existing submission is replaced.
        as_json: Whether JSON is printed.
        name: How messages call the submission.

    Raises:
        typer.Exit: With 3, if a problem is left.
    """
    result = repair_content(path, frames, plugin)
    written = bool(result.repairs) and not result.problems
    if written:
        write_submission(out, result.content, force=force)
    good = out if written else path
    dummies = [] if result.problems else warn_of_dummies(good, frames, plugin, out if written else name)
    if as_json:
        repairs = [
            {**({"file": r.file} if r.file else {}), "what": r.what, "column": r.column, "lines": list(r.lines)}
            for r in result.repairs
        ]
        problems = [problem.as_dict() for problem in result.problems]
        content = {"ok": not problems, "rows": len(frames), "problems": problems, "repairs": repairs}
        print_json(content | {"dummies": dummies, "written": str(out) if written else None})
    elif result.problems:
        _show_problems(result, name)
    elif not written:
        print(f"ok: {count_listed(frames)}, as listed; nothing to repair, so nothing was written")
    else:
        for line in list_first(describe_problems(result.repairs), noun="repair"):
            print(printable(line))
        print(printable(f"ok: {count_listed(frames)}, as listed, written to {out}"))
    if result.problems:
        raise typer.Exit(3)


def warn_of_dummies(path: Path, frames: FrameList, plugin: SubmissionFormat, name: Path) -> list[dict[str, Any]]:
    """Warns of dummy values in a valid submission, which messages call `name`, and returns them for JSON."""
    found = find_dummy_rows(path, frames, plugin)
    for dummy in found:
        where = f" ({group_rows(dummy.lines)})" if dummy.lines else ""
        print_message(
            f"warning: {name}: {format_count(dummy.rows, 'row')}{where} {dummy.what}; were these frames answered?"
        )
    return [{**dummy._asdict(), "lines": list(dummy.lines)} for dummy in found]


def count_listed(frames: FrameList) -> str:
    """``5 rows``, or of a list of videos ``4 videos``."""
    return format_count(len(frames), "video" if isinstance(frames, VideoList) else "row")


def describe_problems(repairs: Sequence[Repair]) -> list[str]:
    """A line for each kind of repair, in one column or in several."""
    groups: dict[tuple[str, str], list[Repair]] = {}
    for repair in repairs:
        groups.setdefault((repair.file, repair.what), []).append(repair)
    return [_describe_group(what, file, group) for (file, what), group in groups.items()]


def _describe_group(what: str, file: str, group: list[Repair]) -> str:
    columns = [repair.column for repair in group if repair.column]
    lines = sorted({line for repair in group for line in repair.lines})
    cells = sum(len(repair.lines) for repair in group)
    where = (
        f" in {', '.join(columns) if len(columns) <= SHOWN_COLUMNS else f'{len(columns)} columns'}" if columns else ""
    )
    many = f" ({cells:,} cells)" if columns and cells > 1 else ""
    return f"{f'{file}: ' if file else ''}{what}{where}{many}{f': {group_rows(lines)}' if lines else ''}"


def group_rows(lines: Sequence[int]) -> str:
    """``line 7``, or ``lines 2-51,160``; of many runs the first, and how many lines the others are.

    Args:
        lines: Numbers, ascending.
    """
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown = [f"{first:,}" if first == last else f"{first:,}-{last:,}" for first, last in runs[:SHOWN_RUNS]]
    more = sum(last - first + 1 for first, last in runs[SHOWN_RUNS:])
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(shown)}{f' and {more:,} more' if more else ''}"


def _show_problems(result: RepairedSubmission, path: Path) -> None:
    for problem in result.problems:
        print(problem.text(path))
    count = len(describe_problems(result.repairs))
    could = f"; {format_count(count, 'other thing')} could be repaired" if count else ""
    left = f"{format_count(len(result.problems), 'problem')} in {path} without a unique repair"
    print_message(f"nothing was written: {left}{could}")
