"""The recipe that comes with abawkit and that a run's is nearest to, by which people know it."""

from typing import Any, Final

from abawkit.training.recipe import Recipe, flatten_recipe, list_recipes, read_recipe

_MOST_CHANGED: Final = 12
"""Keys in which a recipe may differ from one that comes with abawkit and still be described by it."""


def find_nearest_recipe(recipe: Recipe) -> dict[str, Any]:
    """The nearest recipe that comes with abawkit (``like``), and the keys in which this one differs (``changed``)."""
    own = flatten_recipe(recipe.model_dump(mode="json"))
    nearest: dict[str, Any] | None = None
    for name in list_recipes():
        other = flatten_recipe(read_recipe(name).model_dump(mode="json"))
        changed = {key: value for key, value in own.items() if value != other.get(key)}
        if len(changed) <= _MOST_CHANGED and (nearest is None or len(changed) < len(nearest["changed"])):
            nearest = {"like": name, "changed": changed}
    return nearest or {"like": None}
