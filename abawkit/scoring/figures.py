"""Figures of matplotlib for notebooks and papers, without pyplot."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_INCHES_A_BAR = 0.26


def draw_panels(
    title: str, panels: Mapping[str, Mapping[str, float]], ranges: Mapping[str, tuple[float, float]] | None = None
) -> Figure:
    """Named values of at most 1 as bars, panel beside panel.

    Args:
        title: Of the figure.
        panels: By their titles, the values of each by their names.
        ranges: Lower and upper end of a line over a bar of the first panel, by its name.
    """
    longest = max(map(len, panels.values()))
    figure = Figure(figsize=(4 * len(panels), 1 + _INCHES_A_BAR * longest), layout="constrained")
    for axes, (heading, values) in zip(np.ravel(figure.subplots(1, len(panels))), panels.items(), strict=True):
        _draw_panel_bars(axes, values)
        axes.set_title(heading)
    for i, name in enumerate(next(iter(panels.values()))):
        if ends := (ranges or {}).get(name):
            figure.axes[0].plot(ends, [i, i], color="black", linewidth=1.2)
    figure.suptitle(title)
    return figure


def draw_score_differences(frame: "pd.DataFrame", label: str) -> Figure:
    """How far each submission lies from the best, with the interval of the difference.

    Args:
        frame: A row for each submission, by its name: ``score``, and ``difference`` with its ends ``low`` and ``high``.
        label: Of the differences.
    """
    figure = Figure(figsize=(7, 1.2 + _INCHES_A_BAR * len(frame)), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(frame))
    ends = [frame["difference"] - frame["low"], frame["high"] - frame["difference"]]
    axes.errorbar(frame["difference"], at, xerr=ends, fmt="o", capsize=3)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(at, [f"{name}  {score:.4f}" for name, score in zip(frame.index, frame["score"], strict=True)])
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.set_xlabel(label)
    return figure


def _draw_panel_bars(axes: "Axes", values: Mapping[str, float]) -> None:
    axes.barh(list(values), list(values.values()))
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *values.values()), 1)
    for i, value in enumerate(values.values()):  # at the right edge, where no range of a forecast ends
        axes.annotate(f"{value:.3f}", (1, i), (4, 0), textcoords="offset points", va="center", annotation_clip=False)
