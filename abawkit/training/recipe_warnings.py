"""Warnings about recipes: settings without effect, and values far out of the usual range."""

from collections.abc import Sequence
from dataclasses import fields

from abawkit.frames.augmentation_config import Augmentation
from abawkit.labels import TASKS
from abawkit.training.recipe import Recipe

_HIGH_RATE = 1.0
"""Learning rate above which to warn: Adam moves each weight by about as much in a step."""


def find_recipe_warnings(recipe: Recipe, changes: Sequence[str] = ()) -> list[str]:
    """One line for each changed value that has no effect, and for each learning rate that is far too high.

    Args:
        recipe: The recipe, with its changes.
        changes: ``KEY=VALUE`` each, as of `read_recipe`; only these are checked for an effect, as a resolved recipe
            has every key.
    """
    named = {change.partition("=")[0].strip() for change in changes}
    lines = [f"{key} has no effect: {reason}" for key, reason in _find_ineffective_keys(recipe).items() if key in named]
    for name, stage in (("heads", recipe.heads), ("all", recipe.all)):
        if stage.epochs and stage.learning_rate > _HIGH_RATE:
            lines.append(f"{name}.learning_rate is {stage.learning_rate:g}: a step moves each weight by about as much")
    return lines


def _find_ineffective_keys(recipe: Recipe) -> dict[str, str]:
    """Keys that have no effect in this recipe, and why."""
    found = {}
    if recipe.schedule.name != "exponential":
        found["schedule.decay"] = f"schedule.name is {recipe.schedule.name}"
    if recipe.optimizer.name != "sam":
        found["optimizer.sam_rho"] = f"optimizer.name is {recipe.optimizer.name}"
    if not recipe.augmentation.varies:
        found |= dict.fromkeys(("heads.augment", "all.augment"), "no frame is varied in the section augmentation")
    if not recipe.heads.epochs:
        found |= dict.fromkeys(("heads.learning_rate", "heads.augment"), "heads.epochs is 0")
    if not recipe.all.epochs:
        of_stage = ("all.learning_rate", "all.augment", "losses.attention", "losses.attention_kind", "patience")
        found |= dict.fromkeys(of_stage, "all.epochs is 0")
    elif not recipe.losses.attention:
        found["losses.attention_kind"] = "losses.attention is 0"
    if recipe.losses.expression_weights == recipe.losses.au_weights == "none":
        found["losses.balance"] = "losses.expression_weights and losses.au_weights are none"
    for task in TASKS:
        if task not in recipe.tasks:
            found[f"losses.{task}"] = f"{task} is not among the tasks"
    if "expression" not in recipe.tasks:
        keys = ("losses.label_smoothing", "losses.expression_weights")
        found |= dict.fromkeys(keys, "expression is not among the tasks")
    if "au" not in recipe.tasks:
        found["losses.au_weights"] = "au is not among the tasks"
    return found | _find_ineffective_augmentation(recipe.augmentation) | _find_ineffective_of_network(recipe)


def _find_ineffective_of_network(recipe: Recipe) -> dict[str, str]:
    """Keys of sequence networks in a recipe of another network, and the other way round."""
    section = recipe.sequence
    if not recipe.is_sequence:
        return {f"sequence.{key}": f"network is {recipe.network}" for key in type(section).model_fields}
    keys = ["losses.attention", "losses.attention_kind", "capture", "sync_batchnorm"]
    keys += [f"augmentation.{field.name}" for field in fields(recipe.augmentation) if field.name != "flip"]
    kinds = {"kernel": ("tcn",), "heads": ("transformer",), "reach": ("transformer",), "context": ("lstm", "bigru")}
    unused = [f"sequence.{key}" for key, of in kinds.items() if section.kind not in of]
    unused += ["sequence.window"] if section.kind == "frame" else []
    reason = f"sequence.kind is {section.kind}"
    return dict.fromkeys(keys, "network is sequence") | dict.fromkeys(unused, reason)


def _find_ineffective_augmentation(augmentation: Augmentation) -> dict[str, str]:
    needed = {"affine": ("angle", "scale", "shift"), "erase": ("erase_area", "erase_aspect")}
    return {
        f"augmentation.{key}": f"augmentation.{name} is 0"
        for name, keys in needed.items()
        for key in keys
        if not getattr(augmentation, name)
    }
