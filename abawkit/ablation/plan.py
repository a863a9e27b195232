"""Which networks an ablation trains: one change each against the same base.

Strict against per-task curation is the comparison that was never published, and is easily made wrong. Here

- the validation rows are the same for both, all that are annotated for a task (and, as a second figure, those that are
  annotated for all): a policy that also chose its own validation rows would be compared with itself alone;
- both start from the same weights, take the same recipe, and are judged after their last epoch: to take the best epoch
  would fit each to the validation rows, and the one with more epochs more;
- strict curation is trained twice. It keeps fewer rows, so that as many epochs are fewer steps: a difference could come
  from the rows or from the length of training. The second row has as many steps as the base, and the same learning rate
  at each, but for rounding up to whole epochs; it so sees each of its rows more often. What is left is what the dropped
  rows are worth: in as many steps of as many rows strict curation even sees more labels, as none of its rows lacks one,
  but fewer faces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from abawkit.choices import Policy
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task
from abawkit.training.recipe import Recipe, read_recipe

BASE: Final = "base"

_FIXED: Final = ("patience=0",)
"""What holds for every run: none ends early by its validation score."""

CONSISTENCY: Final = 1000.0
"""What the consistency loss weighs where the diversity loss weighs 1.

One is the MSE m of the attention heads' maps, the other 1 / m, whose slope is -1 / m^2. At the m of about 0.03 that
networks begin with, this weight makes the first draw the maps together as strongly as the second drives them apart;
with the same weight for both, the first would do nothing.
"""


@dataclass(frozen=True)
class Training:
    """One run of `abawkit train`.

    Attributes:
        variant: The variant whose network it is.
        name: Name of its folder among those of its seed.
        seed: Seed of its heads' initial weights, order and augmentation.
        policy: The curated set that it is trained on.
        changes: What `--set` changes of the recipe, ``KEY=VALUE`` each; seed and tasks have options of their own.
        tasks: What it is trained for.
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
        """Optimiser steps of the run."""
        return (self.recipe.heads.epochs + self.recipe.all.epochs) * _steps(self.rows, self.recipe.batch_size)

    @property
    def cost(self) -> float:
        """How long it takes, in passes over frames; a frozen network has no backward pass."""
        return self.rows * (0.4 * self.recipe.heads.epochs + self.recipe.all.epochs)


@dataclass(frozen=True)
class Variant:
    """Networks that one row of the table is about.

    Attributes:
        name: Its name.
        policy: Curation of its training rows.
        changes: What it changes of the base's recipe.
        apart: Whether each task has a network of its own.
    """

    name: str
    policy: Policy = "per-task"
    changes: tuple[str, ...] = ()
    apart: bool = False


def make_plan(
    source: str, settings: Sequence[str], seeds: Sequence[int], rows: Mapping[tuple[Policy, Task | None], int]
) -> list[Training]:
    """The runs of all variants and seeds.

    Args:
        source: Name or path of the base's recipe.
        settings: What ``--set`` changes of it, for all variants.
        seeds: Seeds.
        rows: Training rows by policy and task; under None those that are annotated for any task.

    Raises:
        ConfigError: If the recipe is not what it must be, or has nothing to compare.
    """
    base, common = base_recipe(source, settings), [*settings, *_FIXED]
    runs = []
    for seed in seeds:
        for variant in list_variants(base, rows["per-task", None], rows["strict", None]):
            for task in TASKS if variant.apart else (None,):
                changes = (*common, *variant.changes)
                tasks = (task,) if task else TASKS
                resolved = read_recipe(source, [*changes, f"seed={seed}", f"tasks={list(tasks)}"])
                name = f"{variant.name}-{task}" if task else variant.name
                count = rows[variant.policy, task]
                runs.append(Training(variant.name, name, seed, variant.policy, changes, tasks, resolved, count))
    return runs


def base_recipe(source: str, settings: Sequence[str]) -> Recipe:
    """The recipe of the base; arguments as of `make_plan`.

    Raises:
        ConfigError: As `make_plan`.
    """
    return _checked(read_recipe(source, [*settings, *_FIXED]), source)


def list_variants(base: Recipe, rows: int, strict_rows: int) -> list[Variant]:
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
        Variant(BASE),
        Variant("strict", "strict"),
        Variant("strict-steps", "strict", match_steps(base, rows, strict_rows)),
        Variant("no-attention-loss", changes=("losses.attention=0.0",)),
        Variant("consistency", changes=consistency),
        Variant("frozen", changes=frozen),
        Variant("single-tasks", apart=True),
    ]


def match_steps(base: Recipe, rows: int, fewer: int) -> tuple[str, ...]:
    """Changes that give training on fewer rows as many steps, and the same learning rate at each.

    Steps are rounded up to whole epochs; where that adds some, a cosine falls as much later.

    Args:
        base: The recipe.
        rows: Rows that it is trained on.
        fewer: Rows of the training that the changes are for.
    """
    steps, fewer_steps = _steps(rows, base.batch_size), _steps(fewer, base.batch_size)
    return (
        f"heads.epochs={-(-base.heads.epochs * steps // fewer_steps)}",
        f"all.epochs={-(-base.all.epochs * steps // fewer_steps)}",
        f"schedule.warmup_epochs={base.schedule.warmup_epochs * steps / fewer_steps!r}",
    )


def _steps(rows: int, batch_size: int) -> int:
    """Steps of an epoch."""
    return max(1, -(-rows // batch_size))


def _checked(base: Recipe, source: str) -> Recipe:
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
        raise ConfigError("\n".join([*(f"{source}: {p}" for p in problems), "give an ablation another recipe"]))
    return base
