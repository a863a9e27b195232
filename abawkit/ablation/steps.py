"""The long part of an ablation: stand-in weights, training and prediction of all networks; steps that are done stay.

The paper starts from a network trained on AffectNet, another data set with other labels, and its comparison of a frozen
with a fine-tuned network needs such weights: frozen, it scores 1.283 there, fine-tuned 1.287 (arXiv 2407.12390). The
stand-in is trained for all tasks, on a release of other persons, with the recipe of the base; one that has learned
expressions alone, from so few faces, is no such start. Its heads are dropped, as those of published weights are
(`abawkit.models.published`): every variant of a seed begins with the same heads, initialised from that seed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from abawkit.ablation.plan import Choices, Training, plan_trainings
from abawkit.ablation.workspace import AblationFolder
from abawkit.choices import Policy
from abawkit.curation import open_curated
from abawkit.errors import AbawkitError, ConfigError, DataError, printable
from abawkit.labels import TASKS, Task
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import NOT_MADE, Step, StepCache, StepCommand, identify_run
from abawkit.run_names import LAST, MANIFEST, RECIPE
from abawkit.system.files import sha256_of
from abawkit.system.provenance import digest_code
from abawkit.training.recipe import Recipe, drop_overridden, parse_recipe, read_recipe

SeedVariant = tuple[int, str]

_OTHERS: Final = {"recipe": "another recipe", "data": "another curated set", "weights": "other weights"}


@dataclass(frozen=True)
class TrainingRun:
    """One run and its inputs.

    Attributes:
        name: Of its step, unique in the ablation.
        out: Its folder.
        source: Name or path of the recipe before `changes`.
        changes: ``KEY=VALUE`` each, without seed and tasks.
        recipe: The recipe after all changes.
        data: Folder of the curated set.
        table_digest: Digest of its table.
        weights: Weights that it starts from, or None.
        weights_digest: SHA-256 of these.
        cost: Expected duration, in any unit.
    """

    name: str
    out: Path
    source: str
    changes: tuple[str, ...]
    recipe: Recipe
    data: Path
    table_digest: str
    weights: Path | None = None
    weights_digest: str | None = None
    cost: float = 0.0

    @property
    def step(self) -> Step:
        """Its step, which does not depend on the code: a change of code does not repeat hours of training."""
        recipe = self.recipe.model_dump(mode="json")
        made_of = {"recipe": recipe, "data": self.table_digest, "weights": self.weights_digest}
        return Step(f"train {self.name}", made_of, [self.out / MANIFEST, self.out / LAST])

    @property
    def arguments(self) -> list[str]:
        """Its command, without options about this machine."""
        start = ["--weights", str(self.weights)] if self.weights else []
        some = () if set(self.recipe.tasks) == set(TASKS) else self.recipe.tasks
        tasks = [argument for task in some for argument in ("--tasks", task)]
        changes = [argument for change in drop_overridden(self.changes) for argument in ("--set", change)]
        paths = ["--data", str(self.data), "--out", str(self.out), *start]
        return ["train", self.source, *paths, "--seed", str(self.recipe.seed), *tasks, *changes]

    def read_manifest(self) -> dict[str, Any]:
        """The manifest of the finished run.

        Raises:
            DataError: If it can't be read.
        """
        path = self.out / MANIFEST
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            _ = content["checkpoints"][LAST], content["environment"], content["steps"], content["seconds"]
            _ = content["data"]["table_digest"], content["weights"] is None or content["weights"]["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: is not the manifest of a run ({error!r}); remove this run's folder") from error
        return content

    def read_recorded_step(self) -> Step | None:
        """The step of the finished run in the folder, whatever its inputs were; None if there is none."""
        try:
            recipe = parse_recipe((self.out / RECIPE).read_text(), str(self.out / RECIPE))
            manifest = self.read_manifest()
        except (OSError, UnicodeDecodeError, AbawkitError):
            return None
        table, start = manifest["data"]["table_digest"], manifest["weights"] and manifest["weights"]["sha256"]
        return replace(self, recipe=recipe, table_digest=table, weights_digest=start).step


@dataclass(frozen=True)
class Networks:
    """The trained networks of an ablation, and their probabilities.

    Attributes:
        folder: The ablation's folder.
        plan: What was trained.
        runs: The runs, in the plan's order.
        start: The weights that all of them started from.
        probabilities: For each seed and variant the file of the validation rows of ``folder.curated("per-task")``.
    """

    folder: AblationFolder
    plan: list[Training]
    runs: list[TrainingRun]
    start: Path
    probabilities: dict[SeedVariant, Path]


def make_networks(
    choices: Choices,
    rows: Mapping[tuple[Policy, Task | None], int],
    folder: AblationFolder,
    options: ExecutionOptions,
) -> Networks:
    """Trains and predicts whatever is not done yet.

    Args:
        choices: What is compared.
        rows: Training rows, as of `plan_trainings`.
        folder: The ablation's folder, with its data.
        options: How steps are run.

    Raises:
        ConfigError: If the recipe has nothing to compare, or a run was trained from other inputs.
        StepError: If a step fails.
    """
    plan = plan_trainings(choices, rows)
    start = choices.weights or train_stand_in(folder, choices, options)
    runs = list_runs(plan, folder, choices.recipe, start)
    train_all(runs, folder.cache, options)
    return Networks(folder, plan, runs, start, predict_all(plan, runs, folder, options))


def train_stand_in(folder: AblationFolder, choices: Choices, options: ExecutionOptions) -> Path:
    """Trains the stand-in for pre-trained weights, unless that is done.

    Returns:
        Its file of weights, without heads.

    Raises:
        ConfigError: If the recipe is not valid, or a stand-in was trained from other inputs.
        StepError: If a step fails.
    """
    root, cache = folder.pretraining, folder.cache
    changes = (*choices.settings, "patience=0", "weights=none")
    recipe = read_recipe(choices.recipe, changes)
    digest = open_curated(root / "curated").digest
    run = TrainingRun("stand-in", root / "run", choices.recipe, changes, recipe, root / "curated", digest)
    train_all([run], cache, options)
    step = Step("drop heads", {"weights": cache.digest(run.step, run.out / LAST)}, [folder.start])
    if not cache.is_done(step):
        with cache.run(step):
            drop_heads(run.out / LAST, folder.start)
    return folder.start


def drop_heads(path: Path, out: Path) -> None:
    """Copies a file of weights without its heads, as published weights have none of these tasks."""
    from abawkit.models.network import HEADS
    from abawkit.models.weights import load_weights, save_weights

    weights = load_weights(path)
    save_weights(out, weights.config, {k: value for k, value in weights.state.items() if not k.startswith(HEADS)})


def list_runs(plan: Sequence[Training], folder: AblationFolder, source: str, weights: Path) -> list[TrainingRun]:
    """The runs of a plan.

    Args:
        plan: The plan.
        folder: The ablation's folder, with its curated sets.
        source: Name or path of the base's recipe.
        weights: What all runs start from.

    Raises:
        DataError: If a curated set can't be read.
    """
    tables = {policy: open_curated(folder.curated(policy)).digest for policy in {run.policy for run in plan}}
    start = sha256_of(weights)
    return [
        TrainingRun(
            f"seed{run.seed} {run.name}",
            folder.run(run.seed, run.name),
            source,
            run.changes,
            run.recipe,
            folder.curated(run.policy),
            tables[run.policy],
            weights,
            start,
            run.cost,
        )
        for run in plan
    ]


def train_all(runs: Sequence[TrainingRun], cache: StepCache, options: ExecutionOptions) -> None:
    """Trains what is not done, the longest runs first, so that few processes wait for others.

    Raises:
        ConfigError: If a folder holds a run of other inputs, and `options.force` is false.
        StepError: If a run fails; the others are kept.
    """
    for run in runs:
        if recorded := run.read_recorded_step():
            cache.adopt(recorded)
    others = {run.out: changes for run in runs if (changes := cache.find_changes(run.step))}
    if others and not options.force:
        lines = [f"{out}: was trained with {' and '.join(map(_OTHERS.get, keys))}" for out, keys in others.items()]  # type: ignore[arg-type]
        raise ConfigError("\n".join([*map(printable, lines), "give another --out, or --force to train these anew"]))
    jobs, threads = options.share(len(runs))
    commands = []
    for run in sorted(runs, key=lambda run: -run.cost):
        reason = cache.explain(run.step)
        if reason is None:
            continue
        run.out.parent.mkdir(parents=True, exist_ok=True)
        if reason != NOT_MADE:
            options.say(f"{run.step.name}: {reason}")
        unrecorded = reason == NOT_MADE and not options.force  # nothing, or a run that only `train` can judge
        resumed = unrecorded or cache.find_attempt(run.step, run.out) is not None
        again = "--resume" if resumed else "--force"
        arguments = [*run.arguments, "--threads", str(threads), again]
        commands.append(StepCommand(run.step, arguments, {"replaces": None if resumed else identify_run(run.out)}))
    cache.run_commands(commands, options, jobs)


def predict_all(
    plan: Sequence[Training], runs: Sequence[TrainingRun], folder: AblationFolder, options: ExecutionOptions
) -> dict[SeedVariant, Path]:
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
    data, cache = folder.curated("per-task"), folder.cache
    table, found, commands = open_curated(data).digest, {}, []
    pairs = groupby(zip(plan, runs, strict=True), key=lambda pair: (pair[0].seed, pair[0].variant))
    jobs, threads = options.share(len(plan))
    for (seed, variant), group in pairs:
        networks = [run for _, run in group]
        out = folder.prediction(seed, variant)
        found[seed, variant] = out.with_suffix(".npz")
        digests = [cache.digest(run.step, run.out / LAST) for run in networks]
        made_of = {"code": digest_code(), "networks": digests, "data": table}
        step = Step(f"predict seed{seed} {variant}", made_of, [out.with_suffix(".npz"), out.with_suffix(".json"), out])
        if not cache.is_done(step):
            out.parent.mkdir(parents=True, exist_ok=True)
            rows = ["--split", "validation", "--data", str(data), "--missing", "neighbour"]
            last = [str(run.out / LAST) for run in networks]
            machine = ["--threads", str(threads), "--force"]
            commands.append(StepCommand(step, ["predict", *last, *rows, "--out", str(out), *machine]))
    cache.run_commands(commands, options, jobs)
    return found
