"""Scores and comparisons as figures of matplotlib, for notebooks and papers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, EXPRESSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from abawkit.scoring.comparison import Comparison
    from abawkit.scoring.score import Score

_INCHES_A_BAR = 0.26


def draw_score(score: "Score") -> Figure:
    """The parts of a score, with the range of its forecast where it has one, and F1 of each class and unit.

    Returns:
        A figure of one panel for the parts, and one for each discrete task that is scored; without pyplot.
    """
    values = score.to_frame()[score.protocol].drop("score")
    parts = [str(name) for name in values.index]
    panels = [("Parts of the score", parts, values.tolist())]
    for task, title, names, found in (
        ("expression", "F1 of expressions", EXPRESSIONS, score.expression_f1_per_class),
        ("au", "F1 of action units", ACTION_UNITS, score.au_f1_per_unit),
        ("compound", "F1 of compound expressions", COMPOUND_EXPRESSIONS, score.compound_f1_per_class),
    ):
        if task in score.tasks:
            panels.append((title, list(names), found))
    longest = max(len(labels) for _, labels, _ in panels)
    figure = Figure(figsize=(4 * len(panels), 1 + _INCHES_A_BAR * longest), layout="constrained")
    for axes, (title, labels, widths) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        _draw_bars(axes, labels, widths)
        axes.set_title(title)
    if score.forecast:
        for i, part in enumerate(parts):
            if each := score.forecast.parts.get(part):
                figure.axes[0].plot([each.low, each.high], [i, i], color="black", linewidth=1.2)
    figure.suptitle(f"Score {score.score:.4f}, {score.protocol} protocol, {score.rows:,} rows")
    return figure


def draw_comparison(comparison: "Comparison") -> Figure:
    """How far each submission lies from the best, with the interval of the difference.

    Raises:
        ValueError: If the submissions were compared without a truth, and have no score.
    """
    if not comparison.scores:
        raise ValueError("the submissions were compared without a truth: there is no score to draw")
    frame, protocol = comparison.to_frame(), next(iter(comparison.scores))
    figure = Figure(figsize=(7, 1.2 + _INCHES_A_BAR * len(frame)), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(frame))
    ends = [frame["difference"] - frame["low"], frame["high"] - frame["difference"]]
    axes.errorbar(frame["difference"], at, xerr=ends, fmt="o", capsize=3)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(at, [f"{name}  {score:.4f}" for name, score in zip(frame.index, frame["score"], strict=True)])
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.set_xlabel(f"score less the best's, {protocol} protocol")
    return figure


def _draw_bars(axes: "Axes", names: Sequence[str], values: Sequence[float]) -> None:
    axes.barh(names, values)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *values), 1)
    for i, value in enumerate(values):  # at the right edge, where no range of a forecast ends
        axes.annotate(f"{value:.3f}", (1, i), (4, 0), textcoords="offset points", va="center", annotation_clip=False)
