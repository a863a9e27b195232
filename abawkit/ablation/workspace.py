"""The folder of an ablation, and its data: a release, given or synthetic, curated by both policies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.ablation.plan import Choices
from abawkit.choices import Policy
from abawkit.curation import find_sources, open_curated
from abawkit.curation.curated_set import CURATION_LEDGER, SPLITS
from abawkit.curation.reading import digest_source
from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step, StepCache, StepCommand, begin_job, holds_job
from abawkit.synth.release import RELEASE_VERSION
from abawkit.system.files import new_folder, sha256_of

ABLATION_NOTE: Final = "begun.json"
"""Describes the release and the weights of the ablation in a folder."""

POLICIES: Final[tuple[Policy, ...]] = ("per-task", "strict")

STAND_IN_SEED: Final = 1
"""Seed of the release that the stand-in is trained on; the ablation's own has 0, and no person is in both."""


@dataclass(frozen=True)
class AblationFolder:
    """The folder of an ablation.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def cache(self) -> StepCache:
        """Which steps are done."""
        return StepCache(self.root)

    @property
    def release(self) -> Path:
        """The synthetic release, where none was given."""
        return self.root / "release"

    @property
    def pretraining(self) -> Path:
        """Folder of everything that the stand-in for pre-trained weights is made from."""
        return self.root / "pretraining"

    @property
    def start(self) -> Path:
        """The stand-in for pre-trained weights."""
        return self.pretraining / "backbone.safetensors"

    def curated(self, policy: Policy) -> Path:
        """The curated set of a policy."""
        return self.root / policy

    def run(self, seed: int, name: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / f"seed{seed}" / name

    def prediction(self, seed: int, variant: str) -> Path:
        """A variant's submission for the validation rows; the probabilities lie beside it."""
        return self.root / "predictions" / f"seed{seed}" / f"{variant}.txt"


def open_folder(root: Path, origin: dict[str, Any]) -> AblationFolder:
    """Makes the folder of an ablation, or opens that of one that was begun before.

    Args:
        root: The folder.
        origin: From `describe_origin`.

    Raises:
        ConfigError: If it holds anything but an ablation of the same origin, or can't be written to.
    """
    note = root / ABLATION_NOTE
    if not holds_job(note, origin, "an ablation", "give another --out, or remove this folder"):
        begin_job(note, origin, force=False)
    return AblationFolder(new_folder(root, force=True))


def describe_origin(release: Path | None, size: str, weights: Path | None) -> dict[str, Any]:
    """What an ablation starts from, as its folder records it.

    Args:
        release: Folder of a release, or None for a synthetic one.
        size: Size of the synthetic one.
        weights: Weights that all variants start from, or None for the stand-in.

    Raises:
        DataError: If the release's files are absent.
    """
    start = sha256_of(weights) if weights else "a stand-in for all tasks"
    synthetic = {} if release and weights else {"synthetic release": f"version {RELEASE_VERSION}"}
    if release is None:
        return {"release": f"drawn, {size}", "weights": start, **synthetic}
    sources = find_sources(release)
    paths = [path for split in SPLITS for path in sources.paths(split)]
    digests = {str(path.relative_to(release)): digest_source(path) for path in paths}
    weights_note = start if weights else f"{start}, {size}"
    return {"release": str(release.resolve()), **digests, "weights": weights_note, **synthetic}


def prepare_data(
    folder: AblationFolder, choices: Choices, options: ExecutionOptions
) -> dict[tuple[Policy, Task | None], int]:
    """Renders and curates all releases that networks are trained on, unless that is done.

    Returns:
        Training rows by policy and task; under None those that are annotated for any task.

    Raises:
        DataError: As `count_training_rows`.
        StepError: If a command fails.
    """
    cache, release = folder.cache, choices.release
    if release is None:
        release = folder.release
        _write_synthetic_release(release, choices.size, 0, cache, options)
    for policy in POLICIES:
        _curate_release(release, folder.curated(policy), policy, cache, options)
    rows = count_training_rows(folder)
    if choices.weights is None:
        prepare_stand_in_data(folder, choices.size, options)
    return rows


def prepare_stand_in_data(folder: AblationFolder, size: str, options: ExecutionOptions) -> None:
    """Renders and curates the release that the stand-in for pre-trained weights is trained on, unless that is done."""
    release = folder.pretraining / "release"
    folder.pretraining.mkdir(exist_ok=True)
    _write_synthetic_release(release, size, STAND_IN_SEED, folder.cache, options)
    _curate_release(release, folder.pretraining / "curated", "per-task", folder.cache, options)


def _write_synthetic_release(release: Path, size: str, seed: int, cache: StepCache, options: ExecutionOptions) -> None:
    """Renders a release within the ablation's folder, unless that is done."""
    written_last = release / "test_set_examples" / "MTL.txt"
    step = Step(f"synth {release.relative_to(cache.root)}", {"size": size, "seed": seed}, [written_last])
    command = ["synth", str(release), "--size", size, "--seed", str(seed), "--force"]
    cache.adopt(step)
    if not cache.is_done(step):
        cache.run_commands([StepCommand(step, command)], options, jobs=1)


def _curate_release(release: Path, out: Path, policy: Policy, cache: StepCache, options: ExecutionOptions) -> None:
    """Curates a release, unless that is done; which release it is, the note of the folder records."""
    written_last = out / CURATION_LEDGER
    step = Step(f"curate {out.relative_to(cache.root)}", {"policy": policy}, [written_last])
    cache.adopt(step)
    if not cache.is_done(step):
        command = ["curate", str(release), "--policy", policy, "--out", str(out), "--force"]
        cache.run_commands([StepCommand(step, command)], options, jobs=1)


def count_training_rows(folder: AblationFolder) -> dict[tuple[Policy, Task | None], int]:
    """Training rows by policy and task; under None those that are annotated for any task.

    Raises:
        DataError: If a curated set can't be read, or has no labels of a task: its column would be that of a head that
            learned nothing.
    """
    counts: dict[tuple[Policy, Task | None], int] = {}
    for policy in POLICIES:
        split = open_curated(folder.curated(policy)).splits["train"]
        usable = split.kept & (split.frames >= 0)
        valid = {task: getattr(split.annotations, f"{task}_valid") & usable for task in TASKS}
        for task, mask in valid.items():
            if not mask.any():
                raise DataError(
                    f"{folder.curated(policy)}: no training row that {policy} curation keeps is annotated for {task}, "
                    "and an ablation compares all three tasks under both policies; give a release with labels of each"
                )
            counts[policy, task] = int(mask.sum())
        counts[policy, None] = int(np.logical_or.reduce(list(valid.values())).sum())
    return counts
