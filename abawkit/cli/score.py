"""``abawkit score``."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from abawkit.choices import Protocol, TruthSplit
from abawkit.cli._command import command, needs, print_json, print_message, print_next_step
from abawkit.cli._options import Force, Format, Json, Report, TruthRows
from abawkit.errors import format_count, printable
from abawkit.labels import COMPOUND_EXPRESSIONS, EXPRESSIONS, TASKS

if TYPE_CHECKING:
    from abawkit.scoring.baselines import PublishedResult
    from abawkit.scoring.details import ClassDetails, Details, VideoDetails
    from abawkit.scoring.forecast import Forecast
    from abawkit.scoring.score import Score


@command
@needs("force", "report")
def score(
    submission: Annotated[Path, typer.Argument(help="The file or folder to score.")],
    truth: Annotated[
        Path, typer.Option("--truth", help="Annotations, or a curated set: its validation rows, or --split.")
    ],
    split: TruthRows = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="official: each task on its annotated rows; strict: all on the rows where every task is."),
    ] = "official",
    format_name: Format = "abaw7",
    test_videos: Annotated[
        int | None,
        typer.Option(
            "--test-videos", min=1, help="Videos of the test that the forecast is for; default: as many as are scored."
        ),
    ] = None,
    report: Report = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Score a submission: mean CCC of valence and arousal + mean F1 of 8 expressions + mean F1 of 12 action units.

    For a single-task format, only that task is scored; compound expressions by their mean F1, against a file of the
    same form. Rows are matched one by one, repeats included. A submission whose rows differ from the truth is refused.

    The forecast is the 95 % range of the score on a test set of other videos of the same kind. Beside the challenge's
    own measures are accuracy, precision, recall, the confusion of expressions, the parts of CCC, the best and the worst
    videos, and the score under the other protocol; --json has all of it, with every video.

    Example: abawkit score predictions.txt --truth validation_set_annotations.txt
    """
    from abawkit import api

    result = api.score(
        submission,
        truth,
        split=split,
        protocol=protocol,
        format_name=format_name,
        test_videos=test_videos,
        report=report,
        force=force,
    )
    if result.forecast is None and "compound" not in result.tasks:
        print_message("note: no forecast, as all scored rows are of one video: how much videos differ is not known")
    published, reason = _find_published(result, truth, split)
    if as_json:
        print_json({**_make_content(result, published, reason), **({"report": str(report)} if report else {})})
        return
    _show(result)
    _show_published(result, published, reason)
    if report:
        print(printable(f"report: {report}; open it in a browser"))
    if (stored := submission.with_suffix(".npz")).is_file():
        print_next_step("tune", stored, "--truth", truth, "--out", submission.with_name("rule.json"))


def _find_published(result: "Score", truth: Path, rows: TruthSplit | None) -> tuple["list[PublishedResult]", str]:
    """Published results of the split that was scored, the best first; or none, and why."""
    from abawkit.scoring.baselines import PUBLISHED_RESULTS, find_official_split

    if result.tasks != TASKS:
        return [], "no published result beside it: those are for all three tasks together"
    if rows not in (None, "validation"):
        return [], f"no published result beside it: those are of validation and test sets, and not of {rows}"
    split, reason = find_official_split(truth)
    found = [published for published in PUBLISHED_RESULTS if published.split == split]
    return sorted(found, key=lambda published: -published.score), reason


def _make_content(result: "Score", published: "list[PublishedResult]", reason: str) -> dict[str, Any]:
    content = {
        **result.report(),
        "forecast": result.forecast.as_dict() if result.forecast else None,
        "details": result.details.as_dict() if result.details else None,
    }
    if result.other:
        other = result.other
        content["other"] = {
            **other.report(),
            "forecast": other.forecast.as_dict() if other.forecast else None,
            "details": other.details.as_dict() if other.details else None,
        }
    content["published"] = [asdict(each) for each in published]
    return content if published else {**content, "published_note": reason}


def _show(result: "Score") -> None:
    from abawkit.cli._output import show_table
    from abawkit.scoring.bootstrap import LEVEL

    shown, forecast, other = _list_measures(result), result.forecast, result.other
    values = {name: value for name, value, _ in _list_measures(other)} if other else {}
    columns = ["", "value", *(["from", "to"] if forecast else []), *([other.protocol] if other else [])]
    title = f"Score, {result.protocol} protocol, {format_count(result.rows, 'row')}"
    if forecast:
        title += f" of {_count(forecast.videos)}"
    if other:
        title += f" ({other.protocol}: {format_count(other.rows, 'row')})"
    if forecast:
        title += f"; {100 * LEVEL:.0f} % forecast for a test of {forecast.test_videos:,} others"
    rows = [
        (
            name,
            f"{value:.4f}",
            *(_format_ends(forecast, part) if forecast else ()),
            *([f"{values[name]:.4f}" if name in values else ""] if other else []),
        )
        for name, value, part in shown
    ]
    show_table(title, columns, rows)
    if "compound" in result.tasks:
        compound = zip(COMPOUND_EXPRESSIONS, result.compound_f1_per_class, strict=True)
        show_table("F1 by compound expression", ["", "F1"], [(name, f"{value:.4f}") for name, value in compound])
    if result.details:
        _show_details(result.details)


