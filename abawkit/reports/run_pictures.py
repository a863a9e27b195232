"""What a run leaves for the eye: the picture of its results, a mosaic of its first batch, and its report.

Nothing here can stop a run: what can't be drawn is a warning, once.
"""

import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from abawkit.errors import DataWarning
from abawkit.labels import ACTION_UNITS, EXPRESSIONS
from abawkit.reports.run_metrics import Lines, get_class_scores, list_scored_parts, read_metrics
from abawkit.run_names import BATCHES_PICTURE, RESULTS_PICTURE, RUN_REPORT
from abawkit.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from abawkit.training.batches import AugmentedFrames

_COLOURS: Final = ("#1b1f24", "#0b62b5", "#b3500a", "#3a7d2c", "#8250df")
_STYLE: Final[dict[str, Any]] = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else it is looked for, which takes a quarter of the time
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d5dae0",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
}
_SHARE: Final = 0.1
"""Most of the time that pictures of the results may take: where epochs take seconds, not each is drawn."""


class RunPictures:
    """Draws into the folder of a run.

    Args:
        run: The folder.
        with_frames: Whether the report shows validation frames; synthetic ones it always does.
    """

    def __init__(self, run: Path, *, with_frames: bool = False) -> None:
        self.run, self.with_frames = run, with_frames
        self._failed: set[str] = set()
        self._drawn, self._cost, self._stale = -math.inf, 0.0, False

    def show_batch(self, frames: "AugmentedFrames") -> None:
        """Writes ``batches.png``: frames as augmented, with their labels; ``-`` is what is not annotated."""
        self._try(BATCHES_PICTURE, lambda: draw_mosaic(frames))

    def show_results(self) -> None:
        """Writes ``results.png`` from the lines of ``metrics.jsonl``, if that takes at most `_SHARE` of the time."""
        began = time.monotonic()
        self._stale = _SHARE * (began - self._drawn) < self._cost
        if not self._stale:
            self._try(RESULTS_PICTURE, lambda: draw_results(read_metrics(self.run)))
            self._drawn = time.monotonic()
            self._cost = self._drawn - began

    def write_report(self) -> None:
        """Writes ``report.html``, once the manifest is there, and ``results.png`` if it is not of the last epoch."""
        if self._stale:
            self._cost = 0.0
            self.show_results()

        def make() -> bytes:
            from abawkit.reports.page import render_page
            from abawkit.reports.training import make_training_page

            return render_page(make_training_page(self.run, with_frames=self.with_frames)).encode()

        self._try(RUN_REPORT, make)

    def _try(self, name: str, draw: Callable[[], bytes]) -> None:
        try:
            write_bytes(self.run / name, draw())
        except Exception as error:
            if name not in self._failed:
                self._failed.add(name)
                reason = (str(error) or type(error).__name__).splitlines()[0]
                warnings.warn(f"{self.run / name}: not drawn ({reason}); the run goes on", DataWarning, stacklevel=2)


