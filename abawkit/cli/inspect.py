"""``abawkit inspect``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Json
from abawkit.errors import DataError, printable

if TYPE_CHECKING:
    from abawkit.inspection import Inspection

_LISTED: Final = 10
_MAX_LINE: Final = 64


@command
def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Runs, checkpoints, weights, exports, submissions, curated sets, features, rules, label lists.",
        ),
    ],
    verify: Annotated[
        bool,
        typer.Option(
            help="Also read all frames of a curated set (raw: 6.4 GB for the official release), or all features."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what a file or folder is, what it was made of, with which digests, and what has changed since.

    Exits with 3 where something is damaged, or is no longer what its own records say.

    Example: abawkit inspect runs/first predictions.txt
    """
    from abawkit.inspection import inspect as look

    entries: list[dict[str, Any]] = []
    problems = 0
    for path in paths:
        try:
            found = look(path, verify=verify)
        except DataError as error:  # go on with the others
            entries.append({"path": str(path), "error": str(error)})
            problems += 1
            print_message(f"error: {error}")
            continue
        entries.append(found.as_dict())
        problems += len(found.problems)
        if not as_json:
            _show_inspection(found)
    if as_json:
        print_json({"ok": not problems, "inspected": entries})
    if problems:
        raise typer.Exit(DataError.exit_code)


def _show_inspection(found: "Inspection") -> None:
    from abawkit.cli._output import show_table, stdout

    show_table(
        printable(f"{found.path}: {found.summary}"), ["", "value"], list(_list_rows(found.facts)), text_columns=2
    )
    if found.digests:
        show_table("Digests", ["of", "SHA-256"], list(found.digests.items()), text_columns=2)
    console = stdout()
    for problem in found.problems:
        for i, line in enumerate(problem.split("\n")):
            console.print(printable(f"{'  ' if i else 'problem: '}{line}"))
    if found.problems:
        console.print()


def _list_rows(facts: Mapping[str, Any], level: int = 0) -> Iterator[tuple[str, str]]:
    """Facts as names and values; nested ones are indented below their parent."""
    for name, value in facts.items():
        shown = "  " * level + name.replace("_", " ")
        if isinstance(value, Mapping) and value and (line := _format_line(value)):
            yield shown, line
        elif isinstance(value, Mapping) and value:
            yield shown, ""
            yield from _list_rows(value, level + 1)
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            yield shown, str(len(value))
            for number, entry in enumerate(value[:_LISTED], start=1):
                yield from _list_rows({str(number): entry}, level + 1)
            if len(value) > _LISTED:
                yield "  " * (level + 1) + "...", f"{len(value) - _LISTED:,} more; --json prints all"
        else:
            yield shown, _format_value(name, value)


def _format_line(values: Mapping[str, Any]) -> str:
    """Values on one line, if they are few and short."""
    if any(isinstance(value, Mapping | list) for value in values.values()):
        return ""
    line = ", ".join(f"{name.replace('_', ' ')} {_format_value(name, value)}" for name, value in values.items())
    return line if len(line) <= _MAX_LINE else ""


def _format_value(name: str, value: Any) -> str:
    match value:
        case None | [] | {}:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value) if name == "seed" else f"{value:,}"
        case float() if name == "seconds":
            return f"{value:,.0f}"
        case float():
            return f"{value:,.4f}"
        case list():
            return ", ".join(_format_value("", entry) for entry in value)
        case _:
            return str(value)
