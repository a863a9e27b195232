"""What an ablation is made of: a release, given or drawn, and its two curated sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.ablation.folder import Folder
from abawkit.choices import Policy
from abawkit.curation import locate, open_curated
from abawkit.curation.reading import digest_source
from abawkit.curation.table import LEDGER, SPLITS
from abawkit.files import sha256_of
from abawkit.labels import TASKS, Task
from abawkit.steps import run_together

POLICIES: Final[tuple[Policy, ...]] = ("per-task", "strict")

Say = Callable[[str], None]


def origin(release: Path | None, size: str, weights: Path | None) -> dict[str, Any]:
    """What an ablation is begun with, as its folder notes it.

    Args:
        release: Folder of a release, or None where one is drawn.
        size: Size of the drawn one.
        weights: Weights that all variants start from, or None for the stand-in.

    Raises:
        DataError: If the release's files are not there.
    """
    start = sha256_of(weights) if weights else "a stand-in"
    if release is None:
        return {"release": f"drawn, {size}", "weights": start}
    sources = locate(release)
    paths = [path for split in SPLITS for path in sources.paths(split)]
    digests = {str(path.relative_to(release)): digest_source(path) for path in paths}
    return {"release": str(release.resolve()), **digests, "weights": start if weights else f"{start}, {size}"}


def prepare_release(folder: Folder, release: Path | None, size: str, say: Say) -> None:
    """Draws a release if none was given, and curates it by both policies; what is there is left as it is.

    Raises:
        StepError: If a command fails.
    """
    if release is None:
        release = folder.release
        draw(release, size, 0, say)
    for policy in POLICIES:
        curate(release, folder.curated(policy), policy, say)


def draw(release: Path, size: str, seed: int, say: Say) -> None:
    """Draws a release, unless one is there whole."""
    if not (release / "test_set_examples" / "MTL.txt").is_file():  # written last
        run_together([["synth", str(release), "--size", size, "--seed", str(seed), "--force"]], say)


def curate(release: Path, out: Path, policy: Policy, say: Say) -> None:
    """Curates a release, unless the curated set is there whole."""
    if not (out / LEDGER).is_file():  # written last
        run_together([["curate", str(release), "--policy", policy, "--out", str(out), "--force"]], say)


def training_counts(folder: Folder) -> dict[tuple[Policy, Task | None], int]:
    """Training rows by policy and task; under None those that are annotated for any task.

    Raises:
        DataError: If a curated set can't be read.
    """
    counts: dict[tuple[Policy, Task | None], int] = {}
    for policy in POLICIES:
        split = open_curated(folder.curated(policy)).splits["train"]
        usable = split.kept & (split.frames >= 0)
        valid = {task: getattr(split.annotations, f"{task}_valid") & usable for task in TASKS}
        counts |= {(policy, task): int(mask.sum()) for task, mask in valid.items()}
        counts[policy, None] = int(np.logical_or.reduce(list(valid.values())).sum())
    return counts
