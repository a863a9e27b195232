"""The table of an ablation, ``ablation.json`` with everything, and ``ablation.md`` with the table and what it means."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import abawkit
from abawkit.ablation.networks import Choices, Networks
from abawkit.ablation.statistics import Scores
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.run_names import LAST
from abawkit.scoring.bootstrap import Interval, describe_few_videos
from abawkit.system.files import sha256_of, write_bytes, write_json

PARTS: Final = {"CCC": "ccc_va", "EXPR": "expression_f1", "AU": "au_f1", "P": "score"}
"""Columns of every table, and what they hold."""

COLUMNS: Final = ("", "n", *PARTS, "dev.", "diff.", "95 % of it")
"""Headings of `format_narrow_cells`."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: For JSON.
        title: For people.
        scores: By protocol.
        seeds: The seeds whose networks it is about.
        fitted: Whether something was fitted to annotations of the validation rows; its figures are then cross-fitted.
        in_sample: P of each seed with rules fitted on the very rows that they are scored on, where something was
            fitted. For JSON alone, under this name: it says how far one would have fooled oneself.
        made: What it was made of, for JSON.
    """

    name: str
    title: str
    scores: Mapping[Protocol, Scores]
    seeds: Sequence[int]
    fitted: bool = False
    in_sample: Sequence[float] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        content: dict[str, Any] = {"name": self.name, "title": self.title, "seeds": list(self.seeds)}
        content |= {"cross_fitted": self.fitted, "figures": {p: f.as_dict() for p, f in self.scores.items()}}
        return content | ({"in_sample": list(self.in_sample)} if self.fitted else {}) | dict(self.made)


def describe_difference(interval: Interval | None) -> tuple[str, str]:
    """``+0.012`` and ``-0.021 +0.045 ~``, where ``~`` marks a difference within noise; ``-`` each for the base."""
    if interval is None:
        return "-", "-"
    return f"{interval.value:+.3f}", f"{interval.low:+.3f} {interval.high:+.3f}{' ~' if interval.within_noise else ''}"


def format_cells(row: Row, protocol: Protocol) -> list[str]:
    """A row under one protocol: title, seeds, CCC, EXPR, AU, P, its deviation, difference to the base, interval."""
    scores = row.scores[protocol]
    means = [f"{scores.mean[part]:.3f}" for part in PARTS.values()]
    deviation = f"{scores.deviation['score']:.3f}" if scores.deviation else "-"
    return [row.title, str(len(row.seeds)), *means, deviation, *describe_difference(scores.difference.get("score"))]


def format_narrow_cells(row: Row, protocol: Protocol) -> list[str]:
    """`format_cells` for 80 columns: ``.012`` for ``0.012``."""
    title, *cells = format_cells(row, protocol)
    return [title, *(re.sub(r"(?<![0-9])0\.", ".", cell) for cell in cells)]


def format_markdown(rows: Sequence[Row], protocol: Protocol) -> str:
    """The table as Markdown, with P under the other protocol in the last columns.

    Args:
        rows: The rows.
        protocol: The protocol of the other columns.
    """
    other = next((p for p in rows[0].scores if p != protocol), None)
    head = ["", "seeds", *PARTS, "deviation", "to the base", "95 % interval"]
    extra = [f"P, {other}", "to the base", "95 %"] if other else []
    lines = [[*head, *extra], ["---", *["--:"] * (len(head) + len(extra) - 1)]]
    for row in rows:
        more = []
        if other:
            scores = row.scores[other]
            more = [f"{scores.mean['score']:.3f}", *describe_difference(scores.difference.get("score"))]
        lines.append([*format_cells(row, protocol), *more])
    return "".join(f"| {' | '.join(_apart(cell) for cell in line)} |\n" for line in lines)


def _apart(cell: str) -> str:
    """A cell that Markdown shows as it is: a lone ``~`` could begin a line that is struck through."""
    return cell.replace(" ~", " (noise)")


JSON_NAME: Final = "ablation.json"
MARKDOWN_NAME: Final = "ablation.md"

_STAND_IN: Final = (
    "a stand-in for AffectNet weights (the same network, trained for expressions alone on other drawn persons, without "
    "its heads)"
)


@dataclass(frozen=True)
class Report:
    """An ablation, done.

    Attributes:
        rows: The table.
        protocol: The protocol of its main figures.
        notes: What its reader must know.
        content: Everything, for JSON.
    """

    rows: list[Row]
    protocol: Protocol
    notes: list[str]
    content: dict[str, Any]

    def write(self, root: Path) -> None:
        """Writes ``ablation.json`` and ``ablation.md`` into a folder, in place of those of the call before."""
        write_json(root / JSON_NAME, self.content)
        text = format_markdown(self.rows, self.protocol) + "".join(
            f"\n{textwrap.fill(note, 120)}\n" for note in self.notes
        )
        write_bytes(root / MARKDOWN_NAME, text.encode())


def report(rows: Sequence[Row], networks: Networks, choices: Choices, protocol: Protocol, videos: int) -> Report:
    """Puts everything together.

    Args:
        rows: The table.
        networks: What the long part left.
        choices: What was compared.
        protocol: The protocol of the main figures.
        videos: Scored videos.
    """
    words = list_notes(networks, choices, protocol, videos)
    manifests = [run.manifest or {} for run in networks.runs]
    environments: list[dict[str, Any]] = []
    for manifest in manifests:
        if manifest["environment"] not in environments:
            environments.append(manifest["environment"])
    runs = [
        {
            "seed": training.seed,
            "variant": training.variant,
            "tasks": list(training.tasks),
            "policy": training.policy,
            "changes": list(training.changes),
            "rows": training.rows,
            "steps": manifest["steps"],
            "seconds": manifest["seconds"],
            "weights": manifest["checkpoints"][LAST],
            "environment": environments.index(manifest["environment"]),
        }
        for training, manifest in zip(networks.plan, manifests, strict=True)
    ]
    content = {
        "abawkit": abawkit.__version__,
        "protocol": protocol,
        "recipe": {"name": choices.recipe, "set": list(choices.settings), "base": networks.plan[0].recipe.to_toml()},
        "release": str(choices.release) if choices.release else f"drawn, {choices.size}",
        "tables": {p: open_curated(networks.folder.curated(p)).digest for p in ("per-task", "strict")},
        "start": {
            "path": str(networks.start),
            "sha256": sha256_of(networks.start),
            "stand_in": choices.weights is None,
        },
        "seeds": list(choices.seeds),
        "videos": videos,
        "environments": environments,
        "runs": runs,
        "rows": [row.as_dict() for row in rows],
        "notes": words,
    }
    return Report(list(rows), protocol, words, content)


def list_notes(networks: Networks, choices: Choices, protocol: Protocol, videos: int) -> list[str]:
    """What a reader of the table must know, a sentence or two each."""
    base, strict = (next(run for run in networks.plan if run.variant == name) for name in ("base", "strict"))
    longer = next(run for run in networks.plan if run.variant == "strict-steps")
    apart = [f"{run.steps:,}" for run in networks.plan if run.variant == "single-tasks" and run.seed == base.seed]
    rounding = "" if longer.steps == base.steps else " but for rounding up to whole epochs"
    start = "the given weights" if choices.weights else _STAND_IN
    count = len(choices.seeds)
    several = f"; the deviation is that of a sample of {count}" if count > 1 else ""
    return [
        f"Base: recipe {choices.recipe}, per-task curation ({base.rows:,} training rows), everything trained, "
        "diversity as attention loss, one network for all tasks, plain decisions. Every other row changes one thing.",
        f"All rows are scored on the same {videos} validation videos under the {protocol} protocol, after the last "
        "epoch: no epoch was chosen by its score. Where knobs are fitted, the figures are cross-fitted: each video is "
        "decided by a rule that was fitted on others.",
        f"Strict curation keeps {strict.rows:,} training rows: {strict.steps:,} optimiser steps in the same epochs, "
        f"where the base takes {base.steps:,}; the other row takes {longer.steps:,}, with the base's learning rates"
        f"{rounding}. A network a task takes the base's epochs over the rows of its task, {', '.join(apart)} steps.",
        f"All start from {start}. Seeds ({', '.join(map(str, choices.seeds))}) vary the heads' first weights, the "
        f"order of rows and augmentation{several}.",
        "To the base: the mean difference by seed, with a 95 % confidence interval from draws of videos and seeds; a "
        "difference is marked as noise where that holds 0.",
        *filter(None, [describe_few_videos(videos).capitalize()]),
    ]
