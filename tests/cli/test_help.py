"""Help pages: as wide as the terminal, a summary, an example, and a text for every option."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from abawkit.cli.app import app


def walk(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, *path, name)


COMMANDS = dict(walk(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_it_fits_the_terminal_and_shows_no_type_of_flags(path: tuple[str, ...]) -> None:
    for columns in (60, 80, 120):
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(columns)})
        assert shown.exit_code == 0
        assert max(map(len, shown.stdout.splitlines())) <= columns
        assert "<bool>" not in shown.stdout


@pytest.mark.parametrize("path", [path for path in COMMANDS if path], ids=" ".join)
def test_it_has_a_summary_an_example_and_a_text_for_every_option(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help.partition("\n\n")[0].rstrip().endswith((".", "`"))
    assert f"Example: abawkit {' '.join(path)}" in command.help
    assert [option.name for option in command.params if not option.help and not option.hidden] == []


def test_a_paragraph_is_wrapped_by_the_terminal_alone() -> None:
    shown = CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "120"}).stdout
    lines = [line.strip() for line in shown.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("The score shown first"))
    assert len(lines[start]) > 100
