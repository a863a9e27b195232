"""The networks of an ablation: each differs from the same base in one choice.

Strict against per-task curation is the comparison that was never published, and is easily made wrong. Here

- the validation rows are the same for both: all that are annotated for a task (and, for a second score, those that are
  annotated for all tasks). Scores on different rows could not be compared;
- both start from the same weights, take the same recipe, and are scored after their last epoch: choosing the best epoch
  would fit each to the validation rows, and the one with more epochs more;
- strict curation is trained twice. It keeps fewer rows, so that as many epochs are fewer steps: a difference could come
  from the rows or from the length of training. The second row has as many steps as the base, and the same learning rate
  at each, except for rounding up to whole epochs, and so repeats its rows more often. The remaining difference is the
  worth of the dropped rows: in as many steps of as many rows strict curation even sees more labels, as none of its rows
  lacks one, but fewer faces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from abawkit.choices import Policy
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task
from abawkit.training.recipe import Recipe, read_recipe

BASE: Final = "base"

_FIXED: Final = ("patience=0",)
"""Changes for every run: none stops early by its validation score."""

CONSISTENCY: Final = 1000.0
"""Weight of the consistency loss where that of the diversity loss is 1.

One is the MSE m of the attention heads' maps, the other 1 / m, whose slope is -1 / m^2. At the m of about 0.03 that
networks begin with, this weight makes the gradients of both equally strong; with equal weights, the consistency loss
would have no effect.
"""


@dataclass(frozen=True)
class Choices:
    """The subject of an ablation.

    Attributes:
        release: Folder of a release, or None for a synthetic one.
        size: Size of the synthetic one, and of the one that the stand-in for pre-trained weights is trained on.
        recipe: Name or path of the base's recipe.
        settings: Changes of it by ``--set``, for all variants.
        weights: Weights that all variants start from, or None for a stand-in.
        seeds: Seeds.
    """

    release: Path | None = None
    size: str = "demo"
    recipe: str = "demo"
    settings: tuple[str, ...] = ()
    weights: Path | None = None
    seeds: Sequence[int] = (1, 2, 3)


@dataclass(frozen=True)
class Training:
    """One run of `abawkit train`.

    Attributes:
        variant: The variant whose network it is.
        name: Name of its folder among those of its seed.
        seed: Seed of its heads' initial weights, order and augmentation.
        policy: The curated set that it is trained on.
        changes: Changes of the recipe, ``KEY=VALUE`` each, without seed and tasks.
        tasks: Tasks that it is trained for.
        recipe: The recipe with these changes.
        rows: Training rows.
    """

    variant: str
    name: str
    seed: int
    policy: Policy
    changes: tuple[str, ...]
    tasks: tuple[Task, ...]
    recipe: Recipe
    rows: int

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        epochs = self.recipe.heads.epochs + self.recipe.all.epochs
        return epochs * _count_epoch_steps(self.rows, self.recipe.batch_size)

    @property
    def cost(self) -> float:
        """Expected duration, in passes over frames; a frozen network has no backward pass."""
        return self.rows * (0.4 * self.recipe.heads.epochs + self.recipe.all.epochs)


@dataclass(frozen=True)
class AblationVariant:
    """The networks of one row of the table.

    Attributes:
        name: Its name.
        policy: Curation of its training rows.
        changes: Changes of the base's recipe.
        single_tasks: Whether each task has a network of its own.
    """

    name: str
    policy: Policy = "per-task"
    changes: tuple[str, ...] = ()
    single_tasks: bool = False


def plan_trainings(choices: Choices, rows: Mapping[tuple[Policy, Task | None], int]) -> list[Training]:
    """The runs of all variants and seeds.

    Args:
        choices: What is compared.
        rows: Training rows by policy and task; under None those that are annotated for any task.

    Raises:
        ConfigError: If the recipe is not valid, or has nothing to compare.
    """
    base, common = read_base_recipe(choices), [*choices.settings, *_FIXED]
    runs = []
    for seed in choices.seeds:
        for variant in list_variants(base, rows["per-task", None], rows["strict", None]):
            for task in TASKS if variant.single_tasks else (None,):
                changes = (*common, *variant.changes)
                tasks = (task,) if task else TASKS
                resolved = read_recipe(choices.recipe, [*changes, f"seed={seed}", f"tasks={list(tasks)}"])
                name = f"{variant.name}-{task}" if task else variant.name
                count = rows[variant.policy, task]
                runs.append(Training(variant.name, name, seed, variant.policy, changes, tasks, resolved, count))
    return runs


def read_base_recipe(choices: Choices) -> Recipe:
    """The recipe of the base.

    Raises:
        ConfigError: As `plan_trainings`.
    """
    base = read_recipe(choices.recipe, [*choices.settings, *_FIXED])
    problems = []
    if set(base.tasks) != set(TASKS):
        problems.append(f"tasks: got {', '.join(base.tasks)}, expected all three")
    if base.weights == "none":
        problems.append("weights: got none, expected published or optional: all variants start from the same weights")
    if not base.all.epochs:
        problems.append("all.epochs: got 0; a frozen network has nothing to be compared with")
    if not base.losses.attention or base.losses.attention_kind != "diversity":
        kind = base.losses.attention_kind if base.losses.attention else "none"
        problems.append(f"losses: the attention loss is {kind}, expected diversity; its other kinds are variants")
    if base.schedule.name == "exponential":
        problems.append(
            "schedule.name: got exponential, which falls once an epoch; with fewer rows an epoch has fewer steps, and "
            "strict curation in as many steps would not have the base's learning rates. Expected cosine or constant"
        )
    if problems:
        lines = [f"{choices.recipe}: {problem}" for problem in problems]
        raise ConfigError("\n".join([*lines, "choose another recipe for the ablation"]))
    return base


def list_variants(base: Recipe, rows: int, strict_rows: int) -> list[AblationVariant]:
    """The variants whose networks are trained, the base first.

    Args:
        base: Recipe of the base.
        rows: Training rows that per-task curation keeps.
        strict_rows: Training rows that strict curation keeps.
    """
    epochs = base.heads.epochs + base.all.epochs
    rate = base.heads.learning_rate if base.heads.epochs else base.all.learning_rate
    frozen = ("all.epochs=0", f"heads.epochs={epochs}", f"heads.learning_rate={rate!r}")
    consistency = ("losses.attention_kind=consistency", f"losses.attention={CONSISTENCY * base.losses.attention!r}")
    return [
        AblationVariant(BASE),
        AblationVariant("strict", "strict"),
        AblationVariant("strict-steps", "strict", match_steps(base, rows, strict_rows)),
        AblationVariant("no-attention-loss", changes=("losses.attention=0.0",)),
        AblationVariant("consistency", changes=consistency),
        AblationVariant("frozen", changes=frozen),
        AblationVariant("single-tasks", single_tasks=True),
    ]


def match_steps(base: Recipe, rows: int, fewer: int) -> tuple[str, ...]:
    """Changes that give training on fewer rows as many steps, and the same learning rate at each.

    Steps are rounded up to whole epochs; where that adds some, a cosine falls as much later.

    Args:
        base: The recipe.
        rows: Rows that it is trained on.
        fewer: Rows of the training that the changes are for.
    """
    steps, fewer_steps = _count_epoch_steps(rows, base.batch_size), _count_epoch_steps(fewer, base.batch_size)
    return (
        f"heads.epochs={-(-base.heads.epochs * steps // fewer_steps)}",
        f"all.epochs={-(-base.all.epochs * steps // fewer_steps)}",
        f"schedule.warmup_epochs={base.schedule.warmup_epochs * steps / fewer_steps!r}",
    )


def _count_epoch_steps(rows: int, batch_size: int) -> int:
    """Optimiser steps of one epoch."""
    return max(1, -(-rows // batch_size))
