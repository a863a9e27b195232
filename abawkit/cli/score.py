"""``abawkit score``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli.command import command, print_json
from abawkit.cli.options import Format, Json
from abawkit.labels import ACTION_UNITS, EXPRESSIONS

if TYPE_CHECKING:
    from abawkit.scoring.score import Score


@command
def score(
    submission: Annotated[Path, typer.Argument(help="The file to score.")],
    truth: Annotated[
        Path, typer.Option("--truth", help="Annotation file, or a curated set, whose validation rows are the truth.")
    ],
    protocol: Annotated[
        Protocol,
        typer.Option(help="official: each task on its annotated rows; strict: all on the rows where every task is."),
    ] = "official",
    format_name: Format = "abaw7",
    as_json: Json = False,
) -> None:
    """Score a submission: mean CCC of valence and arousal + mean F1 of 8 expressions + mean F1 of 12 action units.

    Rows are joined by row, repeats included. A submission whose rows are not those of the truth is refused.

    Example: abawkit score predictions.txt --truth validation_set_annotations.txt
    """
    from abawkit.scoring.files import score_file

    result = score_file(submission, truth, protocol=protocol, format_name=format_name)
    if as_json:
        print_json(result.as_dict())
    else:
        _show(result)


def _show(result: "Score") -> None:
    from abawkit.cli.display import number, show_table
    from abawkit.scoring.published import PUBLISHED

    parts = [("CCC valence", result.ccc_valence), ("CCC arousal", result.ccc_arousal)]
    sums = [("CCC, mean of both", result.ccc_va), ("F1, mean of 8 expressions", result.expression_f1)]
    sums += [("F1, mean of 12 action units", result.au_f1), ("P", result.score)]
    title = f"Score, {result.protocol} protocol, {number(result.rows)} rows"
    show_table(title, ["", "value"], [(name, f"{value:.4f}") for name, value in parts + sums])
    for title, names, values in (
        ("F1 by expression", EXPRESSIONS, result.expression_f1_per_class),
        ("F1 by action unit", ACTION_UNITS, result.au_f1_per_unit),
    ):
        show_table(title, ["", "F1"], [(n, f"{v:.4f}") for n, v in zip(names, values, strict=True)])
    rows = [
        (p.name, *(f"{part:.4f}" for part in p.parts or ()), *([""] * (0 if p.parts else 3)), f"{p.score:.4f}")
        for p in PUBLISHED
    ]
    mine = (f"this file ({result.protocol})", *(f"{v:.4f}" for _, v in sums))
    show_table("Published, on the official test set", ["", "CCC", "EXPR", "AU", "P"], [mine, *rows])
