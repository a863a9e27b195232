"""The plan of a submission: the networks to train, the features that they read, and the members that they form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from abawkit.errors import ConfigError, printable
from abawkit.execution import list_registered
from abawkit.features.source_kinds import EXTRACTOR_GROUP
from abawkit.labels import TASKS, Task
from abawkit.models.weight_files import find_weights
from abawkit.submissions.recipe import Network, SubmissionRecipe
from abawkit.training.recipe import Recipe, list_recipes, read_recipe

OUTPUTS: Final = "outputs"
"""Folder of everything that is made, within a submission's folder; ignored by git."""

CURATED: Final = "curated"
TEST: Final = "test"
"""The features of the curated set and those of the list, within the folder of features."""


@dataclass(frozen=True)
class PlannedFeatures:
    """Features of the curated set and of the list, which heads over time read.

    Attributes:
        name: Of their folder.
        run: The network of this submission that computes them, or None.
        source: Otherwise a file or an installed extractor, as ``abawkit features`` takes it; or a folder with features
            that are there already.
        flip: Whether a head needs those of the mirrored frames too.
    """

    name: str
    run: "PlannedRun | None" = None
    source: str = ""
    flip: bool = False

    @property
    def given(self) -> Path | None:
        """The folder of features that are there already; None where they are extracted."""
        return Path(self.source) if self.source and Path(self.source).is_dir() else None


@dataclass(frozen=True)
class PlannedRun:
    """One network with one seed.

    Attributes:
        name: Of its run folder.
        network: As the submission's recipe has it.
        seed: Its seed.
        source: Its training recipe, as ``abawkit train`` takes it.
        recipe: That recipe, resolved.
        features: What it reads in place of frames; empty for a network that sees frames.
    """

    name: str
    network: Network
    seed: int
    source: str
    recipe: Recipe
    features: tuple[PlannedFeatures, ...] = ()

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

    @property
    def features(self) -> tuple[PlannedFeatures, ...]:
        """All features that its networks read, each once."""
        return _join_features(self.runs)


@dataclass(frozen=True)
class SubmissionPlan:
    """The networks of a submission.

    Attributes:
        runs: The networks to train; heads over time stand behind the networks that see frames.
        members: The members to predict with.
    """

    runs: tuple[PlannedRun, ...]
    members: tuple[PlannedMember, ...]

    @property
    def frame_networks(self) -> list[PlannedRun]:
        """The networks that see frames."""
        return [run for run in self.runs if not run.features]

    @property
    def heads(self) -> list[PlannedRun]:
        """The heads over time."""
        return [run for run in self.runs if run.features]

    @property
    def features(self) -> tuple[PlannedFeatures, ...]:
        """All features that its networks read, each once."""
        return _join_features(self.runs)


def plan_submission(folder: Path, recipe: SubmissionRecipe) -> SubmissionPlan:
    """Plans the networks of a submission.

    A network that is trained for every task is a member with each seed. Networks that are trained for some tasks only
    form one member per seed: each answers the tasks that it was trained for.

    Args:
        folder: Of the submission.
        recipe: Its recipe.

    Raises:
        ConfigError: If a training recipe is absent or not valid, starts from other weights than the submission, reads
            features that nothing computes, or no network is trained for a task.
    """
    runs = [_plan_run(folder, network, seed) for seed in recipe.seeds for network in recipe.networks]
    for run in runs:
        _check_start(run, recipe)
    runs = _plan_features(folder, runs)
    predicting = [run for run in runs if run.network.member]
    whole = [run for run in predicting if set(run.tasks) == set(TASKS)]
    members = [PlannedMember(run.name, (run,)) for run in whole]
    for seed in recipe.seeds:
        parts = tuple(run for run in predicting if run.seed == seed and run not in whole)
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
    """Refuses a network whose recipe starts from weights where the submission does not, or the other way round.

    Heads over time start from nothing: the submission's weights are those of networks that see frames.
    """
    expected = "none" if run.recipe.is_sequence else recipe.weights
    if run.recipe.weights in ("optional", expected):
        return
    if run.recipe.is_sequence:
        raise ConfigError(
            f'network {run.network.name}: its recipe has weights = "{run.recipe.weights}", and heads over time start '
            'from random numbers; make it weights = "none"'
        )
    raise ConfigError(
        f'network {run.network.name}: its recipe has weights = "{run.recipe.weights}", and the submission has '
        f'weights = "{recipe.weights}"; make them the same, or add "weights={recipe.weights}" to the network\'s set'
    )


