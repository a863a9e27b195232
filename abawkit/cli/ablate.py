"""``abawkit ablate``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Json, LastReport, Threads, complete_with, list_shipped_recipes
from abawkit.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    from abawkit.ablation.report import Report


class _Size(StrEnum):
    TINY = "tiny"
    DEMO = "demo"


@command
def ablate(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything; an unfinished one is continued.")],
    release: Annotated[
        Path | None, typer.Argument(help="Folder of a release; by default a synthetic one is written.")
    ] = None,
    size: Annotated[
        _Size, typer.Option(help="Size of the synthetic release; tiny only shows the steps, its scores mean nothing.")
    ] = _Size.DEMO,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="Recipe of the base: a name or a TOML file.",
            autocompletion=complete_with(list_shipped_recipes),
        ),
    ] = "demo",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe for all rows; repeatable."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", help="Weights or a run that all networks start from; default: a stand-in is trained."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Networks per row of the table.")] = 3,
    protocol: Annotated[
        Protocol,
        typer.Option(help="Protocol of the main scores, and of everything that is fitted; the other one is shown too."),
    ] = "official",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=1024, help="Runs at the same time; default: one per processor, or one per GPU."
        ),
    ] = None,
    threads: Threads = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train again what was made with another recipe, data or weights.")
    ] = False,
    report: LastReport = None,
    as_json: Json = False,
) -> None:
    """Measure what each choice is worth: one table, every row under the same conditions, with deviation and interval.

    Rows: strict against per-task curation, the attention losses, a frozen backbone, a network for each task,
    thresholds, calibration, smoothing, ensembles. A second call redoes only what is missing. About an hour for
    --size demo on two cores.

    Example: abawkit ablate --size demo --out ablation
    """
    from abawkit.claims import claim, claim_file

    _refuse_inputs(release, recipe, changes or [], weights)
    claim(out)
    _refuse_other(out)
    if report:
        from abawkit.reports.page import REPORT

        claim_file(report, force=True, kind=REPORT, inputs=[each for each in (release, weights) if each])

    from abawkit.ablation.plan import Choices
    from abawkit.ablation.run import ablate as run
    from abawkit.cli._output import watch_training
    from abawkit.models.weight_files import find_weights
    from abawkit.pipeline.commands import ExecutionOptions, watch_steps
    from abawkit.system.files import count_processors

    at_once = jobs or _choose_jobs(recipe, changes or [])
    each = threads or max(1, count_processors() // at_once)
    options = ExecutionOptions(at_once, each, force=force, say=print_message)
    numbers = tuple(range(1, seeds + 1))
    choices = Choices(release, size.value, recipe, tuple(changes or []), weights and find_weights(weights), numbers)
    with watch_steps(watch_training):
        result = run(choices, out, options, protocol=protocol)
    if report:
        from abawkit.reports.ablation import make_ablation_page
        from abawkit.reports.page import write_page

        write_page(report, make_ablation_page(result))
    if as_json:
        print_json({**result.content, **({"report": str(report)} if report else {})})
        return
    _show_report(result, out)
    if report:
        print(printable(f"report: {report}; open it in a browser"))


def _refuse_inputs(release: Path | None, recipe: str, changes: list[str], weights: Path | None) -> None:
    """Names what is not there, or no recipe, before torch is imported."""
    from abawkit.curation import find_sources
    from abawkit.training.recipe import read_recipe, refuse_repeated_keys

    refuse_repeated_keys(changes)
    if read_recipe(recipe, changes).is_sequence:
        raise ConfigError(f"--recipe {recipe}: trains on stored features, and an ablation trains on frames")
    if release:
        find_sources(release)
    if weights and not weights.exists():
        raise DataError(f"{weights}: no such file; give weights that abawkit wrote, or published ones (.pth)")


def _refuse_other(out: Path) -> None:
    """Refuses a folder that holds anything but an ablation, before torch is imported."""
    from abawkit.ablation.workspace import ABLATION_NOTE
    from abawkit.system.files import list_entries

    if not (out / ABLATION_NOTE).exists() and list_entries(out):
        raise ConfigError(f"{out}: is not empty, and holds no ablation; give another folder")


def _choose_jobs(recipe: str, changes: list[str]) -> int:
    """Runs at a time: a processor trains one, and a GPU has memory for one."""
    from abawkit.models.inference import pick_device
    from abawkit.system.files import count_processors
    from abawkit.training.recipe import read_recipe

    return count_processors() if pick_device(read_recipe(recipe, changes).device).type == "cpu" else 1


def _show_report(result: "Report", out: Path) -> None:
    from abawkit.ablation.report import JSON_NAME, MARKDOWN_NAME, NARROW_HEADINGS, format_narrow_cells
    from abawkit.cli._output import show_table, stdout

    others = [protocol for protocol in result.rows[0].scores if protocol != result.protocol]
    for protocol in (result.protocol, *others):
        cells = [format_narrow_cells(row, protocol) for row in result.rows]
        show_table(f"Ablation, {protocol} protocol", NARROW_HEADINGS, cells)
    console = stdout()
    console.print("n: seeds; diff.: mean difference to the base; ~: within noise, the 95 % interval holds 0")
    console.print(printable(f"written: {out / JSON_NAME}, {out / MARKDOWN_NAME}"))
