"""``abawkit synth``."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli._command import command, needs, print_json, print_next_step
from abawkit.cli._options import Force, Json, Seed, Workers


class _ReleaseSize(StrEnum):
    TINY = "tiny"
    DEMO = "demo"
    LARGE = "large"


@command
@needs("difficulty", "!labels_only")
@needs("workers", "!labels_only")
def synth(
    out: Annotated[Path, typer.Argument(help="Folder for the release.")],
    size: Annotated[
        _ReleaseSize, typer.Option(help="tiny: 300 frames, demo: 13,000, large: 50,000.")
    ] = _ReleaseSize.DEMO,
    seed: Seed = 0,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Write annotations only, no frames.")] = False,
    difficulty: Annotated[float, typer.Option(min=0.0, max=1.0, help="Strength of pose, light and noise.")] = 0.45,
    workers: Workers = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a synthetic release in the official layout: rendered faces, and labels that follow from them.

    The truth of its test split is apart, in held_out/, for `abawkit score` alone.

    Example: abawkit synth release --size demo
    """
    from abawkit import api
    from abawkit.cli._output import format_number, progress_bar, show_table

    with progress_bar("frames") as progress:
        summary = api.write_release(
            out,
            size=size.value,
            seed=seed,
            labels_only=labels_only,
            difficulty=difficulty,
            workers=workers,
            force=force,
            progress=progress,
        )
    splits = asdict(summary)
    if as_json:
        print_json(splits)
        return
    rows = [
        [name, *(format_number(counts[key]) for key in ("rows", "repeated_rows", "videos", "frames"))]
        for name, counts in splits.items()
    ]
    show_table(f"Written: {out}", ["", "rows", "repeated", "videos", "frames"], rows)
    print_next_step("curate", out, "--policy", "per-task", "--out", out.with_name(f"{out.name}-curated"))
