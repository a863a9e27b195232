"""Trains the networks of a plan and predicts the validation rows; what was finished before is not done again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from abawkit.ablation.plan import Training
from abawkit.ablation.workspace import Folder
from abawkit.curation import open_curated
from abawkit.errors import ConfigError, DataError, printable
from abawkit.labels import TASKS
from abawkit.pipeline.commands import group_waves, run_together
from abawkit.run_names import LAST, MANIFEST, RECIPE
from abawkit.system.files import sha256_of
from abawkit.training.recipe import Recipe, drop_overridden


@dataclass(frozen=True)
class ExecutionOptions:
    """How the steps of an ablation are run.

    Attributes:
        jobs: Steps at the same time.
        threads: CPU threads of each.
        force: Whether a run that was made of something else is trained anew.
        say: Called with lines for a person.
    """

    jobs: int
    threads: int
    force: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class Provenance:
    """One run and all that it is made of.

    Attributes:
        out: Its folder.
        source: Name or path of the recipe before `changes`.
        changes: ``KEY=VALUE`` each, but for seed and tasks.
        recipe: The recipe after all changes.
        data: Folder of the curated set.
        table_digest: Digest of its table.
        weights: Weights that it starts from, or None.
        cost: How long it takes, in any unit.
    """

    out: Path
    source: str
    changes: tuple[str, ...]
    recipe: Recipe
    data: Path
    table_digest: str
    weights: Path | None
    cost: float = 0.0

    @property
    def arguments(self) -> list[str]:
        """Its command, without what is about this machine."""
        start = ["--weights", str(self.weights)] if self.weights else []
        apart = () if set(self.recipe.tasks) == set(TASKS) else self.recipe.tasks
        tasks = [argument for task in apart for argument in ("--tasks", task)]
        changes = [argument for change in drop_overridden(self.changes) for argument in ("--set", change)]
        where = ["--data", str(self.data), "--out", str(self.out), *start]
        return ["train", self.source, *where, "--seed", str(self.recipe.seed), *tasks, *changes]

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the finished run noted; None where it is not finished.

        Raises:
            DataError: If it can't be read.
        """
        path = self.out / MANIFEST
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            _ = content["data"]["table_digest"], content["checkpoints"][LAST], content["environment"], content["steps"]
            _ = content["weights"] is None or content["weights"]["sha256"], content["seconds"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: is not what a run wrote ({error!r}); remove this run's folder") from error
        return content

    def difference(self) -> str:
        """What the run in `out` was made of that this one is not; empty where nothing is, or no run is there."""
        recipe = self.out / RECIPE
        if recipe.is_file() and recipe.read_bytes() != self.recipe.to_toml().encode():
            return "another recipe"
        if (manifest := self.manifest) is None:
            return ""
        if manifest["data"]["table_digest"] != self.table_digest:
            return "another curated set"
        started = manifest["weights"]["sha256"] if manifest["weights"] else None
        return "other weights" if started != (self.weights and sha256_of(self.weights)) else ""


def read_provenance(plan: Sequence[Training], folder: Folder, source: str, weights: Path) -> list[Provenance]:
    """The runs of a plan with all that they are made of.

    Args:
        plan: The plan.
        folder: The ablation's folder, with its curated sets.
        source: Name or path of the base's recipe.
        weights: What all runs start from.

    Raises:
        DataError: If a curated set can't be read.
    """
    digests = {policy: open_curated(folder.curated(policy)).digest for policy in {run.policy for run in plan}}
    return [
        Provenance(
            folder.run(run.seed, run.name),
            source,
            run.changes,
            run.recipe,
            folder.curated(run.policy),
            digests[run.policy],
            weights,
            run.cost,
        )
        for run in plan
    ]


def train_all(runs: Sequence[Provenance], options: ExecutionOptions) -> None:
    """Trains what is not finished, those that take longest first, so that few processes wait for others.

    Raises:
        ConfigError: If a folder holds a run of something else, and that was not to be replaced.
        StepError: If a run fails; the others are kept.
    """
    others = {run.out: difference for run in runs if (difference := run.difference())}
    if others and not options.force:
        lines = [f"{out}: was trained with {difference}" for out, difference in others.items()]
        raise ConfigError("\n".join([*map(printable, lines), "give another --out, or --force to train these anew"]))
    missing = [run for run in runs if run.out in others or run.manifest is None]
    commands = []
    for run in sorted(missing, key=lambda run: -run.cost):
        run.out.parent.mkdir(parents=True, exist_ok=True)
        how = "--force" if run.out in others else "--resume"
        commands.append([*run.arguments, "--threads", str(options.threads), how])
    for together in group_waves(commands, options.jobs):
        run_together(together, options.say)
    for run in missing:
        if run.manifest is None or (difference := run.difference()):
            raise RuntimeError(f"{run.out}: its command trained {difference or 'nothing'}")


Place = tuple[int, str]
"""Seed and variant."""


def predict_all(
    plan: Sequence[Training], runs: Sequence[Provenance], folder: Folder, options: ExecutionOptions
) -> dict[Place, Path]:
    """Predicts all validation rows with each variant's last weights, whatever policy its networks were trained on.

    Args:
        plan: The plan.
        runs: Its runs, finished, in its order.
        folder: The ablation's folder.
        options: How steps are run.

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
            commands.append(
                ["predict", *last, *source, "--out", str(out), "--threads", str(options.threads), "--force"]
            )
    for together in group_waves(commands, options.jobs):
        run_together(together, options.say)
    return found


def _done(out: Path, table: str, digests: list[str]) -> bool:
    """Whether a prediction of the same rows by the same networks is there."""
    try:
        manifest: dict[str, Any] = json.loads(out.with_suffix(".json").read_bytes())
        same = [member["digest"] for member in manifest["members"]] == digests
        return same and manifest["source"]["table_sha256"] == table and out.is_file()  # the file is written last
    except (OSError, ValueError, KeyError, TypeError):
        return False
