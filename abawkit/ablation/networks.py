"""The long part of an ablation: everything until the probabilities of all networks are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from abawkit.ablation.folder import Folder, open_folder
from abawkit.ablation.material import origin, prepare_release, training_counts
from abawkit.ablation.plan import Training, base_recipe, make_plan
from abawkit.ablation.predictions import Place, predict_all
from abawkit.ablation.pretraining import stand_in
from abawkit.ablation.runs import Making, Means, makings, train_all


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
    runs: list[Making]
    start: Path
    probabilities: dict[Place, Path]


def make_networks(choices: Choices, out: Path, means: Means) -> Networks:
    """Draws, curates, trains and predicts what is not there yet.

    Args:
        choices: What is compared.
        out: The ablation's folder; made, or taken up.
        means: How steps are run.

    Raises:
        ConfigError: If the recipe has nothing to compare, or the folder holds something else.
        DataError: If the release is not there.
        StepError: If a step fails.
    """
    base_recipe(choices.recipe, choices.settings)  # a slip is found before anything is drawn
    folder = open_folder(out, origin(choices.release, choices.size, choices.weights))
    prepare_release(folder, choices.release, choices.size, means.say)
    plan = make_plan(choices.recipe, choices.settings, choices.seeds, training_counts(folder))
    start = choices.weights or stand_in(folder, choices.size, choices.recipe, choices.settings, means)
    runs = makings(plan, folder, choices.recipe, start)
    train_all(runs, means)
    return Networks(folder, plan, runs, start, predict_all(plan, runs, folder, means))
