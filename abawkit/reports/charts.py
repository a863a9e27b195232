"""The charts of the pages, each drawn from its numbers by `abawkit.reports.drawing`.

Marks that would be thousands of paths are an image inside the chart.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from abawkit.reports.drawing import FIRST, INK, LINE, MUTED, SECOND, THIRD, draw
from abawkit.scoring.reliability import Reliability
from abawkit.tables import Array

_DENSITY: Final = (0.27, 0.55, 0.85)  # seen on light and dark

LEAST_SPAN: Final = 0.02
"""Maps that differ by less are shown nearly flat, as they are."""


def draw_density(
    name: str,
    title: str,
    text: str,
    truth: Array,
    given: Array,
    *,
    bins: int = 64,
    labels: Sequence[str] = ("annotated", "predicted"),
    diagonal: bool = True,
) -> str:
    """How often annotated values (across) meet predicted ones (up), both in [-1, 1], as an image.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        truth: Annotated values, shape (n,).
        given: Predicted values, shape (n,).
        bins: Cells along a side.
        labels: Of both axes.
        diagonal: Whether there is a line where both are the same.
    """
    counts, *_ = np.histogram2d(given, truth, bins=bins, range=[(-1, 1), (-1, 1)])
    image = np.empty((bins, bins, 4))
    image[..., :3] = _DENSITY
    image[..., 3] = (counts / max(counts.max(), 1)) ** 0.4  # a few rows are still seen
    with draw(name, title, text, height=320) as drawing:
        axes = drawing.figure.add_subplot()
        axes.imshow(image, extent=(-1, 1, -1, 1), origin="lower", interpolation="nearest")
        if diagonal:
            axes.plot([-1, 1], [-1, 1], color=MUTED, linewidth=0.8, linestyle="--")
        axes.set(xlabel=labels[0], ylabel=labels[1], xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
    return drawing.svg


def draw_bars(
    name: str,
    title: str,
    text: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    label: str = "",
) -> str:
    """Bars in [0, 1] across, one for each label, with a range on each.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each bar.
        values: Its length.
        low: Lower end of its range.
        high: Upper end of its range.
        label: Of the axis.
    """
    with draw(name, title, text, height=60 + 20 * len(labels)) as drawing:
        axes = drawing.figure.add_subplot()
        at = np.arange(len(labels))
        axes.barh(at, values, height=0.62, color=FIRST)
        if low is not None and high is not None:
            axes.hlines(at, low, high, color=INK, linewidth=1.4)
            axes.plot([*low, *high], [*at, *at], "|", color=INK, markersize=6, markeredgewidth=1.4)
        axes.set(xlim=(0, 1), xlabel=label)
        _name_lines(axes, labels)
    return drawing.svg


def draw_grouped_bars(
    name: str, title: str, text: str, labels: Sequence[str], groups: Sequence[tuple[str, Sequence[float]]]
) -> str:
    """Shares in [0, 1] across, at most three bars beside each other for each label.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each group of bars.
        groups: Label and values of each bar of a group.
    """
    with draw(name, title, text, height=80 + 12 * len(labels) * len(groups)) as drawing:
        axes = drawing.figure.add_subplot()
        at, height = np.arange(len(labels)), 0.8 / len(groups)
        for i, ((label, values), colour) in enumerate(zip(groups, (FIRST, SECOND, THIRD), strict=False)):
            axes.barh(at + (i - (len(groups) - 1) / 2) * height, values, height=0.9 * height, color=colour, label=label)
        axes.set(xlabel="share of rows")
        _name_lines(axes, labels)
        drawing.figure.legend(loc="outside upper left", ncols=len(groups), fontsize=8)
    return drawing.svg


def draw_strips(name: str, title: str, text: str, lines: Array, count: int) -> str:
    """Values in [0, 1] as an image, a line for each video from top to bottom; without colour where there is none.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        lines: Shape (lines, parts of a video), nan where there is no value.
        count: Videos that the lines stand for.
    """
    image = np.empty((*lines.shape, 4))
    image[..., :3] = _DENSITY
    image[..., 3] = np.where(np.isfinite(lines), 0.12 + 0.88 * np.nan_to_num(lines), 0.0)
    with draw(name, title, text, height=min(380, 120 + 2 * len(lines))) as drawing:
        axes = drawing.figure.add_subplot()
        axes.imshow(image, extent=(0, 100, count, 0), aspect="auto", interpolation="nearest")
        axes.set(xlabel="per cent of the video", ylabel="videos")
    return drawing.svg


def draw_lines(
    name: str,
    title: str,
    text: str,
    at: Array,
    lines: Sequence[tuple[str, Array]],
    *,
    label: str = "frame",
    limits: tuple[float, float] | None = (-1.05, 1.05),
    gap: float | None = None,
    whole: bool = False,
) -> str:
    """Values over time, at most three lines.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        at: Where on the axis, shape (n,), rising.
        lines: Label and values of each, shape (n,), nan where there is none.
        label: Of the axis.
        limits: Of the values.
        gap: A line is interrupted where two values are further apart.
        whole: Whether the axis has whole numbers alone.
    """
    with draw(name, title, text, height=190) as drawing:
        axes = drawing.figure.add_subplot()
        breaks = np.flatnonzero(np.diff(at) > gap) + 1 if gap else np.zeros(0, np.int64)
        for (line, values), colour in zip(lines, (INK, FIRST, SECOND), strict=False):
            known = np.insert(values.astype(np.float64), breaks, np.nan)
            axes.plot(np.insert(at.astype(np.float64), breaks, np.nan), known, color=colour, label=line, marker=".",
                      markersize=2)  # fmt: skip
        axes.set(xlabel=label)
        if whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if limits:
            axes.set_ylim(*limits)
        axes.grid(axis="y")
        drawing.figure.legend(loc="outside upper left", ncols=len(lines))
    return drawing.svg


def draw_differences(
    name: str,
    title: str,
    text: str,
    labels: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    label: str = "",
    longest: int = 18,
) -> str:
    """Differences with their intervals across, one for each label; hollow where the interval holds 0.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each difference.
        values: Differences.
        low: Lower end of each interval.
        high: Upper end of each interval.
        label: Of the axis.
        longest: Characters of a label; longer ones are cut.
    """
    with draw(name, title, text, height=64 + 22 * len(labels)) as drawing:
        axes = drawing.figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for at, (value, start, end) in enumerate(zip(values, low, high, strict=True)):
            noise = start <= 0 <= end
            colour = MUTED if noise else FIRST
            axes.plot([start, end], [at, at], color=colour)
            axes.plot([value], [at], "o", color=colour, markersize=5, fillstyle="none" if noise else "full")
        axes.set(ylim=(-0.5, len(labels) - 0.5), xlabel=label)
        axes.locator_params(axis="x", nbins=5)
        _name_lines(axes, [_cut_start(each, longest) for each in labels])
    return drawing.svg


def draw_ranges(
    name: str,
    title: str,
    text: str,
    labels: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    label: str,
    marks: tuple[str, Sequence[float | None]] | None = None,
) -> str:
    """Expected values with their ranges across, one for each label, and what was found beside them.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each line.
        values: Expected values.
        low: Lower end of each range.
        high: Upper end of each range.
        label: Of the axis.
        marks: Name and values of what was found, None where nothing was.
    """
    with draw(name, title, text, height=70 + 22 * len(labels) + (16 if marks else 0)) as drawing:
        axes = drawing.figure.add_subplot()
        at = np.arange(len(labels))
        axes.hlines(at, low, high, color=FIRST)
        axes.plot(values, at, "o", color=FIRST, markersize=5, label="expected, with its range")
        if marks:
            found = np.array([np.nan if value is None else value for value in marks[1]], np.float64)
            axes.plot(found, at, "D", color=SECOND, markersize=5, label=marks[0])
            drawing.figure.legend(loc="outside upper left", ncols=2, fontsize=8)
        axes.set(ylim=(-0.5, len(labels) - 0.5), xlabel=label)
        axes.locator_params(axis="x", nbins=5)
        _name_lines(axes, [_cut_start(each) for each in labels])
    return drawing.svg


def draw_points(
    name: str, title: str, text: str, labels: Sequence[str], values: Sequence[Sequence[float]], *, label: str
) -> str:
    """Several values across for each label, and a line at their mean.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each line.
        values: At least one value for each label.
        label: Of the axis.
    """
    with draw(name, title, text, height=60 + 20 * len(labels)) as drawing:
        axes = drawing.figure.add_subplot()
        for at, found in enumerate(values):
            axes.plot([float(np.mean(found))], [at], "|", color=INK, markersize=11, markeredgewidth=1.4)
            axes.plot(found, [at] * len(found), "o", color=FIRST, markersize=4.5, alpha=0.7)
        axes.set(ylim=(-0.5, len(labels) - 0.5), xlabel=label)
        axes.locator_params(axis="x", nbins=5)
        _name_lines(axes, [_cut_start(each, 26) for each in labels])
    return drawing.svg


def draw_reliability(name: str, title: str, text: str, found: Reliability, share: Array, *, label: str) -> str:
    """A reliability curve beside the diagonal, with ranges, over the share of answers in each bin.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        found: The curve.
        share: Of all answers in each of its bins, shape (b,), in [0, 1].
        label: What the probability is compared with.
    """
    with draw(name, title, text, height=320) as drawing:
        axes = drawing.figure.add_subplot()
        axes.bar(found.edges[:, 0] + 0.05, share, width=0.09, color=LINE)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--")
        if found.low is not None and found.high is not None:
            axes.vlines(found.predicted, found.low, found.high, color=FIRST, linewidth=1.2)
        axes.plot(found.predicted, found.observed, color=FIRST, marker="o", markersize=4.5)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability", ylabel=label, xticks=ticks, yticks=ticks)
        axes.set_aspect("equal")
    return drawing.svg


def draw_maps(name: str, title: str, text: str, maps: Sequence[tuple[str, Array]], frame: Array | None) -> str:
    """Maps side by side, each from its lowest to its highest value, with the frame before them.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        maps: Heading and values of each, shape (H, W).
        frame: RGB, (S, S, 3) uint8; None to leave it out.
    """
    count = len(maps) + (frame is not None)
    with draw(name, title, text, height=24 + round(330 / max(count, 3))) as drawing:
        cells = drawing.figure.subplots(1, max(count, 3), squeeze=False)[0]
        for axes in cells:
            axes.set_axis_off()
        if frame is not None:
            cells[0].imshow(frame, interpolation="nearest")
            cells[0].set_title("frame", fontsize=8)
        for axes, (heading, values) in zip(cells[count - len(maps) :], maps, strict=False):
            low, span = float(values.min()), max(float(np.ptp(values)), LEAST_SPAN)
            image = np.empty((*values.shape, 4))
            image[..., :3] = _DENSITY
            image[..., 3] = np.clip(0.08 + 0.92 * (values.astype(np.float64) - low) / span, 0, 1)
            axes.imshow(image, interpolation="nearest")
            axes.set_title(heading, fontsize=8)
    return drawing.svg


def draw_dots(
    name: str,
    title: str,
    text: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    label: str,
) -> str:
    """Values in [0, 1] across, at most three for each label, told apart by form and colour.

    Args:
        name: As of `draw`, as are the next two.
        title: What it shows.
        text: What is to be seen.
        labels: Name of each line.
        series: Name and values of each series, one value for each label.
        label: Of the axis.
    """
    with draw(name, title, text, height=70 + 20 * len(labels) + 12 * len(series)) as drawing:
        axes = drawing.figure.add_subplot()
        at = np.arange(len(labels))
        for (each, values), colour, mark in zip(series, (FIRST, SECOND, THIRD), "os^", strict=False):
            axes.plot(values, at, mark, color=colour, markersize=5.5, alpha=0.9, label=_cut_start(each, 40))
        axes.set(xlim=(-0.02, 1.02), xlabel=label)
        _name_lines(axes, labels, grid="both")
        drawing.figure.legend(loc="outside upper left", ncols=1)
    return drawing.svg


def _name_lines(axes: Axes, labels: Sequence[str], *, grid: Literal["x", "both"] = "x") -> None:
    """Names the lines of a chart at 0, 1, 2 and so on, from the top."""
    axes.set(yticks=np.arange(len(labels)), yticklabels=labels)
    axes.invert_yaxis()
    axes.grid(axis=grid)
    axes.tick_params(axis="y", length=0)


def _cut_start(text: str, most: int = 18) -> str:
    """A name that fits: of a longer one its end, which tells names apart."""
    return text if len(text) <= most else f"…{text[1 - most :]}"
