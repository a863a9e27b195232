"""Drawing of charts as SVG: text stays text, colours follow the page's theme, and the same numbers give the same bytes.

A chart is drawn small, 340 units wide, so that it can be read on a phone; the page scales it up.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

from abawkit.errors import printable

# Colours that stand for those of the page, which replace them: page.css has both themes.
INK, MUTED, LINE = "#123451", "#123452", "#123453"
FIRST, SECOND, THIRD = "#123454", "#123455", "#123456"
_THEME: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
}
_UNITS_PER_INCH: Final = 72  # of an SVG, an inch

_SETTINGS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titley": 1.0,  # else it is looked for, which takes a third of the time
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Drawing:
    """A chart that is being drawn.

    Attributes:
        figure: Matplotlib's.
        svg: The result, once the block of `draw` has ended.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure, self.svg = figure, ""


@contextmanager
def draw(name: str, title: str, text: str, *, height: int = 260, width: int = 340) -> Iterator[Drawing]:
    """Draws a chart in the block.

    Args:
        name: Unique on the page: letters, digits and hyphens.
        title: For those who can't see it; escaped.
        text: What is to be seen, likewise.
        height: Units.
        width: Units.
    """
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        drawing = Drawing(Figure(figsize=(width / _UNITS_PER_INCH, height / _UNITS_PER_INCH), layout="constrained"))
        yield drawing
        file = io.StringIO()
        drawing.figure.savefig(
            file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    drawing.svg = _adapt(file.getvalue(), name, title, text, width, height)


def _adapt(svg: str, name: str, title: str, text: str, width: int, height: int) -> str:
    """The SVG element alone, with identifiers that are unique on the page, the theme's colours, title and text."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, variable in _THEME.items():
        body = body.replace(colour, variable)
    words = f'<title id="{name}-title">{_escape_text(title)}</title><desc id="{name}-text">{_escape_text(text)}</desc>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} '
        f'{height}" role="img" aria-labelledby="{name}-title" aria-describedby="{name}-text">'
    )
    return head + words + body


def _escape_text(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
