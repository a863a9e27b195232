"""What was trained is what had labels and a gradient; nothing else is scored, shown, or answered for."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from abawkit.curation.curate import curate
from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import find_sources
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.inspection import inspect
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import load_weights
from abawkit.prediction.networks import load_members
from abawkit.tables import Annotations
from abawkit.training.callbacks import Callbacks
from abawkit.training.data import FramedRows, read_training_rows
from abawkit.training.distributed import ALONE
from abawkit.training.learner import Learner
from abawkit.training.loop import Loop
from abawkit.training.recipe import Losses, Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume
from abawkit.training.supervision import find_weighted_tasks, select_scored_tasks, select_trainable_tasks

Make = Callable[..., Recipe]
NOTHING = Stage(epochs=0)
CPU = torch.device("cpu")
BLANK = {"va": {1: "-5", 2: "-5"}, "expression": {3: "-1"}, "au": dict.fromkeys(range(4, 16), "-1")}
"""What stands in a row's columns where a task is not annotated."""


def blanked(release: Path, folder: Path, task: str, splits: tuple[str, ...]) -> Path:
    """A copy of a release's annotations without any label of a task, curated."""
    folder.mkdir()
    for name in ("training", "validation"):
        lines = (release / f"{name}_set_annotations.txt").read_text().splitlines()
        if name in splits:
            rows = [line.split(",") for line in lines]
            lines = [lines[0]] + [",".join(BLANK[task].get(i, c) for i, c in enumerate(row)) for row in rows[1:]]
        (folder / f"{name}_set_annotations.txt").write_text("\n".join(lines) + "\n")
    out = folder / "curated"
    out.mkdir()
    with pytest.warns(DataWarning, match="this set can't"):
        curate(find_sources(folder, frames=release / "cropped_aligned"), out, policy="per-task", workers=1)
    return out


