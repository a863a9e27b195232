"""Values that were asked for and change nothing are named; what a recipe only writes out is not."""

import pytest

from abawkit.training.recipe import list_recipes, read_recipe
from abawkit.training.recipe_warnings import find_recipe_warnings


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        (["schedule.decay=0.5"], "schedule.decay", "schedule.name is cosine"),
        (["optimizer.sam_rho=0.1"], "optimizer.sam_rho", "optimizer.name is adamw"),
        (["heads.epochs=0", "heads.learning_rate=0.1"], "heads.learning_rate", "heads.epochs is 0"),
        (["heads.epochs=0", "heads.augment=false"], "heads.augment", "heads.epochs is 0"),
        (["all.epochs=0", "heads.epochs=2", "all.augment=false"], "all.augment", "all.epochs is 0"),
        (["heads.epochs=1", "all.epochs=0", "patience=3"], "patience", "all.epochs is 0"),
        (["losses.attention=0", "losses.attention_kind=consistency"], "losses.attention_kind", "losses.attention is 0"),
        (["tasks=['va']", "losses.au=2"], "losses.au", "au is not among the tasks"),
        (["tasks=['va']", "losses.label_smoothing=0.1"], "losses.label_smoothing", "expression is not among the tasks"),
        (["augmentation.affine=0", "augmentation.angle=9"], "augmentation.angle", "augmentation.affine is 0"),
        (["augmentation.erase_area=[0.1, 0.2]"], "augmentation.erase_area", "augmentation.erase is 0"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_change_without_effect_is_named(changes: list[str], key: str, reason: str) -> None:
    assert find_recipe_warnings(read_recipe("demo", changes), changes) == [f"{key} has no effect: {reason}"]


def test_a_change_with_an_effect_is_none() -> None:
    changes = ["schedule.name=exponential", "schedule.decay=0.5", "all.epochs=3", " seed = 4", "losses.balance=0.1"]
    assert find_recipe_warnings(read_recipe("demo", changes), changes) == []


@pytest.mark.parametrize("name", list_recipes())
def test_what_a_recipe_writes_out_itself_is_not_named(name: str) -> None:
    assert find_recipe_warnings(read_recipe(name)) == []


@pytest.mark.parametrize("stage", ["heads", "all"])
def test_a_learning_rate_far_beyond_use_is_named(stage: str) -> None:
    recipe = read_recipe("demo", [f"{stage}.epochs=2", f"{stage}.learning_rate=1e9"])
    said = f"{stage}.learning_rate is 1e+09: a step moves each weight by about as much"
    assert find_recipe_warnings(recipe) == [said]
    assert find_recipe_warnings(read_recipe("demo", ["heads.epochs=0", "heads.learning_rate=5"])) == []
