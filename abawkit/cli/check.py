"""``abawkit check``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli.command import command, print_json, say
from abawkit.cli.options import Format, Json, ListFile


@command
def check(
    submission: Annotated[Path, typer.Argument(help="The file to hand in.")],
    frames: ListFile,
    format_name: Format = "abaw7",
    as_json: Json = False,
) -> None:
    """Say `ok`, or every defect of a submission with its line.

    Exits with 0 for a good file, with 3 for any other.

    Example: abawkit check predictions.txt --format abaw7 --list MTL.txt
    """
    from abawkit.formats.base import get_format

    plugin = get_format(format_name)
    listed = plugin.read_list(frames)
    problems = plugin.check(submission, listed)
    if as_json:
        found = [{"line": p.line, "column": p.column, "message": p.message} for p in problems]
        print_json({"ok": not problems, "rows": len(listed), "problems": found})
    elif not problems:
        print(f"ok: {len(listed):,} rows, as listed")
    else:
        for problem in problems:
            print(problem.text(submission))
        say(f"not ready to hand in: {len(problems):,} problem{'s' if len(problems) > 1 else ''} in {submission}")
    if problems:
        raise typer.Exit(3)
