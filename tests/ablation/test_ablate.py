"""An ablation from end to end, but for training and prediction, which are pretended; `.ci/run` does not pretend."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.ablation.plan import CONSISTENCY, Choices
from abawkit.ablation.run import ablate
from abawkit.ablation.steps import train_stand_in
from abawkit.ablation.workspace import AblationFolder, prepare_stand_in_data
from abawkit.curation import curate, find_sources, open_curated
from abawkit.errors import ConfigError
from abawkit.labels import TASKS
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN, HEADS
from abawkit.models.weights import load_weights, save_weights
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.probabilities.members import write_probabilities
from abawkit.run_names import LAST
from abawkit.system.files import sha256_of
from abawkit.training.recipe import read_recipe
from tests.ablation.conftest import Commands, option
from tests.ablation.test_rows import noisy

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")


class Line(Commands):
    """Curates indeed; predictions are the truth with noise of their own."""

    def __call__(self, commands: list[list[str]], _: Any) -> list[dict[str, Any]]:
        for command in commands:
            if command[0] == "curate":
                out = Path(option(command, "--out"))
                out.mkdir(parents=True, exist_ok=True)
                policy: Any = option(command, "--policy")
                curate(find_sources(Path(command[1])), out, policy=policy, workers=1)
        return super().__call__(commands, _)

    def train(self, command: list[str]) -> None:
        super().train(command)
        if "--weights" in command:
            return  # only those of the stand-in are looked into
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        save_weights(Path(option(command, "--out")) / LAST, network.config, network.state_dict())

    def predict(self, command: list[str]) -> None:
        data, out = Path(option(command, "--data")), Path(option(command, "--out"))
        self.table_digest = open_curated(data).digest
        super().predict(command)
        beside = out.with_suffix(".json")
        content = json.loads(beside.read_bytes())
        truth = open_curated(data).splits["validation"].annotations
        content["source"]["list_digest"], content["submission_sha256"] = truth.digest, ""
        beside.write_text(json.dumps(content))
        write_probabilities(out.with_suffix(".npz"), noisy(truth, sum(map(ord, str(out)))))


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def options(line: Line) -> ExecutionOptions:
    return ExecutionOptions(jobs=2, threads=1, run=line)


def test_an_ablation_of_a_release_ends_in_a_table_and_a_second_call_runs_nothing(
    line: Line, release: Path, tmp_path: Path, options: ExecutionOptions, weights: Path
) -> None:
    choices, out = Choices(release=release, weights=weights, seeds=(1,)), tmp_path / "ablation"
    result = ablate(choices, out, options)
    assert [command[0] for command in line.alone] == ["curate"] * 2 + ["train"] * 9 + ["predict"] * 7
    assert len(result.rows) == 11
    content = json.loads((out / "ablation.json").read_text())
    assert content == json.loads(json.dumps(result.content))
    assert [row["name"] for row in content["rows"]][:3] == ["base", "strict", "strict-steps"]
    assert content["start"] == {"path": str(weights), "sha256": sha256_of(weights), "stand_in": False}
    assert {run["policy"] for run in content["runs"]} == {"per-task", "strict"}
    assert content["tables"]["per-task"] != content["tables"]["strict"]
    says_what_the_comparison_of_policies_stands_on(result.notes, out)

    line.together.clear()
    again = ablate(choices, out, options)
    assert line.together == []
    assert again.content == result.content

    two = ablate(replace(choices, seeds=(1, 2)), out, options)
    assert {Path(option(command, "--out")).parent.name for command in line.alone} == {"seed2"}
    assert [row.name for row in two.rows][-2:] == ["ensemble", "ensemble-tuned"]
    assert len(two.content["rows"][0]["figures"]["official"]["seeds"]) == 2
    page = (out / "ablation.md").read_text()
    assert page.count("\n| ") == 14
    assert max(len(one) for one in page.splitlines() if not one.startswith("|")) <= 120


def says_what_the_comparison_of_policies_stands_on(lines: list[str], out: Path) -> None:
    notes = "\n".join(lines)
    split = {policy: open_curated(out / policy).splits["train"] for policy in ("per-task", "strict")}
    rows = {policy: int((one.kept & (one.frames >= 0)).sum()) for policy, one in split.items()}
    assert rows["strict"] < rows["per-task"]
    assert f"per-task curation ({rows['per-task']} training rows)" in notes
    assert f"Strict curation keeps {rows['strict']} training rows" in notes
    assert "the given weights" in notes
    assert "deviation" not in notes  # of one seed there is none
    assert "no epoch was chosen by its score" in notes
    valid = [getattr(split["per-task"].annotations, f"{task}_valid") & split["per-task"].kept for task in TASKS]
    recipe = read_recipe("demo")
    steps = [str(recipe.all.epochs * -(-int(mask.sum()) // recipe.batch_size)) for mask in valid]
    assert f"the rows of its task, {', '.join(steps)} steps" in notes


def test_the_stand_in_is_trained_for_all_tasks_on_other_persons_and_leaves_its_heads_behind(
    line: Line, release: Path, tmp_path: Path, options: ExecutionOptions
) -> None:
    folder, choices = AblationFolder(tmp_path), Choices(size="tiny", settings=("all.epochs=2",))
    (tmp_path / "pretraining").mkdir()
    (tmp_path / "pretraining" / "release").symlink_to(release)  # as if it had been drawn
    prepare_stand_in_data(folder, "tiny", options)
    start = train_stand_in(folder, choices, options)
    (train,) = [command for command in line.alone if command[0] == "train"]
    assert "--tasks" not in train
    assert "--weights" not in train
    weights, whole = load_weights(start, heads_optional=True), load_weights(tmp_path / "pretraining" / "run" / LAST)
    assert not [key for key in weights.state if key.startswith(HEADS)]
    assert weights.state.keys() == {key for key in whole.state if not key.startswith(HEADS)}
    assert all(torch.equal(value, whole.state[key]) for key, value in weights.state.items())

    line.together.clear()
    before = start.stat().st_mtime_ns
    prepare_stand_in_data(folder, "tiny", options)
    assert train_stand_in(folder, choices, options) == start
    assert (line.together, start.stat().st_mtime_ns) == ([], before)
    with pytest.raises(ConfigError, match="another recipe"):
        train_stand_in(folder, replace(choices, settings=("all.epochs=3",)), options)


def test_a_release_that_is_drawn_for_the_stand_in_shows_other_persons(
    line: Line, tmp_path: Path, options: ExecutionOptions
) -> None:
    with pytest.raises(Exception, match="release"):  # nothing was drawn indeed, so it can't be curated
        prepare_stand_in_data(AblationFolder(tmp_path), "tiny", options)
    (draw,) = [command for command in line.alone if command[0] == "synth"]
    assert option(draw, "--seed") == "1"


def test_the_consistency_loss_pulls_as_strongly_as_the_diversity_loss_pushes() -> None:
    from abawkit.training.losses import consistency, diversity

    slopes = []
    for loss, weight in ((diversity, 1.0), (consistency, CONSISTENCY)):
        distance = torch.tensor(0.03, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(weight * loss(distance), distance)
        slopes.append(float(slope))
    assert np.isclose(-slopes[0], slopes[1], rtol=0.2)
