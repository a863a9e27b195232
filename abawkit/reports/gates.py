"""The section of a training report on what the attention heads look at, in a few validation frames."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.curation.curated_set import CuratedSet, open_curated, read_curation_ledger
from abawkit.errors import AbawkitError, format_count, printable
from abawkit.inspection.output_kinds import RELEASE
from abawkit.reports.charts import draw_maps
from abawkit.reports.page import Chart, ReportTable, Section
from abawkit.run_names import BEST
from abawkit.tables import Array

GATE_FRAMES: Final = 6

_UP_WORDS: Final = ("top", "middle", "bottom")
_ACROSS_WORDS: Final = ("left", "centre", "right")


def make_gate_sections(run: Path, manifest: Mapping[str, Any], *, with_frames: bool) -> list[Section]:
    """The gates of a run's best epoch in a few validation frames; none of a network that sees no frames.

    Args:
        run: The folder of the run.
        manifest: Of it.
        with_frames: Whether the frames themselves are shown; those of a synthetic release always are.
    """
    try:
        curated = open_curated(Path(manifest["data"]["folder"]))
        chosen = _choose_frames(curated)
        if chosen is None:
            return []
        names, pixels = chosen
        maps = _infer_maps(run / BEST, pixels)
        shown = with_frames or _is_synthetic(curated)
    except (AbawkitError, OSError) as error:
        return [Section("Attention", notes=[f"Not drawn: {printable(str(error).splitlines()[0])}"])]
    if maps is None:
        return []
    charts = [
        _chart_frame(f"gates-{number}", name, each, frame if shown else None)
        for number, (name, each, frame) in enumerate(zip(names, maps, pixels, strict=True), start=1)
    ]
    text = (
        f"How open the gates of each head are, mean over channels, in {format_count(len(names), 'validation frame')} "
        "that are evenly spaced. Each map runs from its lowest to its highest value; a head whose map is nearly flat "
        "looks everywhere alike."
    )
    if not shown:
        text += " The frames are not shown, as a data set with a licence forbids it; --with-frames of train shows them."
    return [Section("Attention", text, charts=charts)]


def _choose_frames(curated: CuratedSet) -> tuple[list[str], Array] | None:
    """Names and pixels of validation frames, evenly spaced; None of a set without packed frames."""
    part = curated.splits["validation"]
    known = np.flatnonzero(part.frames >= 0)
    if not curated.frames_digest or not len(known):
        return None
    rows = known[np.unique(np.linspace(0, len(known) - 1, GATE_FRAMES).round().astype(int))]
    names = [str(part.annotations.images[int(row)]) for row in rows]
    return names, curated.open_frames().take(part.frames[rows])


def _infer_maps(weights: Path, pixels: Array) -> Array | None:
    """The maps as of `abawkit.models.inference.infer_gates`; None of a network that sees no frames."""
    import torch

    from abawkit.models.inference import infer_gates
    from abawkit.models.network import DDAMFN
    from abawkit.prediction.networks import load_members

    with torch.random.fork_rng(devices=[]):
        (member,) = load_members([weights], torch.device("cpu"), ())
        if not isinstance(member.network, DDAMFN) or member.network.config.resolution != pixels.shape[1]:
            return None
        return infer_gates(member.network, pixels)[0]


def _is_synthetic(curated: CuratedSet) -> bool:
    """Whether all its annotations are those of a synthetic release, which is still there."""
    sources = read_curation_ledger(curated.folder).get("sources")
    paths = [source.get("path") for source in sources.values()] if isinstance(sources, dict) else []
    return bool(paths) and all(isinstance(path, str) and RELEASE.difference(Path(path).parent) == "" for path in paths)


def _chart_frame(name: str, frame_name: str, maps: Array, frame: Array | None) -> Chart:
    heads = ["head 1"] if len(maps) == 1 else [*(f"head {k}" for k in range(1, len(maps))), "maximum"]
    places = [_describe_place(each) for each in maps]
    text = f"Most open: {', '.join(f'{head} at the {place}' for head, place in zip(heads, places, strict=True))}."
    svg = draw_maps(name, f"Gates in {frame_name}", text, list(zip(heads, maps, strict=True)), frame)
    rows = [
        [head, f"{each.min():.3f}", f"{each.mean():.3f}", f"{each.max():.3f}", place]
        for head, each, place in zip(heads, maps, places, strict=True)
    ]
    return Chart(frame_name, text, svg, ReportTable("Gates", ["", "lowest", "mean", "highest", "most open at"], rows))


def _describe_place(gates: Array) -> str:
    """Where a map is highest, as one of nine fields."""
    row, column = np.unravel_index(int(gates.argmax()), gates.shape)
    up, across = _UP_WORDS[3 * int(row) // gates.shape[0]], _ACROSS_WORDS[3 * int(column) // gates.shape[1]]
    return "centre" if (up, across) == ("middle", "centre") else f"{up} {across}"
