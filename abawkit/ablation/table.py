"""The rows of an ablation's table, and the table as Markdown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from abawkit.ablation.figures import Figures
from abawkit.choices import Protocol
from abawkit.scoring.videos import Interval

PARTS: Final = {"CCC": "ccc_va", "EXPR": "expression_f1", "AU": "au_f1", "P": "score"}
"""Columns of every table, and what they hold."""

COLUMNS: Final = ("", "n", *PARTS, "dev.", "diff.", "95 % of it")
"""Headings of `narrow_cells`."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: For JSON.
        title: For people.
        figures: By protocol.
        seeds: The seeds whose networks it is about.
        fitted: Whether something was fitted to annotations of the validation rows; its figures are then cross-fitted.
        in_sample: P of each seed with rules fitted on the very rows that they are scored on, where something was
            fitted. For JSON alone, under this name: it says how far one would have fooled oneself.
        made: What it was made of, for JSON.
    """

    name: str
    title: str
    figures: Mapping[Protocol, Figures]
    seeds: Sequence[int]
    fitted: bool = False
    in_sample: Sequence[float] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        content: dict[str, Any] = {"name": self.name, "title": self.title, "seeds": list(self.seeds)}
        content |= {"cross_fitted": self.fitted, "figures": {p: f.as_dict() for p, f in self.figures.items()}}
        return content | ({"in_sample": list(self.in_sample)} if self.fitted else {}) | dict(self.made)


def difference_text(interval: Interval | None) -> tuple[str, str]:
    """``+0.012`` and ``-0.021 +0.045 ~``, where ``~`` marks a difference within noise; ``-`` each for the base."""
    if interval is None:
        return "-", "-"
    return f"{interval.value:+.3f}", f"{interval.low:+.3f} {interval.high:+.3f}{' ~' if interval.within_noise else ''}"


def cells(row: Row, protocol: Protocol) -> list[str]:
    """A row under one protocol: title, seeds, CCC, EXPR, AU, P, its deviation, difference to the base, interval."""
    figures = row.figures[protocol]
    means = [f"{figures.mean[part]:.3f}" for part in PARTS.values()]
    deviation = f"{figures.deviation['score']:.3f}" if figures.deviation else "-"
    return [row.title, str(len(row.seeds)), *means, deviation, *difference_text(figures.difference.get("score"))]


def narrow_cells(row: Row, protocol: Protocol) -> list[str]:
    """`cells` for 80 columns: ``.012`` for ``0.012``."""
    title, *figures = cells(row, protocol)
    return [title, *(re.sub(r"(?<![0-9])0\.", ".", figure) for figure in figures)]


def markdown(rows: Sequence[Row], protocol: Protocol) -> str:
    """The table as Markdown, with P under the other protocol in the last columns.

    Args:
        rows: The rows.
        protocol: The protocol of the other columns.
    """
    other = next((p for p in rows[0].figures if p != protocol), None)
    head = ["", "seeds", *PARTS, "deviation", "to the base", "95 % interval"]
    extra = [f"P, {other}", "to the base", "95 %"] if other else []
    lines = [[*head, *extra], ["---", *["--:"] * (len(head) + len(extra) - 1)]]
    for row in rows:
        more = []
        if other:
            figures = row.figures[other]
            more = [f"{figures.mean['score']:.3f}", *difference_text(figures.difference.get("score"))]
        lines.append([*cells(row, protocol), *more])
    return "".join(f"| {' | '.join(_apart(cell) for cell in line)} |\n" for line in lines)


def _apart(cell: str) -> str:
    """A cell that Markdown shows as it is: a lone ``~`` could begin a line that is struck through."""
    return cell.replace(" ~", " (noise)")
