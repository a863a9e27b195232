"""The weights that all variants start from: given, or a stand-in for a network that was trained on other faces.

The paper starts from a network trained on AffectNet, another data set with other labels, and its comparison of a frozen
with a fine-tuned network needs such weights. The stand-in is trained for expressions alone, on a release of other
persons, with the recipe of the base. Its heads are left behind, as those of published weights are
(`abawkit.models.published`): every variant of a seed begins with the same heads, drawn from that seed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from abawkit.ablation.folder import Folder
from abawkit.ablation.material import curate, draw
from abawkit.ablation.runs import Making, Means, train_all
from abawkit.curation import open_curated
from abawkit.training.recipe import read_recipe
from abawkit.training.record import LAST

DRAWN_SEED: Final = 1
"""Seed of the release that the stand-in is trained on; the ablation's own has 0, and no person is in both."""


def stand_in(folder: Folder, size: str, source: str, settings: Sequence[str], means: Means) -> Path:
    """Trains the stand-in, unless it is there.

    Args:
        folder: The ablation's folder.
        size: Size of the release that is drawn for it.
        source: Name or path of the base's recipe.
        settings: What ``--set`` changes of it.
        means: How steps are run.

    Returns:
        Its file of weights, without heads.

    Raises:
        ConfigError: If the recipe is not what it must be, or another stand-in is there.
        StepError: If a step fails.
    """
    root = folder.pretraining
    root.mkdir(exist_ok=True)
    draw(root / "release", size, DRAWN_SEED, means.say)
    curate(root / "release", root / "curated", "per-task", means.say)
    changes = (*settings, "patience=0", "weights=none")
    recipe, digest = read_recipe(source, [*changes, "tasks=['expression']"]), open_curated(root / "curated").digest
    run = Making(root / "run", source, changes, recipe, root / "curated", digest, None)
    done = run.manifest is not None and not run.difference()
    train_all([run], means)
    if not done or not folder.start.is_file():
        _without_heads(run.out / LAST, folder.start)
    return folder.start


def _without_heads(path: Path, out: Path) -> None:
    from abawkit.models.network import HEADS
    from abawkit.models.weights import load_weights, save_weights

    weights = load_weights(path)
    state = {key: value for key, value in weights.state.items() if not key.startswith(HEADS)}
    save_weights(out, weights.config, state)
