"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at the output path.")]
Format = Annotated[str, typer.Option("--format", help="Format of the submission.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random number.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=1024, help="Processes or threads; one a processor by default.")
]
ListFile = Annotated[Path, typer.Option("--list", help="The list of frames to answer, as released (MTL.txt).")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads; default: as processors.")]
Ops = Annotated[
    str | None,
    typer.Option(
        "--ops", metavar="NAME", help="Implementation of the attention, as `abawkit ops` lists; default: best."
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
