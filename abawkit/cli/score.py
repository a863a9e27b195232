"""``abawkit score``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Format, Json
from abawkit.errors import format_count
from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, EXPRESSIONS, TASKS

if TYPE_CHECKING:
    from abawkit.scoring.forecast import Forecast
    from abawkit.scoring.score import Score


@command
def score(
    submission: Annotated[Path, typer.Argument(help="The file or folder to score.")],
    truth: Annotated[
        Path, typer.Option("--truth", help="Annotations, or a curated set, whose validation rows are the truth.")
    ],
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
    as_json: Json = False,
) -> None:
    """Score a submission: mean CCC of valence and arousal + mean F1 of 8 expressions + mean F1 of 12 action units.

    For a single-task format, only that task is scored; compound expressions by their mean F1, against a file of the
    same form. Rows are matched one by one, repeats included. A submission whose rows differ from the truth is refused.

    The forecast is the 95 % range of the score on a test set of other videos of the same kind.

    Example: abawkit score predictions.txt --truth validation_set_annotations.txt
    """
    from abawkit import api

    result = api.score(submission, truth, protocol=protocol, format_name=format_name, test_videos=test_videos)
    forecast = result.forecast
    if forecast is None and "compound" not in result.tasks:
        print_message("note: no forecast, as all scored rows are of one video: how much videos differ is not known")
    if as_json:
        print_json({**result.report(), "forecast": forecast.as_dict() if forecast else None})
    else:
        _show(result, forecast)


def _show(result: "Score", forecast: "Forecast | None") -> None:
    from abawkit.cli._output import show_table
    from abawkit.cli._tables import SCORE_HEADINGS
    from abawkit.scoring.baselines import PUBLISHED_RESULTS
    from abawkit.scoring.bootstrap import LEVEL

    parts = {
        "va": [("CCC valence", result.ccc_valence, ""), ("CCC arousal", result.ccc_arousal, "")],
        "compound": [("F1, mean of 7 compound expressions", result.compound_f1, "")],
    }
    sums = {
        "va": ("CCC, mean of both", result.ccc_va, "ccc_va"),
        "expression": ("F1, mean of 8 expressions", result.expression_f1, "expression_f1"),
        "au": ("F1, mean of 12 action units", result.au_f1, "au_f1"),
    }
    shown = [part for task in result.tasks for part in parts.get(task, [])]
    shown += [sums[task] for task in result.tasks if task in sums]
    complete = result.tasks == TASKS
    if complete:
        shown.append(("P", result.score, "score"))
    title = f"Score, {result.protocol} protocol, {format_count(result.rows, 'row')}"
    if forecast is None:
        show_table(title, ["", "value"], [(name, f"{value:.4f}") for name, value, _ in shown])
    else:
        show_table(
            f"{title} of {_count(forecast.videos)}; "
            f"{100 * LEVEL:.0f} % forecast for a test of {forecast.test_videos:,} others",
            ["", "value", "from", "to"],
            [(name, f"{value:.4f}", *_ends(forecast, part)) for name, value, part in shown],
        )
    for task, title, names, values in (
        ("expression", "F1 by expression", EXPRESSIONS, result.expression_f1_per_class),
        ("au", "F1 by action unit", ACTION_UNITS, result.au_f1_per_unit),
        ("compound", "F1 by compound expression", tuple(COMPOUND_EXPRESSIONS), result.compound_f1_per_class),
    ):
        if task in result.tasks:
            show_table(title, ["", "F1"], [(n, f"{v:.4f}") for n, v in zip(names, values, strict=True)])
    if not complete:
        return
    rows = [
        (p.name, *(f"{part:.4f}" for part in p.parts or ()), *([""] * (0 if p.parts else 3)), f"{p.score:.4f}")
        for p in PUBLISHED_RESULTS
    ]
    own = (result.ccc_va, result.expression_f1, result.au_f1, result.score)
    mine = (f"this file ({result.protocol})", *(f"{value:.4f}" for value in own))
    show_table("Published, on the official test set", ["", *SCORE_HEADINGS.values()], [mine, *rows])


def _ends(forecast: "Forecast", part: str) -> tuple[str, str]:
    """The ends of a part's forecast; blank for what has none."""
    found = forecast.parts.get(part)
    return (f"{found.low:.4f}", f"{found.high:.4f}") if found else ("", "")


def _count(videos: int) -> str:
    return format_count(videos, "video")
