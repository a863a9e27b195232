"""``abawkit doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli._command import command, print_json
from abawkit.cli._options import Json


@command
def doctor(
    folder: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="The folder for data and runs, whose disk is checked.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Check the installation and print how to fix each problem.

    Exits with 4 where something is wrong.

    Example: abawkit doctor
    """
    from abawkit.doctor import check_installation

    findings = check_installation(folder)
    if as_json:
        print_json({"ok": all(f.ok for f in findings), "findings": [f.as_dict() for f in findings]})
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name:<{width}}  {finding.found}")
        for finding in findings:
            if not finding.ok:
                print(f"to fix {finding.name}: {finding.fix}")
    if not all(f.ok for f in findings):
        raise typer.Exit(4)
