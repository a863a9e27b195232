"""``abawkit predict``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.choices import InferencePrecision, Missing, Split
from abawkit.cli._command import command, print_json, print_next_step
from abawkit.cli._options import (
    Features,
    FollowLinks,
    Force,
    Format,
    FrameCounts,
    Frames,
    Json,
    Ops,
    ProbabilityTable,
    Threads,
    list_format_option,
)
from abawkit.errors import format_count, printable


@command
def predict(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Runs (their best epoch), folders of folds (all of them) or weights.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The official file (or folder) to write; .npz and .json go beside it.")
    ],
    frame_list: Annotated[
        Path | None, typer.Option("--list", help="The list of frames to answer, as released (MTL.txt).")
    ] = None,
    frames: Frames = None,
    follow_links: FollowLinks = False,
    features: Features = None,
    split: Annotated[Split | None, typer.Option(help="Predict a split of a curated set instead of a list.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the curated set, with --split.")] = None,
    format_name: Format = "abaw7",
    frame_counts: FrameCounts = None,
    rule: Annotated[
        Path | None,
        typer.Option(help="A rule, of abawkit tune for one: weights, smoothing, calibration."),
    ] = None,
    missing: Annotated[
        Missing,
        typer.Option(help="Unreadable frames: refuse them, or take the answer of the nearest frame of the video."),
    ] = "refuse",
    table: ProbabilityTable = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
    precision: Annotated[
        InferencePrecision,
        typer.Option(help="What networks compute with; bfloat16 is faster on processors and GPUs that have it."),
    ] = "float32",
    ops: Ops = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Average the probabilities of several checkpoints and write the official file, row for row.

    With --rule, they are weighted, smoothed and calibrated by that rule. A single-task format needs checkpoints of its
    task only.

    Without --list, every image of --frames is a row, in natural order. Sequence networks read --features in place of
    frames: where all networks are such, --frames is not needed.

    The probabilities (.npz) and a manifest (.json) with the digests of all inputs are written beside it.

    Example: abawkit predict runs/a runs/b --list MTL.txt --frames test_data/cropped_aligned --out predictions.txt
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar

    with progress_bar("frames") as progress:
        result = api.predict(
            checkpoints,
            out,
            frame_list=frame_list,
            frames=frames,
            follow_links=follow_links,
            features=features,
            split=split,
            data=data,
            format_name=format_name,
            frame_counts=frame_counts,
            rule=rule,
            missing=missing,
            probabilities=table,
            device=device,
            precision=precision,
            ops=ops,
            threads=threads,
            force=force,
            progress=progress,
        )
    if as_json:
        paths = {"submission": result.submission, "probabilities": result.probabilities, "manifest": result.manifest}
        members = [{"path": str(m.path), "digest": m.digest, "tasks": list(m.tasks)} for m in result.members]
        written = {name: str(path) for name, path in paths.items()}
        print_json({**written, "rows": result.rows, "members": members, "filled": len(result.filled)})
    else:
        count = format_count(len(result.members), "network")
        print(printable(f"{result.submission}: {format_count(result.rows, 'row')} from {count}"))
        print(printable(f"beside it: {result.probabilities.name}, {result.manifest.name}"))
        if table:
            print(printable(f"{table}: the probabilities"))
        if data and split == "validation":
            print_next_step("score", result.submission, "--truth", data, *list_format_option(format_name))
        elif frame_list:
            print_next_step("check", result.submission, "--list", frame_list, *list_format_option(format_name))
