"""Options that several commands share."""

import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from abawkit.choices import Protocol
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task


def bound_threads(threads: int | None) -> int | None:
    """At most as many CPU threads as there are processors: more of them only wait for each other, for hours."""
    from abawkit.system.files import count_processors

    if threads is None or threads <= (most := count_processors()):
        return threads
    print(f"warning: --threads {threads}: this process may use {most} processors; {most} threads run", file=sys.stderr)
    return most


def set_threads(threads: int | None) -> None:
    """Has torch use as many CPU threads as were asked for, else as it would, but never more than there are processors.

    Args:
        threads: How many; None for torch's own number, which ``OMP_NUM_THREADS`` can have raised.
    """
    import torch

    from abawkit.system.files import count_processors

    torch.set_num_threads(min(threads or torch.get_num_threads(), count_processors()))


def list_registered(group: str) -> list[str]:
    """What installed packages register in a group of entry points, sorted; nothing of it is loaded."""
    return sorted({entry.name for entry in entry_points(group=group)})


def refuse_operator(name: str | None) -> None:
    """Refuses an implementation of the operator that no package registers, before torch is imported.

    Raises:
        OpUnavailableError: If there is none of this name.
    """
    from abawkit.errors import OpUnavailableError, printable

    names = list_registered("abawkit.ops")
    if name is not None and name not in names:
        raise OpUnavailableError(
            f"--ops {printable(name)}: no installed package offers this implementation; give one of "
            f"{printable(', '.join(names))}, or none for the best available"
        )


def refuse_device(name: str) -> None:
    """Refuses what can be no device, before torch is imported; whether it is here, torch says.

    Raises:
        ConfigError: If it is neither ``auto``, ``cpu`` nor ``cuda`` with or without a number.
    """
    from abawkit.errors import ConfigError, printable

    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", name):
        raise ConfigError(f"device '{printable(name)}' can't be used here; give cpu, cuda, cuda:1 or auto")


def list_shipped_recipes() -> list[str]:
    """Names of the training recipes that come with abawkit, found without what it takes to read one."""
    return sorted(path.stem for path in (Path(__file__).parent.parent / "training" / "recipes").glob("*.toml"))


def complete_with(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """What a shell offers for an option: those of some names that go on from what was typed."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def format_names() -> list[str]:
    """Names of the formats of submissions."""
    return list_registered("abawkit.formats")


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at the output path.")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the submission: {formats}.",
        autocompletion=complete_with(format_names),
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random number.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=1024, help="Processes or threads; one a processor by default.")
]
ListFile = Annotated[Path, typer.Option("--list", help="The list of frames to answer, as released (MTL.txt).")]
FrameCounts = Annotated[
    Path | None,
    typer.Option(
        "--frame-counts",
        metavar="FILE|FOLDER",
        help="Frames of each video, for formats of a file a video: VIDEO,FRAMES lines, or a folder of videos or crops.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, callback=bound_threads, help="CPU threads; as processors by default, and at most."
    ),
]
Ops = Annotated[
    str | None,
    typer.Option(
        "--ops",
        metavar="NAME",
        help="Implementation of the attention, as `abawkit ops` lists; default: best.",
        autocompletion=complete_with(lambda: list_registered("abawkit.ops")),
    ),
]
ProbabilityTable = Annotated[
    Path | None,
    typer.Option("--probabilities", metavar="FILE", help="Write the probabilities here too: .csv, .parquet or .npz."),
]
Frames = Annotated[
    list[Path] | None,
    typer.Option("--frames", help="Folder of the frames; repeat it for several, which are searched in this order."),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow symbolic links out of the folders of frames, to another disk.")
]


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
        autocompletion=complete_with(lambda: list(TASKS)),
    ),
]
Folds = Annotated[
    int, typer.Option(min=2, max=100, help="Folds of videos that figures come from; fewer of few videos.")
]
ScoredRows = Annotated[
    Protocol,
    typer.Option(help="official: each task on its annotated rows; strict: all on the rows where every task is."),
]


def find_calibrated_tasks(names: list[str] | None) -> list[Task] | None:
    """The tasks that ``--tasks`` names; None where it is left out.

    Raises:
        ConfigError: If one is no task.
    """
    for name in names or []:
        if name not in TASKS:
            raise ConfigError(f"--tasks {name}: no such task; give {', '.join(TASKS)}")
    return [task for task in TASKS if task in names] if names else None
