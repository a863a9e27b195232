"""Options that ``abawkit calibrate`` and ``abawkit tune`` share."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.choices import Protocol
from abawkit.cli.options import completing
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task

Truth = Annotated[
    Path, typer.Option("--truth", help="Annotation file, or a curated set, whose validation rows are the truth.")
]
RuleOut = Annotated[Path, typer.Option("--out", help="The rule to write (.json), for predict --rule and others.")]
CalibratedTasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="va|expression|au",
        help="The only task that may be calibrated; repeat for two of them.",
        autocompletion=completing(lambda: list(TASKS)),
    ),
]
Folds = Annotated[
    int, typer.Option(min=2, max=100, help="Folds of videos that figures come from; fewer of few videos.")
]
ScoredRows = Annotated[
    Protocol,
    typer.Option(help="official: each task on its annotated rows; strict: all on the rows where every task is."),
]


def calibrated_tasks(names: list[str] | None) -> list[Task] | None:
    """The tasks that ``--tasks`` names; None where it is left out.

    Raises:
        ConfigError: If one is no task.
    """
    for name in names or []:
        if name not in TASKS:
            raise ConfigError(f"--tasks {name}: no such task; give {', '.join(TASKS)}")
    return [task for task in TASKS if task in names] if names else None
