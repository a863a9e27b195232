"""The folders that come with abawkit: each can be run, and says what, why, and what to expect."""

import re
import shlex
from pathlib import Path

import pytest

from abawkit.submissions.plan import SubmissionPlan, plan_submission
from abawkit.submissions.recipe import SubmissionRecipe, read_submission_recipe

ROOT = Path(__file__).parents[2] / "submissions"
SHIPPED = ("baseline", "demo", "paper-classifier", "paper-finetuned", "paper-single-tasks", "strong", "temporal")


def shipped(name: str) -> tuple[SubmissionRecipe, SubmissionPlan]:
    recipe, _ = read_submission_recipe(ROOT / name)
    return recipe, plan_submission(ROOT / name, recipe)


def test_these_are_all() -> None:
    assert tuple(sorted(path.parent.name for path in ROOT.glob("*/recipe.toml"))) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_the_readme_says_what_why_what_to_expect_and_how(name: str) -> None:
    recipe, _ = shipped(name)
    text = (ROOT / name / "README.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [word for word in ("What", "Why", "Expected") if f"**{word}.**" not in text] == []
    lines = shlex.split(text[text.index("```sh") :].replace("\\\n", " ").partition("```sh")[2].partition("```")[0])
    assert f"submissions/{name}" in lines
    assert lines[lines.index("--policy") + 1] == recipe.policy
    assert ("--weights" in lines) == (recipe.weights == "published")


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("paper")])
def test_what_the_paper_submitted_is_curated_strictly_and_has_thresholds_alone(name: str) -> None:
    recipe, plan = shipped(name)
    assert (recipe.policy, recipe.weights) == ("strict", "published")
    assert (recipe.decisions.weights, recipe.decisions.smoothing) == ("mean", "none")
    assert recipe.decisions.calibration == ["au"]
    assert recipe.decisions.protocol == "strict"
    assert len(plan.members) == 1


def test_the_classifier_alone_leaves_the_network_frozen() -> None:
    _, plan = shipped("paper-classifier")
    assert plan.runs[0].recipe.all.epochs == 0 < plan.runs[0].recipe.heads.epochs


def test_strong_is_the_baseline_with_all_that_is_known() -> None:
    recipe, plan = shipped("strong")
    _, baseline = shipped("baseline")
    assert len(recipe.seeds) == 5
    assert recipe.policy == "per-task"
    assert (recipe.decisions.weights, recipe.decisions.smoothing) == ("fitted", "tuned")
    assert recipe.decisions.calibration == ["va", "expression", "au"]
    strong, plain = plan.runs[0].recipe, baseline.runs[0].recipe
    assert strong.optimizer.name == "sam"
    assert strong.ema > 0
    assert strong.model_copy(update={"optimizer": plain.optimizer}) == plain


def test_strong_predicts_with_heads_over_time_on_the_features_of_its_networks() -> None:
    _, plan = shipped("strong")
    assert [member.name for member in plan.members] == [f"over-time-seed{seed}" for seed in (1, 2, 3, 4, 5)]
    for run in plan.heads:
        (features,) = run.features
        assert features.run is not None
        assert features.run.name == f"all-seed{run.seed}"
        assert features.flip


def test_temporal_has_a_head_for_all_tasks_and_one_per_task_on_each_network() -> None:
    recipe, plan = shipped("temporal")
    _, demo = shipped("demo")
    assert [run.recipe for run in plan.frame_networks] == [run.recipe for run in demo.runs]
    assert [member.name for member in plan.members if member.name.endswith("seed1")] == [
        "all-seed1",
        "va+expression+au-seed1",
    ]
    assert {run.recipe.sequence.kind for run in plan.heads} == {"bigru"}
    assert recipe.decisions.searched


def test_every_key_of_the_form_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    example = text[text.index("```toml") :].partition("```toml")[2].partition("```")[0]
    keys = set(re.findall(r"^(\w+) =", example, flags=re.MULTILINE))
    known = {*SubmissionRecipe.model_fields} - {"networks", "decisions"}
    assert known <= keys
    assert {"name", "recipe", "set", "tasks", "features", "member"} <= keys
    assert {"weights", "smoothing", "calibration", "folds", "protocol"} <= keys


def test_the_example_of_the_form_is_one(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    example = text[text.index("```toml") :].partition("```toml")[2].partition("```")[0]
    (tmp_path / "recipe.toml").write_text(example.replace('tasks = ["va"]', 'tasks = ["va", "expression", "au"]'))
    recipe, _ = read_submission_recipe(tmp_path)
    plan = plan_submission(tmp_path, recipe)
    assert [member.name for member in plan.members] == [
        f"{name}-seed{seed}" for name in ("all", "over-time") for seed in (1, 2, 3)
    ]
