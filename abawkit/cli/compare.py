"""``abawkit diff``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.choices import Protocol
from abawkit.cli._command import command, needs, print_json
from abawkit.cli._options import Format, Json
from abawkit.errors import format_count

if TYPE_CHECKING:
    from abawkit.formats.base import SubmissionFormat
    from abawkit.scoring.bootstrap import Interval
    from abawkit.scoring.compare import Changes

    Compared = tuple[Interval, Interval, Interval]

SHOWN = 8
"""Pairs of classes, and videos, that a table shows; JSON has all."""

ANSWERS = {"va": "VA", "expression": "expressions", "au": "AUs", "compound": "compound expressions"}


@command
@needs("protocol", "truth")
def diff(
    first: Annotated[Path, typer.Argument(help="A submission, or the folder submissions/NAME of one that was run.")],
    second: Annotated[Path, typer.Argument(help="Another one for the same list.")],
    format_name: Format = "abaw7",
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", help="Annotation file or curated set to score both on, with the difference's interval."
        ),
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Which rows count towards the score.")] = "official",
    as_json: Json = False,
) -> None:
    """Say how two submissions differ: rows, videos, classes and action units, so that no slot is spent on noise.

    With --truth, both are scored. The difference gets a 95 % interval from a bootstrap over videos: for what it is on
    all videos of this kind, not for what one test set will show.

    Example: abawkit diff baseline.txt smoothed.txt --truth validation_set_annotations.txt
    """
    from abawkit.formats.base import get_format
    from abawkit.scoring.compare import compare_submissions

    plugin = get_format(format_name)
    paths = [_submission_of(path, plugin) for path in (first, second)]
    submissions = [plugin.read(path) for path in paths]
    found = compare_submissions(*submissions)
    scores, videos = _scores(truth, paths, plugin, protocol) if truth else (None, 0)
    if as_json:
        summary = _scores_as_dict(scores, protocol, videos) if scores else None
        print_json({"first": str(paths[0]), "second": str(paths[1]), **found.as_dict(), "scores": summary})
    else:
        _show(found)
        if scores:
            _show_scores(scores, protocol, videos)


def _submission_of(path: Path, plugin: "SubmissionFormat") -> Path:
    """The submission itself, where `path` is the folder of its recipe."""
    from abawkit.errors import DataError

    if not (path / "recipe.toml").is_file():
        return path
    written = path / "outputs" / ("predictions.txt" if plugin.container == "file" else "predictions")
    if not written.exists():
        raise DataError(f"{written}: not there yet; `abawkit submit {path}` writes it")
    return written


def _scores(
    truth: Path, paths: list[Path], plugin: "SubmissionFormat", protocol: Protocol
) -> "tuple[dict[str, Compared], int]":
    """For each part of the score: that of the first, that of the second, and the second's less the first's.

    Returns:
        The parts, and the number of scored videos.
    """
    from abawkit.errors import ConfigError
    from abawkit.labels import TASKS
    from abawkit.scoring.bootstrap import DRAWS, PARTS, make_intervals, score_draws, sum_by_video
    from abawkit.scoring.forecast import list_forecasts
    from abawkit.scoring.matching import match_rows
    from abawkit.scoring.score import warn_of_unannotated
    from abawkit.tables import Annotations

    annotations, first = match_rows(paths[0], truth, plugin)
    _, second = match_rows(paths[1], truth, plugin)
    if not isinstance(annotations, Annotations):
        raise ConfigError(f"--truth {truth}: no interval for compound expressions; `abawkit score` scores each alone")
    warn_of_unannotated(annotations, [task for task in TASKS if task in first.tasks], protocol)
    before, after = (sum_by_video(annotations, one, protocol) for one in (first, second))
    videos, tasks = len(before.names), before.tasks
    counts = score_draws(videos, DRAWS, 0)
    drawn = before.scores(counts), after.scores(counts)
    each = [list_forecasts(scores, videos, videos, tasks) for scores in drawn]
    apart = make_intervals(drawn[1] - drawn[0])
    parts = [part for task, part in zip(TASKS, PARTS, strict=False) if task in tasks]
    return {part: (each[0][part], each[1][part], apart[part]) for part in (*parts, "score")}, videos


def _scores_as_dict(scores: "dict[str, Compared]", protocol: Protocol, videos: int) -> dict[str, Any]:
    parts = {
        part: {"first": first.as_dict(), "second": second.as_dict(), "difference": apart.as_dict()}
        for part, (first, second, apart) in scores.items()
    }
    return {"protocol": protocol, "videos": videos, **parts, "within_noise": scores["score"][2].within_noise}


def _show(found: "Changes") -> None:
    from abawkit.cli._output import format_number, show_table

    if not found.rows_changed:
        print("identical: " + ("the one row says" if found.rows == 1 else f"all {found.rows:,} rows say") + " the same")
        return
    counts = [("rows", found.rows_changed, found.rows), ("videos", len(found.videos_changed), found.videos)]
    counts += [(f"rows: {ANSWERS[answer]}", rows, found.rows) for answer, rows in found.rows_by_answer.items()]
    shares = [(name, format_number(part), format_number(whole), _share(part, whole)) for name, part, whole in counts]
    show_table("What changed from the first to the second", ["", "changed", "of", "share"], shares)
    if found.values:
        values = [
            (
                name,
                f"{change.mean:.6f}",
                f"{change.largest:.6f}",
                "constant" if change.correlation is None else f"{change.correlation:.4f}",
            )
            for name, change in found.values.items()
        ]
        show_table("Valence and arousal", ["", "mean apart", "largest", "correlation"], values)
    for name, change in found.classes.items():
        pairs = [(a, b, format_number(rows)) for a, b, rows in change.pairs[:SHOWN]]
        title = f"{ANSWERS[name].capitalize()}, {format_count(change.rows, 'row')}"
        _show_some(title, ["from", "to", "rows"], pairs, len(change.pairs), text_columns=2)
    if found.units:
        units = [
            (name, format_number(unit.on), format_number(unit.off), _share(unit.on + unit.off, found.rows))
            for name, unit in found.units.items()
        ]
        show_table("Action units", ["", "switched on", "off", "share"], units)
    videos = [
        (name, format_number(changed), format_number(rows)) for name, changed, rows in found.videos_changed[:SHOWN]
    ]
    _show_some("Videos", ["", "rows changed", "of"], videos, len(found.videos_changed))


def _show_some(
    title: str, columns: list[str], rows: Sequence[tuple[str, ...]], count: int, *, text_columns: int = 1
) -> None:
    """A table of the first of `count` rows, which says how many there are."""
    from abawkit.cli._output import show_table

    if count > len(rows):
        title = f"{title}: the first {len(rows)} of {count:,} (--json has all)"
    if rows:
        show_table(title, columns, rows, text_columns=text_columns)


def _show_scores(scores: "dict[str, Compared]", protocol: Protocol, videos: int) -> None:
    from abawkit.cli._output import show_table
    from abawkit.cli._tables import SCORE_HEADINGS
    from abawkit.scoring.bootstrap import describe_few_videos

    both = [(SCORE_HEADINGS[part], f"{a.value:.4f}", f"{b.value:.4f}") for part, (a, b, _) in scores.items()]
    show_table(f"Score, {protocol} protocol", ["", "first", "second"], both)
    gains = [
        (SCORE_HEADINGS[part], *(f"{value:+.4f}" for value in (apart.value, apart.low, apart.high)))
        for part, (_, _, apart) in scores.items()
    ]
    apart = scores["score"][2]
    title = f"Gain of the second, {apart.level:.0%} interval over {format_count(videos, 'video')}"
    show_table(title, ["", "gain", "low", "high"], gains)
    if not apart.low and not apart.high:
        print("the same score on every draw of videos")
    elif apart.within_noise:
        print(f"within noise: the interval of the gain, {apart.low:+.4f} to {apart.high:+.4f}, holds 0")
    else:
        better = "second" if apart.low > 0 else "first"
        print(
            f"the {better} is better: the interval of the gain, {apart.low:+.4f} to {apart.high:+.4f}, does not hold 0"
        )
    if note := describe_few_videos(videos):
        print(f"note: {note}")


def _share(part: int, whole: int) -> str:
    percent = f"{100 * part / whole:.1f}"
    return "< 0.1 %" if part and percent == "0.0" else f"{percent} %"
