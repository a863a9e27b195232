"""``abawkit demo``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Force, Json
from abawkit.errors import printable

if TYPE_CHECKING:
    from abawkit.pipeline.demo import DemoResult


class _Size(StrEnum):
    TINY = "tiny"
    DEMO = "demo"


@command
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path("demo"),
    size: Annotated[
        _Size, typer.Option(help="tiny shows the steps in a minute; its scores mean nothing.")
    ] = _Size.DEMO,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run everything on synthetic faces: synth, curate, train two seeds, predict, check, score. About five minutes.

    The same command goes on where one was stopped, and does nothing again that is there already.

    Example: abawkit demo --out demo
    """
    from abawkit.claims import claim
    from abawkit.cli._output import watch_training
    from abawkit.inspection.output_kinds import DEMO
    from abawkit.pipeline.commands import watch_steps
    from abawkit.pipeline.demo import holds_demo, open_demo, run_demo
    from abawkit.system.files import refuse_folder

    again = holds_demo(out, size.value, force=force)
    refuse_folder(out, force=force or again, kind=DEMO)
    claim(out)
    refuse_folder(out, force=force or again, kind=DEMO)  # it may be there since
    with watch_steps(watch_training):
        result = run_demo(
            open_demo(out, size=size.value, force=force), size=size.value, say=print_message if as_json else print
        )
    if as_json:
        content = {"members": result.members, "ensemble": result.ensemble, "constant": result.constant}
        print_json({**content, "report": str(result.report), "seconds": round(result.seconds, 1)})
    else:
        _show(result, out)
        if size is _Size.TINY:
            print("a tiny release teaches nothing: these scores only show that every step runs")
        print(printable(f"report: {result.report}; open it in a browser"))


def _show(result: "DemoResult", out: Path) -> None:
    from abawkit.cli._output import show_table, stdout
    from abawkit.cli._tables import SCORE_HEADINGS

    scored = [(f"seed {i}", member) for i, member in enumerate(result.members, start=1)]
    scored += [("ensemble", result.ensemble), ("constant answer", result.constant)]
    rows = [(name, *(f"{score[part]:.4f}" for part in SCORE_HEADINGS)) for name, score in scored]
    show_table("Held-out truth, official protocol", ["", *SCORE_HEADINGS.values()], rows)
    stdout().print(f"{result.seconds:.0f} s in all; the submission: {out / 'predictions.txt'}")
