"""Options that several commands share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from abawkit.choices import Protocol, TruthSplit
from abawkit.execution import list_operator_names, list_registered
from abawkit.labels import TASKS


def bound_threads(threads: int | None) -> int | None:
    """Limits CPU threads to the number of processors: more would only wait for each other."""
    from abawkit.system.files import count_processors

    if threads is None or threads <= (most := count_processors()):
        return threads
    print(f"warning: --threads {threads}: this process may use {most} processors; {most} threads run", file=sys.stderr)
    return most


def list_shipped_recipes() -> list[str]:
    """Names of the training recipes that come with abawkit, found without importing training."""
    return sorted(path.stem for path in (Path(__file__).parent.parent / "training" / "recipes").glob("*.toml"))


def complete_with(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """Shell completion of an option: the names that begin with what was typed."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def format_names() -> list[str]:
    """Names of the formats of submissions."""
    return list_registered("abawkit.formats")


def list_format_option(name: str) -> list[str]:
    """The option that names a format in a command that is printed; none for the usual one."""
    return [] if name == "abaw7" else ["--format", name]


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write tables and charts to this file, one HTML page.")]
LastReport = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Write tables and charts to this file, one HTML page; an earlier report is replaced."
    ),
]
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
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=1024, help="Processes or threads; default: one per processor.")
]
ListFile = Annotated[Path, typer.Option("--list", help="The list of frames to answer, as released (MTL.txt).")]
FrameCounts = Annotated[
    Path | None,
    typer.Option(
        "--frame-counts",
        metavar="FILE|FOLDER",
        help="Frames of each video, for formats with one file per video: VIDEO,FRAMES lines, or a folder of videos.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, callback=bound_threads, help="CPU threads; default and maximum: the number of processors."
    ),
]
Ops = Annotated[
    str | None,
    typer.Option(
        "--ops",
        metavar="NAME",
        help="Implementation of the operators (see `abawkit ops`); default: the best available.",
        autocompletion=complete_with(list_operator_names),
    ),
]
ProbabilityTable = Annotated[
    Path | None,
    typer.Option("--probabilities", metavar="FILE", help="Write the probabilities here too: .csv, .parquet or .npz."),
]
Frames = Annotated[
    list[Path] | None,
    typer.Option("--frames", help="Folder of the frames; can be repeated: folders are searched in this order."),
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="STORE",
        help="Features of the frames, for sequence networks; repeatable: side by side.",
    ),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow symbolic links that lead out of the folders of frames.")
]


Truth = Annotated[
    Path, typer.Option("--truth", help="Annotation file, or a curated set: its validation rows, or --split.")
]
RuleOut = Annotated[Path, typer.Option("--out", help="The rule to write (.json), for predict --rule and others.")]
CalibratedTasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="va|expression|au",
        help="Calibrate only this task; can be repeated.",
        autocompletion=complete_with(lambda: list(TASKS)),
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        min=2, max=100, help="Number of cross-validation folds, split by video; fewer if there are few videos."
    ),
]
ScoredRows = Annotated[
    Protocol,
    typer.Option(help="official: each task on its annotated rows; strict: all on the rows where every task is."),
]
TruthRows = Annotated[
    TruthSplit | None,
    typer.Option(
        "--split",
        help="Which rows of a curated set are the truth; default: validation. Of train, those that its policy keeps.",
    ),
]
