"""``abawkit recipes``."""

from typing import Annotated, Any

import typer

from abawkit.cli._command import command, print_json
from abawkit.cli._options import Json
from abawkit.errors import ConfigError, printable


@command
def recipes(
    name: Annotated[str | None, typer.Argument(help="The recipe to print; without it, all are listed.")] = None,
    as_json: Json = False,
) -> None:
    """List the training recipes that come with abawkit, or print one of them.

    Example: abawkit recipes baseline > mine.toml
    """
    from abawkit.training.recipe import list_recipes, read_recipe, read_shipped

    names = list_recipes()
    if name is not None and name not in names:
        raise ConfigError(f"{printable(name)}: no recipe of this name comes with abawkit; these do: {', '.join(names)}")
    if as_json:
        chosen = names if name is None else [name]
        print_json({"recipes": [{"name": n, "text": read_shipped(n), **read_recipe(n).model_dump()} for n in chosen]})
    elif name is not None:
        print(read_shipped(name), end="")
    else:
        _show({n: (read_shipped(n), read_recipe(n)) for n in names})


def _show(found: dict[str, tuple[str, Any]]) -> None:
    from abawkit.cli._output import show_table, stdout

    columns = ["name", "network", "weights", "heads", "all", "batch", "rate"]
    rows = [
        (name, recipe.network, recipe.weights, *(f"{value:g}" for value in _numbers(recipe)))
        for name, (_, recipe) in found.items()
    ]
    title = "Training recipes; epochs of the heads and of all, rows of a batch, learning rate"
    show_table(title, columns, rows, text_columns=3)
    console = stdout()
    for name, (text, _) in found.items():
        console.print(f"{name}: {_first_sentence(text)}")
    console.print("`abawkit recipes NAME` prints one; `abawkit train NAME` trains by it, --set changes a key")


def _numbers(recipe: Any) -> tuple[float, ...]:
    return recipe.heads.epochs, recipe.all.epochs, recipe.batch_size, recipe.all.learning_rate


def _first_sentence(text: str) -> str:
    """What a recipe says of itself in the comment that it begins with, up to its first full stop."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")
