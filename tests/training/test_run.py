"""Runs from end to end: reproducible, kept with their true score, ended when losses are not finite."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.models.devices import Download
from abawkit.models.network import DDAMFN
from abawkit.models.weights import Weights, digest_state, load_weights, save_weights
from abawkit.scoring.score import Score
from abawkit.system.files import sha256_of
from abawkit.training.data import read_evaluation_rows
from abawkit.training.dry_run import dry_run
from abawkit.training.recipe import Recipe, Stage, read_recipe
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs
from abawkit.training.step import StepLosses
from abawkit.training.validation import evaluate

Make = Callable[..., Recipe]
NOTHING = Stage(epochs=0)


def weights_of(run: Trained, name: str = "best") -> Weights:
    return load_weights(run.out / f"{name}.safetensors")


def manifest_of(run: Trained) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.out / "manifest.json").read_text())
    return content


def lines_of(run: Trained) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]


def test_the_same_recipe_gives_the_same_weights(full_run: Trained, recipe: Make, curated: Path, tmp_path: Path) -> None:
    again = train(recipe(ema=0.9), Inputs(curated), tmp_path)
    for name in ("best", "last"):
        assert digest_state(weights_of(again, name).state) == digest_state(weights_of(full_run, name).state)
    assert again.best_score == full_run.best_score


def test_weights_that_a_recipe_asks_for_are_missing_before_anything_is_written(
    recipe: Make, curated: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="give the file with --weights"):
        train(recipe(weights="published"), Inputs(curated), tmp_path)
    with pytest.raises(ConfigError, match="give the file with --weights"):
        dry_run(recipe(weights="published"), Inputs(curated))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_more_rows_than_there_are_is_a_warning(recipe: Make, curated: Path) -> None:
    with pytest.warns(DataWarning, match=r"batch_size is 5,000, and there are 179 training rows: an epoch is one step"):
        dry_run(recipe(batch_size=5000), Inputs(curated))


def test_another_seed_gives_other_weights(heads_run: Trained, recipe: Make, curated: Path, tmp_path: Path) -> None:
    other = train(recipe(all=NOTHING, seed=1), Inputs(curated), tmp_path)
    assert digest_state(weights_of(other).state) != digest_state(weights_of(heads_run).state)


def test_the_heads_stage_changes_nothing_but_the_heads(
    heads_run: Trained, recipe: Make, curated: Path, tmp_path: Path
) -> None:
    start, again = weights_of(heads_run), train(
        recipe(all=NOTHING, seed=9), Inputs(curated, heads_run.out / "last.safetensors"), tmp_path)  # fmt: skip
    end = weights_of(again).state
    changed = {name for name, value in start.state.items() if not torch.equal(value, end[name])}
    assert changed == {f"heads.{task}.{kind}" for task in ("va", "expression", "au") for kind in ("weight", "bias")}


def test_the_second_stage_changes_everything(heads_run: Trained, full_run: Trained) -> None:
    start, end = weights_of(heads_run).state, weights_of(full_run, "last").state
    # the bias before a batch norm has no gradient, and its Adam step is rounding: it may stay
    same = {name for name, value in start.items() if torch.equal(value, end[name])}
    assert {name for name in same if not name.endswith(".bias")} == set()


@pytest.mark.parametrize("run", ["heads_run", "full_run"])
def test_the_best_weights_have_the_score_that_is_written_beside_them(
    run: str, curated: Path, request: pytest.FixtureRequest
) -> None:
    trained: Trained = request.getfixturevalue(run)
    kept = weights_of(trained)
    network = DDAMFN(kept.config)
    network.load_state_dict(kept.state)
    scores = evaluate(network, read_evaluation_rows(open_curated(curated), "validation"), torch.device("cpu"))
    best, line = manifest_of(trained)["best"], lines_of(trained)[trained.best_epoch - 1]
    for protocol, result in scores.items():
        assert result.score == pytest.approx(best[protocol]["score"], abs=1e-6)
        assert result.score == pytest.approx(line[protocol]["score"], abs=1e-6)
    assert float(kept.metadata["figure"]) == pytest.approx(scores["official"].score, abs=1e-6)
    assert int(kept.metadata["epoch"]) == trained.best_epoch == best["epoch"]


@pytest.mark.parametrize(
    ("changes", "epoch", "total"),
    [
        ({}, 2, 0.9),
        ({"select": "strict"}, 3, 1.2),
        ({"tasks": ("va",)}, 1, 0.5),
        ({"tasks": ("expression", "au")}, 3, 0.7),
    ],
)
def test_the_best_epoch_is_that_of_the_recipes_protocol_and_of_the_sum_of_its_tasks(
    recipe: Make,
    curated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    epoch: int,
    total: float,
) -> None:
    official = iter([(0.5, 0.1, 0.1), (0.3, 0.3, 0.3), (0.1, 0.1, 0.6), (0.3, 0.3, 0.3)])
    strict = iter([(0.3, 0.3, 0.3), (0.1, 0.1, 0.1), (0.4, 0.4, 0.4), (0.0, 0.0, 0.0)])

    def scripted(*_: object, **__: object) -> dict[str, Score]:
        parts = {"official": next(official), "strict": next(strict)}
        empty = Score("official", 1, 0, 0, 0, 0, 0, 0, [0.0] * 8, [0.0] * 12)
        return {name: replace(empty, ccc_va=v, expression_f1=e, au_f1=a, score=v + e + a)
                for name, (v, e, a) in parts.items()}  # fmt: skip

    monkeypatch.setattr("abawkit.training.loop.evaluate", scripted)
    losses = StepLosses(("total",), Download(torch.ones(1)))
    monkeypatch.setattr("abawkit.training.step.TrainingStep.__call__", lambda *_, **__: losses)
    trained = train(recipe(heads=NOTHING, all=Stage(epochs=4), **changes), Inputs(curated), tmp_path)
    assert trained.best_epoch == epoch
    assert trained.best_score == pytest.approx(total)
    assert manifest_of(trained)["best"]["figure"] == pytest.approx(total)


def test_a_run_writes_a_line_an_epoch(full_run: Trained) -> None:
    first, second = lines_of(full_run)
    assert [(line["epoch"], line["stage"]) for line in (first, second)] == [(1, "heads"), (2, "all")]
    assert set(first["losses"]) == {"total", "va", "expression", "au"}
    assert set(second["losses"]) == {*first["losses"], "attention"}
    for line in (first, second):
        parts = line["official"]
        assert parts["score"] == pytest.approx(parts["ccc_va"] + parts["expression_f1"] + parts["au_f1"])
        assert line["figure"] == parts["score"]
    assert full_run.best_score == max(first["figure"], second["figure"])


def test_a_run_folder_says_what_it_was_made_of(full_run: Trained, recipe: Make, curated: Path) -> None:
    manifest = manifest_of(full_run)
    assert read_recipe(str(full_run.out / "recipe.toml")) == recipe(ema=0.9)
    assert manifest["data"]["table_digest"] == open_curated(curated).digest
    assert manifest["environment"]["torch"] == torch.__version__
    assert manifest["rows"]["validation"] == 50
    for name in ("best", "last"):
        digest = manifest["checkpoints"][f"{name}.safetensors"]
        assert digest == digest_state(weights_of(full_run, name).state)


def test_a_single_task_run_keeps_the_other_heads_and_names_its_task(
    heads_run: Trained, recipe: Make, curated: Path, tmp_path: Path
) -> None:
    start = heads_run.out / "last.safetensors"
    trained = train(recipe(all=NOTHING, tasks=("va",), seed=3), Inputs(curated, start), tmp_path)
    before, after = load_weights(start).state, weights_of(trained)
    changed = {name for name, value in before.items() if not torch.equal(value, after.state[name])}
    assert changed == {"heads.va.weight", "heads.va.bias"}
    assert after.metadata["tasks"] == "va"
    assert set(lines_of(trained)[0]["losses"]) == {"total", "va"}
    assert trained.best_score == pytest.approx(trained.scores["official"].ccc_va)
    assert manifest_of(trained)["rows"]["train"] == open_curated(curated).splits["train"].annotations.va_valid.sum()
    assert manifest_of(trained)["weights"]["sha256"] == sha256_of(start)


def test_a_run_starts_from_weights_without_heads(
    heads_run: Trained, recipe: Make, curated: Path, tmp_path: Path
) -> None:
    kept = weights_of(heads_run)
    backbone = {name: value for name, value in kept.state.items() if not name.startswith("heads.")}
    backbone["stem.0.norm.bias"] = backbone["stem.0.norm.bias"] + 0.25
    save_weights(tmp_path / "backbone.safetensors", kept.config, backbone)
    (tmp_path / "run").mkdir()
    trained = train(recipe(all=NOTHING), Inputs(curated, tmp_path / "backbone.safetensors"), tmp_path / "run")
    state = weights_of(trained).state
    assert all(torch.equal(state[name], value) for name, value in backbone.items())


def test_weights_of_another_network_are_refused(
    heads_run: Trained, recipe: Make, curated: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"last\.safetensors: these are not weights of this network"):
        train(recipe(network="ddamfn"), Inputs(curated, heads_run.out / "last.safetensors"), tmp_path)


def test_losses_that_stay_bad_end_a_run_naming_frames_however_short_its_epochs(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def bad(*_: object, **__: object) -> StepLosses:
        seen.append(1)
        return StepLosses(("total",), Download(torch.tensor([torch.nan])))

    monkeypatch.setattr("abawkit.training.step.TrainingStep.__call__", bad)
    with pytest.raises(DataError, match=r"not finite in 3 steps in a row, the last with \S+/\d+\.jpg"):
        train(recipe(batch_size=64, heads=Stage(epochs=5)), Inputs(curated), tmp_path)  # three steps an epoch
    assert len(seen) == 3


@pytest.mark.parametrize("batch_size", [16, 64], ids=["many-steps", "few-steps"])
def test_a_learning_rate_that_breaks_the_network_ends_the_run_naming_frames(
    recipe: Make, curated: Path, tmp_path: Path, batch_size: int
) -> None:
    broken = recipe(batch_size=batch_size, heads=NOTHING, all=Stage(epochs=1, learning_rate=1e30))
    with pytest.raises(DataError, match=r"not finite .*/\d+\.jpg"):
        train(broken, Inputs(curated), tmp_path)
