"""The folder of an ablation, and its inputs: a release, given or synthetic, and its two curated sets."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.choices import Policy
from abawkit.curation import find_sources, open_curated
from abawkit.curation.curated_set import CURATION_LEDGER, SPLITS
from abawkit.curation.reading import digest_source
from abawkit.errors import ConfigError, printable
from abawkit.labels import TASKS, Task
from abawkit.pipeline.commands import run_together
from abawkit.system.files import new_folder, sha256_of, write_json

BEGUN: Final = "begun.json"


@dataclass(frozen=True)
class Folder:
    """The folder of an ablation.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def release(self) -> Path:
        """The drawn release, where none was given."""
        return self.root / "release"

    @property
    def pretraining(self) -> Path:
        """What the stand-in for pre-trained weights is made of."""
        return self.root / "pretraining"

    @property
    def start(self) -> Path:
        """The stand-in for pre-trained weights."""
        return self.pretraining / "backbone.safetensors"

    def curated(self, policy: Policy) -> Path:
        """The curated set of a policy."""
        return self.root / policy

    def run(self, seed: int, name: str) -> Path:
        """A run's folder."""
        return self.root / "runs" / f"seed{seed}" / name

    def prediction(self, seed: int, variant: str) -> Path:
        """What a variant's networks say of the validation rows, as a submission; the probabilities lie beside it."""
        return self.root / "predictions" / f"seed{seed}" / f"{variant}.txt"


def open_folder(root: Path, begun: dict[str, Any]) -> Folder:
    """Makes the folder of an ablation, or takes it up where an ablation left it.

    Args:
        root: The folder.
        begun: What the ablation is made of; noted in a new folder.

    Raises:
        ConfigError: If it holds anything but an ablation of the same, or can't be written to.
    """
    note = root / BEGUN
    found = _read(note)
    if found is None:
        new_folder(root, force=False)
        write_json(note, begun)
    elif found != begun:
        keys = [key for key in {**found, **begun} if found.get(key) != begun.get(key)]
        differences = [printable(f"  {key}: was {found.get(key)}, is {begun.get(key)}") for key in keys]
        advice = "give another --out, or remove this folder"
        raise ConfigError("\n".join([f"{root}: holds an ablation of something else:", *differences, advice]))
    return Folder(new_folder(root, force=True))


def _read(note: Path) -> dict[str, Any] | None:
    """What a folder's ablation was begun with; None where it holds none."""
    try:
        content = json.loads(note.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{note}: can't be read ({error}); give another --out, or remove this file") from error
    return content if isinstance(content, dict) else {}


POLICIES: Final[tuple[Policy, ...]] = ("per-task", "strict")

Say = Callable[[str], None]


def describe_origin(release: Path | None, size: str, weights: Path | None) -> dict[str, Any]:
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
    sources = find_sources(release)
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
        write_synthetic_release(release, size, 0, say)
    for policy in POLICIES:
        curate_release(release, folder.curated(policy), policy, say)


def write_synthetic_release(release: Path, size: str, seed: int, say: Say) -> None:
    """Draws a release, unless one is there whole."""
    if not (release / "test_set_examples" / "MTL.txt").is_file():  # written last
        run_together([["synth", str(release), "--size", size, "--seed", str(seed), "--force"]], say)


def curate_release(release: Path, out: Path, policy: Policy, say: Say) -> None:
    """Curates a release, unless the curated set is there whole."""
    if not (out / CURATION_LEDGER).is_file():  # written last
        run_together([["curate", str(release), "--policy", policy, "--out", str(out), "--force"]], say)


def count_training_rows(folder: Folder) -> dict[tuple[Policy, Task | None], int]:
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
