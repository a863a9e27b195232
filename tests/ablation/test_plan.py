"""What an ablation trains: one change each against the same base, and two trainings on strict curation."""

from collections.abc import Mapping
from typing import Any

import pytest

from abawkit.ablation.plan import Choices, Training, match_steps, plan_trainings
from abawkit.errors import ConfigError
from abawkit.training.learner import Scheduled
from abawkit.training.recipe import Recipe, read_recipe
from tests.ablation.conftest import ROWS, SIX


def of(plan: list[Training], variant: str, seed: int = 1) -> list[Training]:
    return [run for run in plan if (run.variant, run.seed) == (variant, seed)]


def changed(plan: list[Training], variant: str) -> dict[str, Any]:
    """The keys of a variant's recipe that are not the base's."""
    (base,), (run, *_) = of(plan, "base"), of(plan, variant)
    before, after = flat(base.recipe.model_dump(mode="json")), flat(run.recipe.model_dump(mode="json"))
    return {key: value for key, value in after.items() if value != before[key]}


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tables.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def test_every_seed_has_every_variant_and_every_run_a_folder_of_its_own(plan: list[Training]) -> None:
    variants = ["base", "strict", "strict-steps", "no-attention-loss", "consistency", "frozen", *["single-tasks"] * 3]
    for seed in (1, 2):
        assert [run.variant for run in plan if run.seed == seed] == variants
    assert len({(run.seed, run.name) for run in plan}) == len(plan)


def test_runs_of_a_seed_differ_in_what_they_are_named_for_alone(plan: list[Training]) -> None:
    assert changed(plan, "strict") == {}
    assert changed(plan, "no-attention-loss") == {"losses.attention": 0.0}
    assert changed(plan, "consistency") == {"losses.attention_kind": "consistency", "losses.attention": 1.0}
    assert changed(plan, "frozen") == {"all.epochs": 0, "heads.epochs": 6, "heads.learning_rate": 0.004}
    assert changed(plan, "single-tasks") == {"tasks": ["va"]}
    assert all(run.recipe.seed == run.seed for run in plan)


def test_only_the_two_strict_variants_are_trained_on_strict_curation(plan: list[Training]) -> None:
    assert {run.variant for run in plan if run.policy == "strict"} == {"strict", "strict-steps"}


def test_the_second_strict_training_has_as_many_steps_as_the_base_up_to_an_epoch(plan: list[Training]) -> None:
    (base,), (strict,), (longer,) = (of(plan, name) for name in ("base", "strict", "strict-steps"))
    assert (base.steps, strict.steps) == (480, 180)
    assert longer.steps == 480  # 16 epochs of 30 steps
    uneven = plan_trainings(Choices(settings=SIX, seeds=(1,)), ROWS | {("strict", None): 2_000})
    (longer,) = of(uneven, "strict-steps")
    assert 480 <= longer.steps < 480 + 2_000 / 64 + 1


@pytest.mark.parametrize("name", ["cosine", "constant"])
def test_its_learning_rate_is_the_same_function_of_the_step(name: str) -> None:
    base = read_recipe("demo", [*SIX, f"schedule.name={name}", "schedule.warmup_epochs=0.7"])
    longer = read_recipe("demo", [f"schedule.name={name}", *match_steps(base, 5_120, 1_280)])
    assert rates(longer, 20, 24) == pytest.approx(rates(base, 80, 6))


def test_the_second_strict_training_has_the_learning_rate_of_the_base_at_each_step(plan: list[Training]) -> None:
    (base,), (longer,) = of(plan, "base"), of(plan, "strict-steps")
    assert rates(longer.recipe, 30, 16) == pytest.approx(rates(base.recipe, 80, 6))


def test_an_exponential_schedule_whose_rates_fewer_rows_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"schedule\.name: got exponential, which falls once an epoch"):
        plan_trainings(Choices(settings=("schedule.name=exponential",), seeds=(1,)), ROWS)


def rates(recipe: Recipe, batches: int, epochs: int) -> list[float]:
    """The learning rate of each step."""
    assert recipe.all.epochs == epochs
    stage = [Scheduled("all", recipe.all, epoch) for epoch in range(epochs)]
    return [epoch.learning_rate(recipe.schedule, i, batches) for epoch in stage for i in range(batches)]


def test_both_stages_get_longer() -> None:
    base = read_recipe("demo", ["heads.epochs=2", "all.epochs=5"])
    assert match_steps(base, 6_400, 3_000)[:2] == ("heads.epochs=5", "all.epochs=11")


def test_a_frozen_network_takes_all_epochs_at_the_learning_rate_of_the_recipes_own_first_stage() -> None:
    (frozen,) = of(
        plan_trainings(
            Choices(
                settings=(
                    *SIX,
                    "heads.epochs=2",
                    "heads.learning_rate=0.01",
                ),
                seeds=(1,),
            ),
            ROWS,
        ),
        "frozen",
    )
    assert (frozen.recipe.heads.epochs, frozen.recipe.all.epochs) == (8, 0)
    assert frozen.recipe.heads.learning_rate == 0.01


def test_three_networks_for_three_tasks_see_the_rows_of_their_task(plan: list[Training]) -> None:
    assert [(run.tasks, run.rows) for run in of(plan, "single-tasks")] == [
        (("va",), 3_700),
        (("expression",), 3_300),
        (("au",), 3_710),
    ]


def test_no_run_ends_early_by_its_validation_score() -> None:
    plan = plan_trainings(Choices(settings=("patience=2",), seeds=(1,)), ROWS)
    assert {run.recipe.patience for run in plan} == {0}


def test_what_is_set_holds_for_every_variant() -> None:
    plan = plan_trainings(
        Choices(
            settings=(
                "batch_size=32",
                "losses.au=0.5",
            ),
            seeds=(1,),
        ),
        ROWS,
    )
    assert {(run.recipe.batch_size, run.recipe.losses.au) for run in plan} == {(32, 0.5)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("losses.attention=0", "attention loss is none"),
        ("losses.attention_kind=consistency", "attention loss is consistency"),
        ("tasks=['va', 'au']", "expected all three"),
        ("nonsense=1", "unknown key"),
    ],
)
def test_a_recipe_with_nothing_to_compare_is_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_trainings(Choices(settings=(change,), seeds=(1,)), ROWS)


def test_a_base_that_is_frozen_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to be compared with"):
        plan_trainings(
            Choices(
                settings=(
                    "all.epochs=0",
                    "heads.epochs=1",
                ),
                seeds=(1,),
            ),
            ROWS,
        )