def draw_results(lines: Lines) -> bytes:
    """The progress of a run as a picture: losses, scores of both protocols, F1 by class, learning rate and speed.

    Args:
        lines: Lines of ``metrics.jsonl``, at least one.

    Returns:
        A PNG image of 1,260 x 700 pixels; the same lines give the same bytes.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it says where its font cache is
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = _STYLE
    with mpl.rc_context(style):
        figure = Figure(figsize=(12.6, 7), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        grid = figure.subplots(2, 3)
        figure.subplots_adjust(left=0.045, right=0.985, top=0.91, bottom=0.07, wspace=0.2, hspace=0.28)
        best = max(lines, key=lambda line: line["figure"])
        figure.suptitle(
            f"Epoch {lines[-1]['epoch']}; best: epoch {best['epoch']}, score {best['figure']:.4f}", x=0.045, ha="left"
        )
        at = [line["epoch"] for line in lines]
        losses = [name for name in ("total", "va", "expression", "au") if name in lines[-1]["losses"]]
        _plot(grid[0, 0], "Losses", at, [(name, _pick(lines, "losses", name)) for name in losses])
        protocols = [name for name in ("official", "strict") if any(name in line for line in lines)]
        _plot(grid[0, 1], "Validation score", at, [(name, _pick(lines, name, "score")) for name in protocols])
        for i, (key, name) in enumerate(list_scored_parts(lines).items()):
            for style, protocol in zip(("-", "--"), protocols, strict=False):
                label = name if style == "-" else f"{name}, {protocol}"
                grid[0, 2].plot(at, _pick(lines, protocol, key), style, marker="o", color=_COLOURS[i + 1], label=label)
        _finish(grid[0, 2], "Parts of the score", at)
        _draw_classes(grid[1, 0], lines)
        _plot(grid[1, 1], "Learning rate", at, [("", [line["learning_rate"] for line in lines])])
        _plot(grid[1, 2], "Images per second", at, [("", [line["images_per_second"] for line in lines])])
        for axes in (grid[1, 1], grid[1, 2]):
            axes.set_ylim(bottom=0)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return file.getvalue()


def _pick(lines: Lines, group: str, name: str) -> list[float]:
    """A value of each line; nan where it has none."""
    found = [line.get(group, {}).get(name) for line in lines]
    return [np.nan if value is None else float(value) for value in found]


def _plot(axes: "Axes", title: str, at: list[int], series: Sequence[tuple[str, list[float]]]) -> None:
    for i, (name, values) in enumerate(series):
        axes.plot(at, values, marker="o", color=_COLOURS[i % len(_COLOURS)], label=name)
    _finish(axes, title, at)


def _finish(axes: "Axes", title: str, at: list[int]) -> None:
    """Title, ticks, and a legend above the lines."""
    axes.set_title(title)
    axes.set_xlim(min(0.5, at[0] - 0.5), at[-1] + 0.5)
    _mark_epochs(axes)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    labels = [label for label in axes.get_legend_handles_labels()[1] if label]
    if labels:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.11 * -(-len(labels) // 2) * (high - low))
        axes.legend(loc="upper left", ncols=2)


def _mark_epochs(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_classes(axes: "Axes", lines: Lines) -> None:
    """F1 of each class over the epochs, the stronger the colour the higher."""
    names = [*EXPRESSIONS, *ACTION_UNITS]
    table = np.full((len(names), len(lines)), np.nan)
    for column, line in enumerate(lines):
        found = get_class_scores(line)
        table[:, column] = [found.get(name, np.nan) for name in names]
    first, last = lines[0]["epoch"] - 0.5, lines[-1]["epoch"] + 0.5
    axes.imshow(
        table,
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=1,
        extent=(first, last, len(names), 0),
        interpolation="nearest",
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.set_title("F1 by class (dark 0, bright 1)")
    _mark_epochs(axes)


_TILE, _CELL, _TEXT, _ACROSS = 144, 160, 62, 8  # pixels; tiles in a line


def draw_mosaic(frames: "AugmentedFrames") -> bytes:
    """Frames as the network sees them, each above its labels: expression, valence and arousal, active units.

    Args:
        frames: At least one.

    Returns:
        A PNG image; the same frames give the same bytes.
    """
    from PIL import Image, ImageDraw, ImageFont

    count = len(frames.pixels)
    across, height = min(_ACROSS, count), _CELL + _TEXT
    picture = Image.new("RGB", (across * _CELL, -(-count // across) * height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    margin = (_CELL - _TILE) // 2
    for i, pixels in enumerate(frames.pixels):
        x, y = i % across * _CELL + margin, i // across * height + margin
        picture.paste(Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BICUBIC), (x, y))
        pen.multiline_text((x, y + _TILE + 4), _describe_labels(frames, i), fill="#1b1f24", font=font, spacing=2)
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _describe_labels(frames: "AugmentedFrames", row: int) -> str:
    targets = frames.targets
    expression = EXPRESSIONS[int(targets.expression[row])] if targets.expression_valid[row] else "expression -"
    valence, arousal = targets.va[row].tolist()
    va = f"V {valence:+.2f}  A {arousal:+.2f}" if targets.va_valid[row] else "V -  A -"
    if not targets.au_valid[row]:
        return f"{expression}\n{va}\nAU -"
    active = [name.removeprefix("AU") for name, value in zip(ACTION_UNITS, targets.au[row], strict=True) if value > 0]
    lines = [" ".join(active[:6]) or "none", " ".join(active[6:])]
    return f"{expression}\n{va}\nAU {lines[0]}\n{'      ' if lines[1] else ''}{lines[1]}".rstrip()
