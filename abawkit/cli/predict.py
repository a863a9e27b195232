"""``abawkit predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Missing, Split
from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import (
    FollowLinks,
    Force,
    Format,
    FrameCounts,
    Frames,
    Json,
    Ops,
    ProbabilityTable,
    Threads,
    refuse_device,
    refuse_operator,
    set_threads,
)
from abawkit.errors import ConfigError, DataError, format_count, printable

if TYPE_CHECKING:
    from abawkit.formats.base import SubmissionFormat
    from abawkit.frames.paths import FrameFolders
    from abawkit.prediction.sources import CuratedFrames, ListedFrames


@command
def predict(
    checkpoints: Annotated[list[Path], typer.Argument(help="Run folders (their best epoch) or files of weights.")],
    out: Annotated[
        Path, typer.Option("--out", help="The official file (or folder) to write; .npz and .json go beside it.")
    ],
    frame_list: Annotated[
        Path | None, typer.Option("--list", help="The list of frames to answer, as released (MTL.txt).")
    ] = None,
    frames: Frames = None,
    follow_links: FollowLinks = False,
    split: Annotated[Split | None, typer.Option(help="Predict a split of a curated set instead of a list.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the curated set, with --split.")] = None,
    format_name: Format = "abaw7",
    frame_counts: FrameCounts = None,
    rule: Annotated[
        Path | None,
        typer.Option(help="A rule, of abawkit tune for one: weights, smoothing, calibration."),
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="Frames that can't be read: refuse, or answer as for the video's nearest frame.")
    ] = "refuse",
    table: ProbabilityTable = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
    ops: Ops = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Average the probabilities of several checkpoints and write the official file, row for row.

    With --rule, they are weighed, smoothed and calibrated as it says. A format of one task asks for checkpoints of that
    task alone.

    Without --list, every image of --frames is a row, in natural order.

    Beside it go the probabilities (.npz) and a manifest (.json) with the digests of everything that it was made of.

    Example: abawkit predict runs/a runs/b --list MTL.txt --frames test_data/cropped_aligned --out predictions.txt
    """
    from abawkit.cli._claims import claim_prediction, claim_probabilities
    from abawkit.formats.base import get_format
    from abawkit.formats.frame_counts import apply_frame_counts, refuse_other_counts
    from abawkit.frames.paths import list_given_folders
    from abawkit.postprocessing.outputs import list_outputs
    from abawkit.postprocessing.rule import read_rule
    from abawkit.probabilities.members import copy_probabilities

    plugin = apply_frame_counts(get_format(format_name), frame_counts)
    read = [s for s in (*checkpoints, frame_list, *(frames or []), data, frame_counts, rule) if s]
    claim_prediction(out, plugin.container, force=force, inputs=read)
    if table:
        claim_probabilities(table, force=force, inputs=read, others=list_outputs(out))
    applied = read_rule(rule) if rule else None
    if follow_links and not frames:
        raise ConfigError("--follow-links goes with --frames: packed frames have no links")
    folders = list_given_folders(frames, follow_links)
    refuse_operator(ops)
    refuse_device(device)
    _refuse_absent(checkpoints)
    source = _source(frame_list, folders, split, data, plugin)
    if frame_counts:
        refuse_other_counts(plugin, source.images)

    from abawkit.cli._output import progress_bar
    from abawkit.ops import use
    from abawkit.prediction.predict import predict as run

    set_threads(threads)
    with use(ops, said=f"--ops {ops}"), progress_bar("frames") as progress:
        result = run(
            checkpoints,
            source,
            out,
            plugin,
            rule=applied,
            missing=missing,
            device=device,
            force=force,
            progress=progress,
        )
    if table:
        copy_probabilities(result.probabilities, table)
    for row, other in list(result.filled.items())[:10]:
        print_message(
            f"warning: row {row + 1:,} ({source.images[row]}) has no frame; it is answered as {source.images[other]}"
        )
    if len(result.filled) > 10:
        print_message(
            f"warning: ... and {format_count(len(result.filled) - 10, 'more row')}; {result.manifest.name} "
            "names them all"
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


def _refuse_absent(checkpoints: list[Path]) -> None:
    """Names a run or a file of weights that is not there before torch is imported."""
    from abawkit.training.run_files import BEST

    for path in checkpoints:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; give a run's folder, or a file of weights")
        if path.is_dir() and not (path / BEST).exists():
            raise DataError(
                f"{path}: this folder holds no {BEST}; give the folder of a finished run, or a file of weights"
            )


def _source(
    frame_list: Path | None,
    frames: "FrameFolders | None",
    split: Split | None,
    data: Path | None,
    plugin: "SubmissionFormat",
) -> "ListedFrames | CuratedFrames":
    from abawkit.curation import open_curated
    from abawkit.formats.frame_counts import list_crops
    from abawkit.prediction.sources import CuratedFrames, ListedFrames, list_folder_frames
    from abawkit.tables import VideoList

    if split and data and not (frame_list or frames):
        return CuratedFrames(open_curated(data), split)
    if frame_list and frames and not (split or data):
        listed = plugin.read_list(frame_list)
        for folder in frames.folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
        if isinstance(listed, VideoList):
            listed = list_crops(listed, frames.folders)
            if not getattr(plugin, "frame_counts", None):
                print_message(
                    "warning: files end with the last crop of each video; --frame-counts says where the videos end"
                )
        return ListedFrames(frame_list, frames, listed.images.to_pylist(), listed.digest)
    if frames and not (frame_list or split or data):
        return list_folder_frames(frames, plugin)
    raise ConfigError(
        "give --list and --frames for a list of frames, --frames alone for every image of a folder, or --split and "
        "--data for a curated split"
    )
