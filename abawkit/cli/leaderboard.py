"""``abawkit leaderboard``."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli._command import command, print_json
from abawkit.cli._options import Json
from abawkit.errors import DataError
from abawkit.labels import TASKS

if TYPE_CHECKING:
    from abawkit.reports.leaderboard import TrainedResult


@command
def leaderboard(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="Folders that runs are in; default: runs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List everything that was trained below some folders, the best first.

    Scores on the validation split, out-of-fold scores of folds, scores of single folds and scores on training rows are
    not comparable: each kind has its own table. Runs that are unfinished or broken are listed as such.

    In the tables, "rows" are those that were scored, and "trained" those that the network was trained on.

    Example: abawkit leaderboard runs
    """
    from abawkit.reports.leaderboard import list_results

    given = folders or [Path("runs")]
    results = list_results(given)
    if not results:
        raise DataError(f"{', '.join(map(str, given))}: holds no run; `abawkit train --out runs/NAME` makes one")
    if as_json:
        print_json({"folders": [str(folder) for folder in given], "results": [each.as_dict() for each in results]})
        return
    _show_results(results)


_TITLES = {
    "validation": "Scored on the validation split, at the best epoch",
    "out of fold": "Out of fold: each row by the network that has not seen its video",
    "own fold": "Single folds, each scored on its own rows, at the best epoch",
    "in-sample": "In-sample: scored on training rows, so that scores are too high",
}


def _show_results(results: "Sequence[TrainedResult]") -> None:
    from abawkit.cli._output import show_table

    for kind, title in _TITLES.items():
        of_kind = [each for each in results if (each.scored_on, each.state) == (kind, "finished")]
        for rows_of in sorted({each.rows_of for each in of_kind}):
            chosen = [_name_cells(each) for each in of_kind if each.rows_of == rows_of]
            named = f"{title}, official protocol" + ("" if rows_of == "validation" else f"; rows of {rows_of}")
            show_table(named, list(chosen[0]), [list(cells.values()) for cells in chosen])
    if left := [each for each in results if each.state != "finished"]:
        rows = [
            (str(each.path), each.state, each.network or "-", _format_p(_find_p(each, "official")), each.problem)
            for each in left
        ]
        show_table("Unfinished or broken", ["", "state", "network", "best P so far", "why"], rows, text_columns=5)


def _name_cells(each: "TrainedResult") -> dict[str, str]:
    """The cells of a finished result by their headings; a score's range and the prediction's time only out of fold."""
    official = each.scores.get("official", {})
    cells = {"": str(each.path), "P": _format_p(_find_p(each, "official"))}
    if each.scored_on == "out of fold":
        cells["95 % forecast"] = f"{each.interval[0]:.4f}..{each.interval[1]:.4f}" if each.interval else "-"
    for heading, part in (("CCC", "ccc_va"), ("EXPR", "expression_f1"), ("AU", "au_f1")):
        cells[heading] = _format_p(official.get(part))
    cells["P strict"] = _format_p(_find_p(each, "strict"))
    cells["rows"], cells["trained"] = _format_rows(each.scored_rows), _format_rows(each.rows)
    cells["epoch"] = f"{each.best_epoch}/{each.epochs}" if each.epochs else str(each.best_epoch or "-")
    cells["training"] = _format_time(each.seconds)
    if each.scored_on == "out of fold":
        cells["prediction"] = _format_time(each.prediction_seconds)
    cells["recipe"] = f"{each.recipe}{f' +{each.changed}' if each.changed else ''}" if each.recipe else "-"
    cells["network"] = each.network or "-"
    return cells


def _find_p(each: "TrainedResult", protocol: Protocol) -> float | None:
    """The score of all three tasks; None where not all were trained."""
    return each.scores.get(protocol, {}).get("score") if set(each.tasks) == set(TASKS) else None


def _format_p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _format_rows(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _format_time(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