def _plan_features(folder: Path, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs with what they read, those that see frames first."""
    for run in runs:
        _check_kind(run)
    seeing = [run for run in runs if not run.recipe.is_sequence]
    heads = [run for run in runs if run.recipe.is_sequence]
    flipped = {source for run in heads if run.recipe.augmentation.flip for source in run.network.features}
    result = list(seeing)
    for head in heads:
        sources = head.network.features
        found = [_find_features(folder, head, source, runs, flip=source in flipped) for source in sources]
        result.append(replace(head, features=tuple(found)))
    _refuse_ambiguous(result)
    read = {name for run in heads for name in run.network.features}
    for run in runs:
        if not run.network.member and run.network.name not in read:
            raise ConfigError(
                f"network {run.network.name}: has member = false, and no other network reads its features; name it in "
                "their features, or leave it out"
            )
    return result


def _check_kind(run: PlannedRun) -> None:
    """Refuses features for a network that sees frames, and heads over time without any."""
    if run.network.features and not run.recipe.is_sequence:
        raise ConfigError(
            f"network {run.network.name}: has features, and its recipe trains {run.recipe.network}, which sees frames; "
            "leave features out, or give a recipe of heads over time, such as sequence-bigru"
        )
    if run.recipe.is_sequence and not run.network.features:
        raise ConfigError(
            f"network {run.network.name}: its recipe trains heads over time, which read features; name the network "
            'that computes them, as in features = ["frames"]'
        )


def _find_features(
    folder: Path, head: PlannedRun, source: str, runs: Sequence[PlannedRun], *, flip: bool
) -> PlannedFeatures:
    named = next((run for run in runs if run.network.name == source and run.seed == head.seed), None)
    where = f"network {head.network.name}: features: '{printable(source)}'"
    if named is None:
        path = folder / source
        if path.is_dir() and not (path / CURATED).is_dir():
            return PlannedFeatures(path.name, source=str(find_weights(path)), flip=flip)
        if path.exists():
            return PlannedFeatures(path.name, source=str(path), flip=flip)
        if source in list_registered(EXTRACTOR_GROUP):
            return PlannedFeatures(source.replace("/", "-"), source=source, flip=flip)
        seeing = dict.fromkeys(run.network.name for run in runs if not run.recipe.is_sequence)
        raise ConfigError(
            f"{where} is no network of this submission, no path from {folder}, and no installed extractor; its "
            f"networks that see frames: {', '.join(seeing) or 'none'}"
        )
    if named.recipe.is_sequence:
        raise ConfigError(f"{where} reads features itself; name a network that sees frames")
    return PlannedFeatures(named.name, named, flip=flip)


def _refuse_ambiguous(runs: Sequence[PlannedRun]) -> None:
    """Refuses two sources whose features would lie in one folder."""
    origins: dict[str, str] = {}
    for each in _join_features(runs):
        origin = each.source or f"network {each.name}"
        if origins.setdefault(each.name, origin) != origin:
            raise ConfigError(
                f"features: {origins[each.name]} and {origin} would both be called {each.name}; rename one of the two"
            )


def _join_features(runs: Sequence[PlannedRun]) -> tuple[PlannedFeatures, ...]:
    found: list[PlannedFeatures] = []
    for run in runs:
        found += [each for each in run.features if each not in found]
    return tuple(found)


def _refuse_gaps(parts: tuple[PlannedRun, ...]) -> None:
    absent = [task for task in TASKS if not any(task in run.tasks for run in parts)]
    if absent:
        names = ", ".join(run.network.name for run in parts)
        raise ConfigError(
            f"networks {names}: are predicted together, as each is trained for some tasks only, and none is for "
            f"{', '.join(absent)}; add one that is"
        )
