"""``abawkit explain``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Split
from abawkit.cli._command import command, needs, print_json
from abawkit.cli._options import FollowLinks, Force, Frames, Json
from abawkit.errors import ConfigError, DataError, format_count, list_first, printable
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, Task

if TYPE_CHECKING:
    from abawkit.models.inference import Probabilities
    from abawkit.tables import Array


@command
@needs("split", "data")
@needs("follow_links", "frames")
@needs("count", "!images")
def explain(
    source: Annotated[Path, typer.Argument(help="Run folder (its best epoch is taken) or file of weights.")],
    out: Annotated[Path, typer.Option("--out", help="The picture to write (.png).")],
    frames: Frames = None,
    follow_links: FollowLinks = False,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of a curated set, in place of --frames.")] = None,
    split: Annotated[Split, typer.Option(help="Split of the curated set.")] = "validation",
    images: Annotated[
        list[str] | None, typer.Option("--images", metavar="NAME", help="Show this frame; can be repeated.")
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=64, help="Number of frames, evenly spaced over all of them.")
    ] = 8,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw what the attention heads of a network look at, over the faces, as a grid of pictures.

    Each line is a frame: the face, the gates of each head, and their maximum, which the network multiplies its features
    with. The gates are averaged over channels; each picture runs from its lowest to its highest value, which stand
    below it. Beside each frame is what the network answers.

    The picture shows faces: where they are of a licensed data set, its terms are those of the picture.

    Example: abawkit explain runs/a --data curated --out gates.png
    """
    from abawkit.claims import claim_file
    from abawkit.inspection.output_kinds import EXPLANATION
    from abawkit.prediction.sources import refuse_absent_networks

    if bool(frames) == bool(data):
        raise ConfigError("give --frames for a folder of frames, or --data for a curated set, and not both")
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: expected a name that ends in .png")
    claim_file(out, force=force, kind=EXPLANATION, inputs=[source, *(frames or ()), *([data] if data else ())])
    refuse_absent_networks([source])
    names, pixels = _read_chosen(frames, follow_links, data, split, images or [], count)

    import torch

    from abawkit.models.inference import infer_gates
    from abawkit.models.network import DDAMFN
    from abawkit.prediction.networks import load_members
    from abawkit.reports.explain import draw_gates
    from abawkit.system.files import write_bytes

    (member,) = load_members([source], torch.device("cpu"), ())
    network = member.network
    if not isinstance(network, DDAMFN):
        raise ConfigError(
            f"{member.path}: is a sequence network, which sees features; only one that sees frames has gates"
        )
    maps, probabilities = infer_gates(network, pixels)
    answers = _describe_answers(probabilities, member.tasks)
    title = f"{source.name}: gates at {maps.shape[2]} x {maps.shape[3]} positions"
    write_bytes(out, draw_gates(pixels, maps, names, answers, title=title))
    heads = network.config.attention_heads
    if as_json:
        content = [
            {"image": name, "gates": each.tolist()}
            for name, each in zip(names, maps.astype("float64").round(4), strict=True)
        ]
        print_json(
            {"out": str(out), "source": str(member.path), "digest": member.digest, "heads": heads, "frames": content}
        )
        return
    print(printable(f"{out}: gates of {format_count(heads, 'head')} over {format_count(len(names), 'frame')}"))


def _read_chosen(
    frames: list[Path] | None, follow_links: bool, data: Path | None, split: Split, images: list[str], count: int
) -> "tuple[list[str], Array]":
    """Names and pixels, (n, 112, 112, 3) uint8, of the frames to show."""
    import numpy as np

    from abawkit.curation.curated_set import open_curated
    from abawkit.frames.image_folder import FolderFrames
    from abawkit.frames.listing import list_images
    from abawkit.frames.packed import PackedFrames
    from abawkit.frames.paths import make_given_folders

    store: FolderFrames | PackedFrames
    if data:
        curated = open_curated(data)
        part, store = curated.splits[split], curated.open_frames()
        known = zip(part.annotations.images.to_pylist(), part.frames.tolist(), strict=True)
        index = {name: frame for name, frame in known if frame >= 0}
        where = f"the {split} split of {data}"
    else:
        root = make_given_folders(frames, follow_links)
        assert root is not None  # noqa: S101 - one of the two is given
        listing = list_images(root)
        store = FolderFrames(listing.images, listing.root)
        index = {name: number for number, name in enumerate(listing.images)}
        where = str(root)
    if not index:
        raise DataError(f"{where}: holds no frame; give another split or folder")
    if absent := [name for name in images if name not in index]:
        shown = list_first([f"--images {name}: no such frame in {where}" for name in absent])
        raise DataError("\n".join([*shown, f"names are like {next(iter(index))}"]))
    every = list(index)
    spaced = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))]
    chosen = list(dict.fromkeys(images)) or spaced
    return chosen, store.take(np.array([index[name] for name in chosen], dtype=np.int64))


def _describe_answers(probabilities: "Probabilities", tasks: "tuple[Task, ...]") -> list[str]:
    """What a network answers for each frame, a line for each task that it was trained for."""
    lines = []
    for va, expression, au in zip(*probabilities, strict=True):
        active = [name for name, value in zip(ACTION_UNITS, au, strict=True) if value >= 0.5]
        texts = {
            "va": f"V {va[0]:+.2f}, A {va[1]:+.2f}",
            "expression": f"{EXPRESSIONS[int(expression.argmax())]} {expression.max():.2f}",
            "au": " ".join(active[:4]) + (f" +{len(active) - 4}" if len(active) > 4 else "") if active else "no AU",
        }
        lines.append("\n".join(texts[task] for task in tasks))
    return lines
