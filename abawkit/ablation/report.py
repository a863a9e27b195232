"""What an ablation leaves: ``ablation.json`` with everything, ``ablation.md`` with the table and what it means."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import abawkit
from abawkit.ablation.networks import Choices, Networks
from abawkit.ablation.table import Row, markdown
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.files import sha256_of, write_bytes, write_json
from abawkit.scoring.videos import few_videos_note
from abawkit.training.record import LAST

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
        text = markdown(self.rows, self.protocol) + "".join(f"\n{textwrap.fill(note, 120)}\n" for note in self.notes)
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
    words = notes(networks, choices, protocol, videos)
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


def notes(networks: Networks, choices: Choices, protocol: Protocol, videos: int) -> list[str]:
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
        *filter(None, [few_videos_note(videos).capitalize()]),
    ]
