"""The plan of a submission: the networks to train, and the members of the ensemble that they form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task
from abawkit.submissions.recipe import Network, SubmissionRecipe
from abawkit.training.recipe import Recipe, list_recipes, read_recipe

OUTPUTS: Final = "outputs"
"""Folder of everything that is made, within a submission's folder; ignored by git."""


@dataclass(frozen=True)
class PlannedRun:
    """One network with one seed.

    Attributes:
        name: Of its run folder.
        network: As the submission's recipe has it.
        seed: Its seed.
        source: Its training recipe, as ``abawkit train`` takes it.
        recipe: That recipe, resolved.
    """

    name: str
    network: Network
    seed: int
    source: str
    recipe: Recipe

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that it is trained for."""
        return self.recipe.tasks

    def resolve_recipe(self) -> dict[str, Any]:
        """All choices that its weights depend on; the weights that it starts from are digested apart."""
        return self.recipe.model_dump(mode="json", exclude={"checkpoints", "weights"})


@dataclass(frozen=True)
class PlannedMember:
    """One member of the ensemble: a network for all tasks, or all networks of one seed that are for some tasks only.

    Attributes:
        name: Of its files.
        runs: Its networks.
    """

    name: str
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class SubmissionPlan:
    """The networks of a submission.

    Attributes:
        runs: The networks to train.
        members: The members to predict with.
    """

    runs: tuple[PlannedRun, ...]
    members: tuple[PlannedMember, ...]


def plan_submission(folder: Path, recipe: SubmissionRecipe) -> SubmissionPlan:
    """Plans the networks of a submission.

    A network that is trained for every task is a member with each seed. Networks that are trained for some tasks only
    form one member per seed: each answers the tasks that it was trained for.

    Args:
        folder: Of the submission.
        recipe: Its recipe.

    Raises:
        ConfigError: If a training recipe is absent or not valid, starts from other weights than the submission, or no
            network is trained for a task.
    """
    runs = [_plan_run(folder, network, seed) for seed in recipe.seeds for network in recipe.networks]
    for run in runs:
        _check_start(run, recipe)
    whole = [run for run in runs if set(run.tasks) == set(TASKS)]
    members = [PlannedMember(run.name, (run,)) for run in whole]
    for seed in recipe.seeds:
        parts = tuple(run for run in runs if run.seed == seed and run not in whole)
        if not parts:
            break
        _refuse_gaps(parts)
        names = "+".join(run.network.name for run in parts)
        members.append(PlannedMember(f"{names}-seed{seed}", parts))
    return SubmissionPlan(tuple(runs), tuple(members))


def _plan_run(folder: Path, network: Network, seed: int) -> PlannedRun:
    source = network.recipe
    if source not in list_recipes():
        path = folder / source
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise ConfigError(
                f"network {network.name}: no recipe '{source}'; give a TOML file of {folder}, or one of "
                f"{', '.join(list_recipes())}"
            )
        source = str(path)
    changes = [*network.changes, f"seed={seed}"]
    changes += [f"tasks={network.tasks}"] if network.tasks else []
    return PlannedRun(f"{network.name}-seed{seed}", network, seed, source, read_recipe(source, changes))


def _check_start(run: PlannedRun, recipe: SubmissionRecipe) -> None:
    """Refuses a network whose recipe starts from weights where the submission does not, or the other way round."""
    if run.recipe.weights not in ("optional", recipe.weights):
        raise ConfigError(
            f'network {run.network.name}: its recipe has weights = "{run.recipe.weights}", and the submission has '
            f'weights = "{recipe.weights}"; make them the same, or add "weights={recipe.weights}" to the network\'s set'
        )


def _refuse_gaps(parts: tuple[PlannedRun, ...]) -> None:
    absent = [task for task in TASKS if not any(task in run.tasks for run in parts)]
    if absent:
        names = ", ".join(run.network.name for run in parts)
        raise ConfigError(
            f"networks {names}: are predicted together, as each is trained for some tasks only, and none is for "
            f"{', '.join(absent)}; add one that is"
        )
