"""``abawkit compare``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli._command import command, needs, print_json, print_next_step
from abawkit.cli._options import Force, Format, Json, Report, list_format_option
from abawkit.errors import format_count, printable

if TYPE_CHECKING:
    from abawkit.scoring.bootstrap import Interval
    from abawkit.scoring.changes import Changes
    from abawkit.scoring.comparison import Comparison, ScoreComparison

SHOWN = 8
"""Pairs of classes, and videos, that a table shows; JSON has all."""

ANSWER_NAMES = {"va": "VA", "expression": "expressions", "au": "AUs", "compound": "compound expressions"}


@command
@needs("protocol", "truth")
@needs("report", "truth")
@needs("force", "report")
def compare(
    submissions: Annotated[
        list[Path],
        typer.Argument(help="Two or more submissions for one list, or folders submissions/NAME of ones that were run."),
    ],
    format_name: Format = "abaw7",
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", help="Annotation file or curated set to score all on, with the intervals of differences."
        ),
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Which rows count first; the other protocol is beside it.")] = (
        "official"
    ),
    report: Report = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare submissions: rows, videos, classes and action units that differ, so that no slot is spent on noise.

    With --truth, all are scored. Each difference to the best gets a 95 % interval from a bootstrap over videos: for
    what it is on all videos of this kind, not for what one test set will show. Of three or more submissions, the
    intervals of all pairs are simultaneous: all of them are to hold at once 95 times in 100; in simulations they
    did 88 to 94 times.

    Example: abawkit compare baseline.txt smoothed.txt --truth validation_set_annotations.txt
    """
    from abawkit import api

    found = api.compare(submissions, truth, protocol=protocol, format_name=format_name, report=report, force=force)
    if as_json:
        print_json({**found.as_dict(), **({"report": str(report)} if report else {})})
        return
    if len(found.names) == 2:
        _show_changes(found)
    else:
        _show_pairs(found)
    for number, scores in enumerate(found.scores.values()):
        _show_scores(scores) if number == 0 else _show_other_protocol(scores)
    if report:
        print(printable(f"report: {report}; open it in a browser"))
    print_next_step(*_find_next_step(found, submissions, truth, format_name))


def _find_next_step(
    found: "Comparison", submissions: Sequence[Path], truth: Path | None, format_name: str
) -> list[object]:
    """What to run next: combine what has probabilities, look at the best, or score what was only compared."""
    if truth is None:
        if all((path / "recipe.toml").is_file() for path in submissions):
            return ["submissions", "--folder", submissions[0].parent]
        return ["compare", *submissions, *list_format_option(format_name), "--truth", "TRUTH"]
    stored = [path.with_suffix(".npz") for path in found.paths]
    if all(path.is_file() for path in stored):
        return ["ensemble", *stored, "--truth", truth]
    best = found.paths[next(iter(found.scores.values())).ranking[0]]
    page = best.with_suffix(".html")
    return ["score", best, *list_format_option(format_name), "--truth", truth, "--report", page]


def _show_changes(found: "Comparison") -> None:
    """What differs between two submissions."""
    from abawkit.cli._output import format_number, show_table

    (changes,) = found.changes.values()
    if not changes.rows_changed:
        print(
            "identical: "
            + ("the one row says" if changes.rows == 1 else f"all {changes.rows:,} rows say")
            + " the same"
        )
        return
    counts = [("rows", changes.rows_changed, changes.rows), ("videos", len(changes.videos_changed), changes.videos)]
    counts += [(f"rows: {ANSWER_NAMES[answer]}", rows, changes.rows) for answer, rows in changes.rows_by_answer.items()]
    shares = [
        (name, format_number(part), format_number(whole), _format_share(part, whole)) for name, part, whole in counts
    ]
    first, second = found.names
    show_table(printable(f"What changes from {first} to {second}"), ["", "changed", "of", "share"], shares)
    _show_values(changes)
    for name, change in changes.classes.items():
        pairs = [(a, b, format_number(rows)) for a, b, rows in change.pairs[:SHOWN]]
        title = f"{ANSWER_NAMES[name].capitalize()}, {format_count(change.rows, 'row')}"
        _show_some(title, ["from", "to", "rows"], pairs, len(change.pairs), text_columns=2)
    if changes.units:
        units = [
            (name, format_number(unit.on), format_number(unit.off), _format_share(unit.on + unit.off, changes.rows))
            for name, unit in changes.units.items()
        ]
        show_table("Action units", ["", "switched on", "off", "share"], units)
    videos = [
        (name, format_number(changed), format_number(rows)) for name, changed, rows in changes.videos_changed[:SHOWN]
    ]
    _show_some("Videos", ["", "rows changed", "of"], videos, len(changes.videos_changed))


