"""The table of an ablation, ``ablation.json`` with everything, and ``ablation.md`` with the table and its notes."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import abawkit
from abawkit.ablation.plan import Choices
from abawkit.ablation.statistics import SeedScores
from abawkit.ablation.steps import Networks
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.run_names import LAST
from abawkit.scoring.bootstrap import Interval, describe_few_videos
from abawkit.system.files import sha256_of, write_bytes, write_json

PART_TITLES: Final = {"CCC": "ccc_va", "EXPR": "expression_f1", "AU": "au_f1", "P": "score"}
"""Columns of every table, and the parts of the score that they show."""

NARROW_HEADINGS: Final = ("", "n", *PART_TITLES, "dev.", "diff.", "95 % of it")
"""Headings of `format_narrow_cells`."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: For JSON.
        title: For people.
        scores: By protocol.
        seeds: The seeds of its networks.
        fitted: Whether a rule was fitted on validation; the scores are then cross-fitted, so out-of-fold.
        in_sample: P of each seed with rules fitted on the rows that they are scored on, if any was fitted: too good,
            and so in JSON only.
        provenance: For JSON.
    """

    name: str
    title: str
    scores: Mapping[Protocol, SeedScores]
    seeds: Sequence[int]
    fitted: bool = False
    in_sample: Sequence[float] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        content: dict[str, Any] = {"name": self.name, "title": self.title, "seeds": list(self.seeds)}
        content |= {"cross_fitted": self.fitted, "figures": {p: f.as_dict() for p, f in self.scores.items()}}
        return content | ({"in_sample": list(self.in_sample)} if self.fitted else {}) | dict(self.provenance)


def describe_difference(interval: Interval | None) -> tuple[str, str]:
    """``+0.012`` and ``-0.021 +0.045 ~``, where ``~`` marks a difference within noise; twice ``-`` for the base."""
    if interval is None:
        return "-", "-"
    return f"{interval.value:+.3f}", f"{interval.low:+.3f} {interval.high:+.3f}{' ~' if interval.within_noise else ''}"


def format_cells(row: Row, protocol: Protocol) -> list[str]:
    """A row under one protocol: title, seeds, CCC, EXPR, AU, P, its deviation, difference to the base, interval."""
    scores = row.scores[protocol]
    means = [f"{scores.mean[part]:.3f}" for part in PART_TITLES.values()]
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
    head = ["", "seeds", *PART_TITLES, "deviation", "to the base", "95 % interval"]
    extra = [f"P, {other}", "to the base", "95 %"] if other else []
    lines = [[*head, *extra], ["---", *["--:"] * (len(head) + len(extra) - 1)]]
    for row in rows:
        more = []
        if other:
            scores = row.scores[other]
            more = [f"{scores.mean['score']:.3f}", *describe_difference(scores.difference.get("score"))]
        lines.append([*format_cells(row, protocol), *more])
    return "".join(f"| {' | '.join(_escape_tilde(cell) for cell in line)} |\n" for line in lines)


def _escape_tilde(cell: str) -> str:
    """Replaces ``~``, which Markdown could take for the begin of a strikethrough."""
    return cell.replace(" ~", " (noise)")


JSON_NAME: Final = "ablation.json"
MARKDOWN_NAME: Final = "ablation.md"

_STAND_IN: Final = (
    "a stand-in for AffectNet weights (the same network, trained on other synthetic persons, without its heads)"
)


@dataclass(frozen=True)
class Report:
    """The results of an ablation.

    Attributes:
        rows: The table.
        protocol: The protocol of the main scores.
        notes: Sentences for the reader.
        content: Everything, for JSON.
    """

    rows: list[Row]
    protocol: Protocol
    notes: list[str]
    content: dict[str, Any]

    def write(self, root: Path) -> None:
        """Writes ``ablation.json`` and ``ablation.md`` into a folder, replacing those of an earlier call."""
        write_json(root / JSON_NAME, self.content)
        text = format_markdown(self.rows, self.protocol) + "".join(
            f"\n{textwrap.fill(note, 120)}\n" for note in self.notes
        )
        write_bytes(root / MARKDOWN_NAME, text.encode())


def make_report(rows: Sequence[Row], networks: Networks, choices: Choices, protocol: Protocol, videos: int) -> Report:
    """Assembles the report.

    Args:
        rows: The table.
        networks: The trained networks.
        choices: What was compared.
        protocol: The protocol of the main scores.
        videos: Scored videos.
    """
    notes = list_notes(networks, choices, protocol, videos)
    manifests = [run.read_manifest() for run in networks.runs]
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
        "notes": notes,
    }
    return Report(list(rows), protocol, notes, content)


def list_notes(networks: Networks, choices: Choices, protocol: Protocol, videos: int) -> list[str]:
    """Notes for the reader of the table, a sentence or two each."""
    base, strict = (next(run for run in networks.plan if run.variant == name) for name in ("base", "strict"))
    longer = next(run for run in networks.plan if run.variant == "strict-steps")
    single = [f"{run.steps:,}" for run in networks.plan if run.variant == "single-tasks" and run.seed == base.seed]
    rounding = "" if longer.steps == base.steps else " except for rounding up to whole epochs"
    start = "the given weights" if choices.weights else _STAND_IN
    count = len(choices.seeds)
    several = f"; the deviation is that of a sample of {count}" if count > 1 else ""
    return [
        f"Base: recipe {choices.recipe}, per-task curation ({base.rows:,} training rows), everything trained, "
        "diversity as attention loss, one network for all tasks, plain decisions. Every other row changes one choice.",
        f"All rows are scored on the same {videos} validation videos under the {protocol} protocol, after the last "
        "epoch: no epoch was chosen by its score. Where a rule is fitted, scores are cross-fitted (out-of-fold): each "
        "video is decided by a rule that was fitted on other videos.",
        f"Strict curation keeps {strict.rows:,} training rows: {strict.steps:,} optimiser steps in the same epochs, "
        f"against {base.steps:,} of the base; the second row takes {longer.steps:,}, with the base's learning rates"
        f"{rounding}. A network per task takes the base's epochs over the rows of its task, {', '.join(single)} steps.",
        f"All start from {start}. Seeds ({', '.join(map(str, choices.seeds))}) vary the heads' initial weights, the "
        f"order of rows and augmentation{several}.",
        "To the base: the mean difference by seed, with a 95 % bootstrap confidence interval over videos and seeds; a "
        "difference whose interval contains 0 is marked as noise.",
        *filter(None, [describe_few_videos(videos).capitalize()]),
    ]
