"""Pictures of what attention heads look at: a grid with a line for each frame and a column for each head."""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from abawkit.errors import printable
from abawkit.reports.charts import LEAST_SPAN
from abawkit.tables import Array

PICTURE_MARK: Final = "abawkit explain"
"""The program, in the notes of the picture, by which a picture is told from others."""

# inches
_CELL, _BELOW, _LEFT, _TOP = 1.5, 0.17, 1.5, 0.75

_LEGEND: Final = (
    "Mean of the gates over all channels. Each picture runs from its lowest value (blue) to its highest (yellow);\n"
    "both stand below it. Where they are nearly equal, the head looks everywhere alike."
)
_DOTS_PER_INCH: Final = 120
_PICTURE_SETTINGS: Final[Any] = {"font.family": "DejaVu Sans", "font.size": 8, "text.parse_math": False}


def draw_gates(pixels: Array, maps: Array, names: Sequence[str], answers: Sequence[str], *, title: str) -> bytes:
    """Draws how open the gates are, over the faces.

    Args:
        pixels: Frames, RGB, (n, S, S, 3) uint8, n at least 1.
        maps: For each frame and head the mean of the gates over channels, and last that of the heads' maximum where
            there are several, (n, k, H, W) in 0..1.
        names: Name of each frame.
        answers: What the network answers for each frame, a few lines each.
        title: Of the picture.

    Returns:
        A PNG; the same arguments give the same bytes.
    """
    count, columns = maps.shape[:2]
    heads = ["head 1"] if columns == 1 else [*(f"head {k}" for k in range(1, columns)), "maximum of heads"]
    width, height = _LEFT + (1 + columns) * _CELL + 0.1, _TOP + count * (_CELL + _BELOW) + 0.1
    with matplotlib.rc_context(_PICTURE_SETTINGS):
        figure = Figure(figsize=(width, height), facecolor="white")
        figure.text(0.1 / width, 1 - 0.12 / height, printable(title), va="top", fontsize=9, fontweight="bold")
        figure.text(0.1 / width, 1 - 0.32 / height, _LEGEND, va="top", fontsize=7)
        for row in range(count):
            base = height - _TOP - row * (_CELL + _BELOW) - _CELL
            text = "\n".join(printable(line) for line in f"{_cut_name(names[row])}\n\n{answers[row]}".split("\n"))
            figure.text(0.1 / width, (base + 0.5 * _CELL) / height, text, va="center", fontsize=7)
            for column in range(1 + columns):
                left = _LEFT + column * _CELL
                axes = figure.add_axes((left / width, base / height, 0.96 * _CELL / width, 0.96 * _CELL / height))
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(["frame", *heads][column], fontsize=8, pad=4)
                if column == 0:
                    axes.imshow(pixels[row])
                    continue
                _draw_overlay(axes, pixels[row], maps[row, column - 1])
                low, high = maps[row, column - 1].min(), maps[row, column - 1].max()
                middle, note = (left + 0.48 * _CELL) / width, f"{low:.3f} to {high:.3f}"
                figure.text(middle, (base - 0.03) / height, note, va="top", ha="center", fontsize=6.5)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": PICTURE_MARK})
    return file.getvalue()


def _draw_overlay(axes: Axes, frame: Array, gates: Array) -> None:
    """A map (H, W) over a frame in grey, from its lowest to its highest value."""
    axes.imshow(frame.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    middle, half = (float(gates.max()) + float(gates.min())) / 2, (float(gates.max()) - float(gates.min())) / 2
    half = max(half, LEAST_SPAN / 2)
    axes.imshow(
        gates,
        cmap="plasma",
        vmin=middle - half,
        vmax=middle + half,
        alpha=0.55,
        extent=(-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5),
        interpolation="bilinear",
    )


def _cut_name(name: str, most: int = 24) -> str:
    """Video and frame in two lines, each cut to what fits."""
    return "\n".join(part if len(part) <= most else f"…{part[1 - most :]}" for part in name.rsplit("/", 1))
