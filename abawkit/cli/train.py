"""``abawkit train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.cli.command import command, print_json, say
from abawkit.cli.options import Force, Json, Ops, Threads
from abawkit.errors import ConfigError, printable

if TYPE_CHECKING:
    from abawkit.training.run import Trained


@command
def train(
    recipe: Annotated[str, typer.Argument(help="TOML file, or the name of a recipe that comes with abawkit.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the curated set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the run.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe, as losses.au=0.5; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's seed.")] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="va|expression|au", help="Train this task alone; repeat for two of them."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Start from a file of weights, or from published ones (.pth).")
    ] = None,
    ops: Ops = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a network on a curated set.

    The run folder gets recipe.toml (with every default), manifest.json, metrics.jsonl (a line an epoch),
    best.safetensors and last.safetensors. Recipes that come with abawkit: demo, baseline, paper.

    Example: abawkit train demo --data curated --out runs/first --set all.epochs=4
    """
    from abawkit.files import new_folder
    from abawkit.training.recipe import read_recipe

    settings = list(changes or [])
    settings += [f"seed={seed}"] if seed is not None else []
    settings += [f"tasks={tasks}"] if tasks else []
    resolved = read_recipe(recipe, settings)
    for source in (data, *([weights] if weights else [])):
        if source.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(data.resolve()):
            raise ConfigError(f"--out {out}: would write where {source} is read from; give another folder")

    import torch

    from abawkit.cli.training_bar import training_bar
    from abawkit.ops import use
    from abawkit.training.run import operators_of
    from abawkit.training.run import train as run

    if threads:
        torch.set_num_threads(threads)
    with use(ops, said=f"--ops {ops}"):
        operators_of(resolved)  # ends here if it can't run, before there is a folder
        folder = new_folder(out, force=force)
        with training_bar() as on_step:
            result = run(resolved, data, folder, weights=weights, on_step=on_step, on_epoch=_say_epoch)
    if as_json:
        scores = {str(protocol): score.as_dict() for protocol, score in result.scores.items()}
        content: dict[str, Any] = {"out": str(result.out), "best_epoch": result.best_epoch, "figure": result.figure}
        print_json({**content, "seconds": round(result.seconds, 1), "validation": scores})
    else:
        _show(result)


def _say_epoch(line: dict[str, Any]) -> None:
    official = line["official"]
    say(
        f"epoch {line['epoch'] + 1}: loss {line['losses']['total']:.3f}, validation P {official['score']:.4f} "
        f"(CCC {official['ccc_va']:.3f}, EXPR {official['expression_f1']:.3f}, AU {official['au_f1']:.3f}), "
        f"{line['images_per_second']:.0f} images/s"
    )


def _show(result: "Trained") -> None:
    from abawkit.cli.display import show_table, stdout

    rows = [
        (protocol, *(f"{value:.4f}" for value in (s.ccc_va, s.expression_f1, s.au_f1, s.score)))
        for protocol, s in result.scores.items()
    ]
    title = f"Validation, best epoch {result.best_epoch + 1}"
    show_table(title, ["protocol", "CCC", "EXPR", "AU", "P"], rows)
    stdout().print(printable(f"written: {result.out} ({result.seconds:.0f} s)"))