def _show_values(changes: "Changes") -> None:
    from abawkit.cli._output import show_table

    values = [
        (
            name,
            f"{change.mean:.6f}",
            f"{change.largest:.6f}",
            "constant" if change.correlation is None else f"{change.correlation:.4f}",
        )
        for name, change in changes.values.items()
    ]
    if values:
        show_table("Valence and arousal", ["", "mean apart", "largest", "correlation"], values)


def _show_some(
    title: str, columns: list[str], rows: Sequence[tuple[str, ...]], count: int, *, text_columns: int = 1
) -> None:
    """A table of the first of `count` rows, which says how many there are."""
    from abawkit.cli._output import show_table

    if count > len(rows):
        title = f"{title}: the first {len(rows)} of {count:,} (--json has all)"
    if rows:
        show_table(title, columns, rows, text_columns=text_columns)


def _show_pairs(found: "Comparison") -> None:
    """How far each two of several submissions are apart, in one line each."""
    from abawkit.cli._output import show_table

    rows = [
        (found.names[first], found.names[second], *changes.describe().values())
        for (first, second), changes in found.changes.items()
    ]
    columns = next(iter(found.changes.values())).describe()
    show_table("How the answers differ", ["", "", *columns], rows, text_columns=2)


def _show_scores(scores: "ScoreComparison") -> None:
    from abawkit.cli._output import show_table
    from abawkit.cli._tables import name_score_parts
    from abawkit.labels import TASKS
    from abawkit.scoring.bootstrap import describe_few_videos

    parts = name_score_parts([task for task in TASKS if task in scores.scores[0].tasks])
    rows = [(scores.names[i], *(f"{scores.forecasts[i][part].value:.4f}" for part in parts)) for i in scores.ranking]
    counted = f"{format_count(scores.scores[0].rows, 'row')} of {format_count(scores.videos, 'video')}"
    show_table(f"Scores, {scores.protocol} protocol, {counted}", ["", *parts.values()], rows)
    best, *others = scores.ranking
    pairs = len(scores.pairs)
    title = printable(f"Less {scores.names[best]}, the best; 95 % intervals")
    title += f", simultaneous for all {pairs} pairs" if pairs > 1 else ""
    differences = [
        (scores.names[i], name, *_format_difference(scores.find_difference(i, best)[part]))
        for i in others
        for part, name in parts.items()
    ]
    show_table(title, ["", "", "", "difference", "from", "to"], differences, text_columns=3)
    print(printable(scores.describe_leaders()))
    if pairs == 1 and (note := describe_few_videos(scores.videos)):
        print(f"note: {note}")


def _show_other_protocol(scores: "ScoreComparison") -> None:
    """The scores under the protocol that was not requested, without their parts; JSON has all."""
    from abawkit.cli._output import show_table

    best, *others = scores.ranking
    rows: list[tuple[str, ...]] = [(scores.names[best], "best", f"{scores.scores[best].score:.4f}", "", "", "")]
    for i in others:
        verdict, *numbers = _format_difference(scores.find_difference(i, best)["score"])
        rows.append((scores.names[i], verdict, f"{scores.scores[i].score:.4f}", *numbers))
    counted = f"{format_count(scores.scores[0].rows, 'row')} of {format_count(scores.videos, 'video')}"
    title = f"{scores.protocol.capitalize()} protocol, {counted}; difference to the best"
    print()
    show_table(title, ["", "", "score", "difference", "from", "to"], rows, text_columns=2)


def _format_difference(found: "Interval") -> tuple[str, str, str, str]:
    """What a difference to the best is, and its numbers."""
    verdict = "noise" if found.within_noise else "better" if found.low > 0 else "worse"
    if not found.low and not found.high:
        verdict = "the same"
    return verdict, f"{found.value:+.4f}", f"{found.low:+.4f}", f"{found.high:+.4f}"


def _format_share(part: int, whole: int) -> str:
    percent = f"{100 * part / whole:.1f}"
    return "< 0.1 %" if part and percent == "0.0" else f"{percent} %"