def _list_measures(result: "Score") -> list[tuple[str, float, str]]:
    """Name and value of each measure, and the part of the score whose forecast it has."""
    listed: dict[str, list[tuple[str, float, str]]] = {
        "va": [
            ("CCC valence", result.ccc_valence, ""),
            ("CCC arousal", result.ccc_arousal, ""),
            ("CCC, mean of both", result.ccc_va, "ccc_va"),
        ],
        "expression": [("F1, mean of 8 expressions", result.expression_f1, "expression_f1")],
        "au": [("F1, mean of 12 action units", result.au_f1, "au_f1")],
        "compound": [("F1, mean of 7 compound expressions", result.compound_f1, "")],
    }
    shown = [measure for task, measures in listed.items() if task in result.tasks for measure in measures]
    if result.tasks == TASKS:
        shown.append(("P", result.score, "score"))
    details = result.details
    if details and details.expression:
        shown.append(("accuracy, expressions", details.expression.accuracy, ""))
    if details and details.au:
        shown.append(("accuracy, mean of 12 units", details.au.accuracy, ""))
        shown.append(("all 12 units right", details.au.exact_match, ""))
    return shown


def _show_details(details: "Details") -> None:
    from abawkit.cli._output import show_table

    if details.values:
        rows = [
            (name, *map(_format_four, (v.ccc, v.pearson, v.accuracy, v.rmse)), f"{v.bias:+.4f}")
            for name, v in details.values.items()
        ]
        show_table("Valence and arousal; CCC = Pearson x C_b", ["", "CCC", "Pearson", "C_b", "RMSE", "bias"], rows)
    if details.expression:
        _show_classes("Expressions", details.expression.classes)
        _show_confusion(details.expression.confusion)
    if details.au:
        _show_classes("Action units", details.au.units)
    _show_videos(details.videos)


def _show_classes(title: str, classes: "dict[str, ClassDetails]") -> None:
    from abawkit.cli._output import show_table

    rows = [
        (
            name,
            f"{one.support:,}",
            *map(_format_three, (one.precision, one.recall)),
            f"{one.f1:.4f}",
            *map(_format_three, (one.accuracy, one.balanced_accuracy)),
        )
        for name, one in classes.items()
    ]
    full = f"{title}: precision, recall, F1, accuracy, balanced accuracy"
    show_table(full, ["", "rows", "prec", "recall", "F1", "acc", "bal acc"], rows)


def _show_confusion(confusion: list[list[int]]) -> None:
    """Rows of each annotated class by what they were predicted as, in per cent."""
    from abawkit.cli._output import show_table

    rows = [
        (name, *(f"{100 * count / sum(counts):.0f}" if sum(counts) else "-" for count in counts))
        for name, counts in zip(EXPRESSIONS, confusion, strict=True)
    ]
    show_table(
        "Of the rows annotated as (left), per cent predicted as (top)", ["", *(name[:3] for name in EXPRESSIONS)], rows
    )


_SHOWN_VIDEOS: Final = 3


def _show_videos(videos: "Sequence[VideoDetails]") -> None:
    from abawkit.cli._output import show_table
    from abawkit.scoring.details import LONG, select_long_videos

    known = select_long_videos(videos)
    if len(known) < 2:
        return
    cut = len(known) > 2 * _SHOWN_VIDEOS
    ends = [*known[:_SHOWN_VIDEOS], *known[-_SHOWN_VIDEOS:]] if cut else known
    rows = [
        (
            video.name,
            f"{video.rows:,}",
            *map(_format_three, (video.ccc_valence, video.ccc_arousal, video.expression_f1, video.au_f1)),
        )
        for video in ends
    ]
    title = "Best and worst videos" if cut else "Videos, the best first"
    title += f" of {LONG} rows and more" if len(known) < len(videos) else ""
    show_table(f"{title}; F1 over the classes that a video has", ["", "rows", "V", "A", "EXPR", "AU"], rows)


def _show_published(result: "Score", published: "list[PublishedResult]", reason: str) -> None:
    from abawkit.cli._output import show_table
    from abawkit.cli._tables import SCORE_HEADINGS

    if not published:
        if result.tasks == TASKS:
            print_message(f"note: {reason}")
        return
    rows = [
        (
            f"{each.name}{'' if each.protocol == 'official' else f' ({each.protocol})'}",
            *(f"{part:.4f}" for part in each.parts or ()),
            *([""] * (0 if each.parts else 3)),
            f"{each.score:.4f}",
        )
        for each in published
    ]
    own = (result.ccc_va, result.expression_f1, result.au_f1, result.score)
    mine = (f"this file ({result.protocol})", *(f"{value:.4f}" for value in own))
    show_table(f"Published, on the official {published[0].split} set", ["", *SCORE_HEADINGS.values()], [mine, *rows])


def _format_four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _format_three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _format_ends(forecast: "Forecast", part: str) -> tuple[str, str]:
    """The ends of a part's forecast; blank for what has none."""
    found = forecast.parts.get(part)
    return (f"{found.low:.4f}", f"{found.high:.4f}") if found else ("", "")


def _count(videos: int) -> str:
    return format_count(videos, "video")
