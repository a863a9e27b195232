"""``abawkit features``, with its commands ``extract`` and ``import``."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from abawkit.choices import Missing
from abawkit.cli._command import App, Group, command, print_json
from abawkit.cli._options import FollowLinks, Force, Format, Frames, Json, Ops, Threads
from abawkit.errors import format_count, printable
from abawkit.system.launcher import read_launch

_HELP: Final = ("-h", "--help")


class _Features(Group):
    """A group of which the command ``extract`` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; those that begin with no command are for ``extract``."""
        if args and args[0] not in (*self.commands, *_HELP):
            args = ["extract", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


features = App(cls=_Features)

FeaturesOut = Annotated[Path, typer.Option("--out", help="Folder of the features to write.")]
StoredAs = Annotated[Literal["float16", "float32"], typer.Option("--dtype", help="Type of the stored numbers.")]
CuratedData = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of a curated set: its training rows, then its validation rows."),
]
RowsList = Annotated[Path | None, typer.Option("--list", help="In place of --data: a list of frames, as released.")]


@features.callback()
def _introduce() -> None:
    """Store the features of frames: extracted here, or computed by another program.

    `abawkit features SOURCE` is short for `abawkit features extract SOURCE`.

    Example: abawkit features runs/first --data curated --out features
    """


@features.command("extract", no_args_is_help=True)
@command
def extract_features(
    source: Annotated[
        Path,
        typer.Argument(help="A run's folder (its best epoch), weights, an ONNX file, or an installed extractor."),
    ],
    out: FeaturesOut,
    data: CuratedData = None,
    frame_list: RowsList = None,
    frames: Frames = None,
    follow_links: FollowLinks = False,
    format_name: Format = "abaw7",
    dtype: StoredAs = "float16",
    flip: Annotated[bool, typer.Option("--flip", help="Store the features of the mirrored frames too.")] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Frames in one pass; default: 32 on a CPU, 256 on a GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto; ONNX files run on the CPU.")] = "auto",
    ops: Ops = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Extract features of all frames of a curated set or of a list, and store them.

    Of a run or weights, the features are the embedding that the three heads take, of frames as predict prepares them.
    An ONNX file needs a TOML file of the same name beside it, with size, mean, deviation, layout and output.

    If it is stopped, the same command continues where it was, and the features are the same, bit for bit.

    Several processes, each of which extracts a part: torchrun --nproc-per-node 2 -m abawkit features ...

    Example: abawkit features extract runs/first --data curated --out features
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar

    is_main = read_launch().is_main
    with progress_bar("frames") if is_main else nullcontext() as progress:
        store = api.extract_features(
            source,
            out,
            data=data,
            frame_list=frame_list,
            frames=list(frames) if frames else None,
            follow_links=follow_links,
            format_name=format_name,
            dtype=dtype,
            flip=flip,
            batch=batch,
            device=device,
            ops=ops,
            threads=threads,
            force=force,
            progress=progress,
        )
    if is_main:
        _show_store(out, store, as_json)


@features.command("import", no_args_is_help=True)
@command
def import_features(
    file: Annotated[
        Path, typer.Argument(help="An .npz, .npy, .csv or .parquet, or a folder with such a file for each video.")
    ],
    out: FeaturesOut,
    data: CuratedData = None,
    frame_list: RowsList = None,
    format_name: Format = "abaw7",
    names: Annotated[
        Path | None, typer.Option("--names", help="The image names of an .npy: a text file, one name a line.")
    ] = None,
    first_frame: Annotated[
        int | None,
        typer.Option(
            "--first-frame", min=0, help="For a folder of VIDEO.npy: number of the frame in the first row of each."
        ),
    ] = None,
    drop_extra: Annotated[
        bool, typer.Option("--drop-extra", help="Leave out rows of the file whose image is not in the table.")
    ] = False,
    missing: Annotated[
        Missing,
        typer.Option(
            "--missing", help="Rows without features: refuse them, or take those of the nearest frame of the video."
        ),
    ] = "refuse",
    dtype: StoredAs = "float16",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Store features that another program computed, in the order of a table.

    An .npz has the arrays images (names) and features; an .npy has names in a file of its own; a .csv or .parquet has
    the column image and a column for each number. Rows are joined by name and occurrence: the second row of an image
    in the table gets its second row in the file. Missing, extra and repeated rows, and numbers that are not finite, are
    errors, and nothing is written.

    Example: abawkit features import theirs.npz --data curated --out features-theirs
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar

    with progress_bar("rows") as progress:
        store = api.import_features(
            file,
            out,
            data=data,
            frame_list=frame_list,
            format_name=format_name,
            names=names,
            first_frame=first_frame,
            drop_extra=drop_extra,
            missing=missing,
            dtype=dtype,
            force=force,
            progress=progress,
        )
    _show_store(out, store, as_json)


def _show_store(out: Path, store: Any, as_json: bool) -> None:
    m = store.manifest
    if as_json:
        content = {"rows": m.rows, "dimension": m.dimension, "dtype": m.dtype, "mirrored": m.mirrored}
        content["filled"] = len(m.frames.get("filled", ()))
        print_json({"out": str(out), **content, "digest": store.digest, "source": m.source})
        return
    rows = f"{format_count(m.rows, 'row')} of {format_count(m.dimension, 'number')} ({m.dtype})"
    print(printable(f"{out}: {rows}{', and of the mirrored frames' if m.mirrored else ''}"))
