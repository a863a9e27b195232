"""What the networks of each variant say of the validation rows; a prediction of the same networks is not redone."""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from abawkit.ablation.folder import Folder
from abawkit.ablation.plan import Training
from abawkit.ablation.runs import Making, Means
from abawkit.curation import open_curated
from abawkit.steps import run_together, waves
from abawkit.training.record import LAST

Place = tuple[int, str]
"""Seed and variant."""


def predict_all(plan: Sequence[Training], runs: Sequence[Making], folder: Folder, means: Means) -> dict[Place, Path]:
    """Predicts all validation rows with each variant's last weights, whatever policy its networks were trained on.

    Args:
        plan: The plan.
        runs: Its runs, finished, in its order.
        folder: The ablation's folder.
        means: How steps are run.

    Returns:
        The probabilities of each seed and variant, in the plan's order.

    Raises:
        StepError: If a prediction fails.
    """
    data = folder.curated("per-task")
    table, found, commands = open_curated(data).digest, {}, []
    pairs = groupby(zip(plan, runs, strict=True), key=lambda pair: (pair[0].seed, pair[0].variant))
    for (seed, variant), group in pairs:
        networks = [run for _, run in group]
        out = folder.prediction(seed, variant)
        found[seed, variant] = out.with_suffix(".npz")
        if not _done(out, table, [(run.manifest or {})["checkpoints"][LAST] for run in networks]):
            out.parent.mkdir(parents=True, exist_ok=True)
            source = ["--split", "validation", "--data", str(data), "--missing", "neighbour"]
            last = [str(run.out / LAST) for run in networks]
            commands.append(["predict", *last, *source, "--out", str(out), "--threads", str(means.threads), "--force"])
    for together in waves(commands, means.jobs):
        run_together(together, means.say)
    return found


def _done(out: Path, table: str, digests: list[str]) -> bool:
    """Whether a prediction of the same rows by the same networks is there."""
    try:
        manifest: dict[str, Any] = json.loads(out.with_suffix(".json").read_bytes())
        same = [member["digest"] for member in manifest["members"]] == digests
        return same and manifest["source"]["table_sha256"] == table and out.is_file()  # the file is written last
    except (OSError, ValueError, KeyError, TypeError):
        return False