@pytest.fixture(scope="module")
def unlabelled(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated set in which no row has an expression."""
    return blanked(release, tmp_path_factory.mktemp("unlabelled") / "in", "expression", ("training", "validation"))


@pytest.fixture(scope="module")
def partial_run(unlabelled: Path, recipe: Make, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("partial")
    with pytest.warns(
        DataWarning, match=r"no training row is annotated for expression: .* valence and arousal, action"
    ):
        return train(recipe(all=NOTHING), Inputs(unlabelled), out)


def table(*, count: int = 4, **columns: Any) -> Annotations:
    """Annotated rows, but for what is given."""
    numbers = np.arange(count)
    given: dict[str, Any] = {
        "va": np.stack([numbers, numbers], axis=1) / 10,
        "expression": numbers.astype(np.int8),
        "au": np.tile((numbers % 2).astype(np.int8)[:, None], (1, 12)),
        **{f"{task}_valid": np.ones(count, bool) for task in ("va", "expression", "au")},
        **columns,
    }
    images, nowhere = pa.array([f"v/{i}.jpg" for i in numbers], pa.string()), np.zeros(count, bool)
    return Annotations(images, lines=numbers + 2, **given, va_partial=nowhere, au_partial=nowhere)


def test_a_task_without_a_label_is_left_out_of_the_run_and_of_its_recipe(partial_run: Trained) -> None:
    assert partial_run.tasks == ("va", "au")
    assert 'tasks = [\n    "va",\n    "au",\n]' in (partial_run.out / "recipe.toml").read_text()
    assert load_weights(partial_run.out / "best.safetensors").metadata["tasks"] == "va,au"
    manifest = json.loads((partial_run.out / "manifest.json").read_text())
    assert manifest["tasks"] == ["va", "au"]
    assert manifest["best"]["official"]["expression_f1"] is None
    assert manifest["best"]["official"]["tasks"] == ["va", "au"]


def test_its_score_is_the_sum_of_what_was_trained(partial_run: Trained) -> None:
    score = partial_run.scores["official"]
    assert score.score == pytest.approx(score.ccc_va + score.au_f1)
    assert partial_run.best_score == score.score
    (line,) = map(json.loads, (partial_run.out / "metrics.jsonl").read_text().splitlines())
    assert (line["official"]["expression_f1"], line["official"]["score"]) == (None, score.score)


def test_inspection_and_prediction_go_by_what_was_trained(partial_run: Trained) -> None:
    assert inspect(partial_run.out).facts["trained"] == ["va", "au"]
    weights = partial_run.out / "last.safetensors"
    assert "trained for va, au" in inspect(weights).summary
    with pytest.raises(DataError, match="no checkpoint was trained for expression"):
        load_members([partial_run.out], CPU)
    assert load_members([partial_run.out], CPU, ["va", "au"])[0].tasks == ("va", "au")


def test_a_checkpoint_says_what_was_trained_too(partial_run: Trained) -> None:
    kept = load_weights(partial_run.out / "checkpoints/0001-000000/network.safetensors")
    assert kept.metadata["tasks"] == "va,au"
    begun = load_weights(partial_run.out / "checkpoints/0000-000000/network.safetensors")
    assert begun.metadata["tasks"] == ""
    with pytest.raises(DataError, match="no checkpoint was trained for va, expression, au"):
        load_members([partial_run.out / "checkpoints/0000-000000/network.safetensors"], CPU)


def test_such_a_run_is_resumed_by_the_recipe_that_it_was_given(
    partial_run: Trained, unlabelled: Path, recipe: Make, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(partial_run.out, tmp_path / "run"))
    with pytest.warns(DataWarning, match="no training row is annotated for expression"):
        again = train(recipe(all=NOTHING), Inputs(unlabelled), out, resume=Resume())
    assert again.tasks == ("va", "au")
    train(recipe(all=NOTHING, tasks=("va", "au")), Inputs(unlabelled), out, resume=Resume())  # as recipe.toml has it


def test_a_task_that_is_asked_for_by_name_and_has_no_label_is_refused(
    unlabelled: Path, recipe: Make, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"the recipe's tasks name expression; train the others with --tasks va$"):
        train(recipe(tasks=("va", "expression")), Inputs(unlabelled), tmp_path)
    with pytest.raises(DataError, match="no training row is annotated for expression"):
        train(recipe(tasks=("expression",)), Inputs(unlabelled), tmp_path)
    assert not (tmp_path / "recipe.toml").exists()


def test_a_task_that_only_training_rows_have_is_trained_and_not_scored(
    release: Path, recipe: Make, tmp_path: Path
) -> None:
    data = blanked(release, tmp_path / "in", "au", ("validation",))
    with pytest.warns(
        DataWarning, match="no validation row is annotated for action units, .*: trained, but not scored"
    ):
        trained = train(recipe(all=NOTHING, tasks=("va", "au")), Inputs(data), tmp_path)
    assert trained.tasks == ("va", "au")
    assert trained.scores["official"].tasks == ("va",)
    alone = recipe(all=NOTHING, tasks=("au",))
    with pytest.raises(DataError, match="no validation row counts for action units under the official protocol"):
        train(alone, Inputs(data), tmp_path)


def test_a_loss_without_weight_trains_nothing(recipe: Make) -> None:
    chosen = recipe(losses=Losses(au=0.0))
    assert find_weighted_tasks(chosen) == ("va", "expression")
    varied = table(expression=np.arange(8, dtype=np.int8), count=8)
    with pytest.warns(
        DataWarning, match=r"losses\.au is 0: this run trains and scores valence and arousal, expression"
    ):
        assert select_trainable_tasks(chosen, varied).tasks == ("va", "expression")
    with pytest.raises(ConfigError, match=r"losses\.au is 0, and the recipe's tasks name au"):
        select_trainable_tasks(recipe(losses=Losses(au=0.0), tasks=("va", "au")), table())


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"va": np.full((4, 2), 0.5)}, "valence and arousal are the same in every annotated training row"),
        ({"va_valid": np.array([True, False, False, False])}, "valence and arousal are the same in every"),
        ({"va": np.array([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.4, 0.5]])}, "^arousal is the same in every"),
        ({}, "no training row shows Happiness, Sadness, Surprise, Other"),
        ({"au": np.zeros((4, 12), np.int8)}, "never active in the training rows: AU1, AU2, .*AU26: can't be learned"),
        ({"au": np.ones((4, 12), np.int8)}, "always active in the training rows: AU1, "),
    ],
)
def test_what_labels_cannot_teach_is_named(recipe: Make, columns: dict[str, Any], said: str) -> None:
    with pytest.warns(DataWarning) as shown:
        select_trainable_tasks(recipe(), table(**columns))
    assert any(re.search(said, str(warning.message)) for warning in shown)


def test_no_trained_task_that_counts_is_refused() -> None:
    rows = table(va_valid=np.zeros(4, bool))
    assert select_scored_tasks(("expression", "au"), rows, "official") == ("expression", "au")
    for constant in (rows, table(va=np.full((4, 2), 0.5))):
        with pytest.raises(DataError, match="no epoch could be chosen as the best"):
            select_scored_tasks(("va",), constant, "official")


@pytest.fixture
def rows(curated: Path) -> FramedRows:
    """Training rows of which one alone has valence and arousal: no batch gives that head a gradient."""
    rows = read_training_rows(open_curated(curated), ("va", "expression", "au"))
    alone = np.zeros(len(rows), bool)
    alone[np.flatnonzero(rows.annotations.va_valid)[0]] = True
    return replace(rows, annotations=replace(rows.annotations, va_valid=alone))


def learner_of(recipe: Recipe, rows: FramedRows) -> Learner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
    return Learner(recipe, network, rows, CPU, bfloat16=False, processes=ALONE)


@pytest.mark.parametrize("optimizer", ["adam", "sam"])
def test_a_head_counts_as_trained_when_a_step_gave_it_a_gradient(
    recipe: Make, rows: FramedRows, tmp_path: Path, optimizer: str
) -> None:
    chosen = recipe(all=NOTHING, batch_size=8, optimizer={"name": optimizer})
    loop = Loop(learner_of(chosen, rows), rows, tmp_path, notes={}, callbacks=Callbacks())
    loop.learner.begin_epoch(loop.plan[0], fresh=True)
    batch = np.flatnonzero(rows.annotations.au_valid & rows.annotations.expression_valid)[:8]
    loop.learner.step(1e-3, loop.learner.collect(0, batch, batch)).read()
    assert loop.learner.trained_tasks() == ["expression", "au"]
    with pytest.warns(DataWarning, match=r"no step of epoch 1 gave a gradient to the head of valence and arousal"):
        assert loop.note_trained() == ("expression", "au")
    assert loop.progress.trained == ["expression", "au"]
    loop.scored = ("va",)
    with pytest.raises(DataError, match="set a larger batch_size"):
        loop.note_trained()
