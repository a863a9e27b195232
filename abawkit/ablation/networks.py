"""The long part of an ablation: from the initial weights to the stored probabilities of all networks.

The paper starts from a network trained on AffectNet, another data set with other labels, and its comparison of a frozen
with a fine-tuned network needs such weights. The stand-in is trained for expressions alone, on a release of other
persons, with the recipe of the base. Its heads are left behind, as those of published weights are
(`abawkit.models.published`): every variant of a seed begins with the same heads, initialised from that seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from abawkit.ablation.plan import Training, base_recipe, make_plan
from abawkit.ablation.steps import ExecutionOptions, Place, Provenance, predict_all, read_provenance, train_all
from abawkit.ablation.workspace import (
    Folder,
    count_training_rows,
    curate_release,
    describe_origin,
    open_folder,
    prepare_release,
    write_synthetic_release,
)
from abawkit.choices import Policy
from abawkit.curation import open_curated
from abawkit.errors import DataError
from abawkit.labels import Task
from abawkit.run_names import LAST
from abawkit.training.recipe import read_recipe

DRAWN_SEED: Final = 1
"""Seed of the release that the stand-in is trained on; the ablation's own has 0, and no person is in both."""


def train_stand_in(folder: Folder, size: str, source: str, settings: Sequence[str], options: ExecutionOptions) -> Path:
    """Trains the stand-in, unless it is there.

    Args:
        folder: The ablation's folder.
        size: Size of the release that is drawn for it.
        source: Name or path of the base's recipe.
        settings: What ``--set`` changes of it.
        options: How steps are run.

    Returns:
        Its file of weights, without heads.

    Raises:
        ConfigError: If the recipe is not what it must be, or another stand-in is there.
        StepError: If a step fails.
    """
    root = folder.pretraining
    root.mkdir(exist_ok=True)
    write_synthetic_release(root / "release", size, DRAWN_SEED, options.say)
    curate_release(root / "release", root / "curated", "per-task", options.say)
    changes = (*settings, "patience=0", "weights=none")
    recipe, digest = read_recipe(source, [*changes, "tasks=['expression']"]), open_curated(root / "curated").digest
    run = Provenance(root / "run", source, changes, recipe, root / "curated", digest, None)
    done = run.manifest is not None and not run.difference()
    train_all([run], options)
    if not done or not folder.start.is_file():
        _without_heads(run.out / LAST, folder.start)
    return folder.start


def _without_heads(path: Path, out: Path) -> None:
    from abawkit.models.network import HEADS
    from abawkit.models.weights import load_weights, save_weights

    weights = load_weights(path)
    state = {key: value for key, value in weights.state.items() if not key.startswith(HEADS)}
    save_weights(out, weights.config, state)


@dataclass(frozen=True)
class Choices:
    """What an ablation is about.

    Attributes:
        release: Folder of a release, or None where one is drawn.
        size: Size of the drawn one, and of the one that the stand-in for pre-trained weights is trained on.
        recipe: Name or path of the base's recipe.
        settings: What ``--set`` changes of it, for all variants.
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
class Networks:
    """What the long part leaves.

    Attributes:
        folder: The ablation's folder.
        plan: What was trained.
        runs: The runs, in the plan's order.
        start: The weights that all of them started from.
        probabilities: What each seed's variant says of the validation rows of ``folder.curated("per-task")``.
    """

    folder: Folder
    plan: list[Training]
    runs: list[Provenance]
    start: Path
    probabilities: dict[Place, Path]


def make_networks(choices: Choices, out: Path, options: ExecutionOptions) -> Networks:
    """Draws, curates, trains and predicts what is not there yet.

    Args:
        choices: What is compared.
        out: The ablation's folder; made, or taken up.
        options: How steps are run.

    Raises:
        ConfigError: If the recipe has nothing to compare, or the folder holds something else.
        DataError: If the release is not there, or has no label of a task.
        StepError: If a step fails.
    """
    base_recipe(choices.recipe, choices.settings)  # a slip is found before anything is drawn
    folder = open_folder(out, describe_origin(choices.release, choices.size, choices.weights))
    prepare_release(folder, choices.release, choices.size, options.say)
    counts = count_training_rows(folder)
    _refuse_unlabelled(folder, counts)
    plan = make_plan(choices.recipe, choices.settings, choices.seeds, counts)
    start = choices.weights or train_stand_in(folder, choices.size, choices.recipe, choices.settings, options)
    runs = read_provenance(plan, folder, choices.recipe, start)
    train_all(runs, options)
    return Networks(folder, plan, runs, start, predict_all(plan, runs, folder, options))


def _refuse_unlabelled(folder: Folder, counts: Mapping[tuple[Policy, Task | None], int]) -> None:
    """Refuses a release by which a task can't be trained: its column would be that of a head that learned nothing."""
    absent = [(policy, task) for (policy, task), count in counts.items() if task and not count]
    if absent:
        policy, task = absent[0]
        raise DataError(
            f"{folder.curated(policy)}: no training row that {policy} curation keeps is annotated for {task}, and an "
            "ablation compares all three tasks under both policies; give a release that has labels of each"
        )
