"""Making a submission: what is made, what is not made again, and what the manifest says of it."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.curation import open_curated
from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import get_format
from abawkit.postprocessing.rule import Rule, apply_rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.probabilities.members import read_members, read_probabilities
from abawkit.scoring.score import score
from abawkit.submissions.manifest import read_manifest
from abawkit.submissions.submit import describe_due_steps
from abawkit.system.files import sha256_of
from abawkit.system.locks import lock
from tests.submissions.conftest import RECIPE, Bench, option

TRAINED = ["train runs/all-seed1", "train runs/all-seed2"]
PREDICTED = [f"predict {kind}/all-seed{seed}.txt" for kind in ("validation", "test") for seed in (1, 2)]


def test_a_new_submission_is_trained_predicted_decided_and_written(written_once: Bench) -> None:
    assert written_once.commands.outs == [*TRAINED, *PREDICTED]
    manifest = read_manifest(written_once.folder)
    assert manifest is not None
    official = written_once.folder / manifest.submission.file
    plugin = get_format("abaw7")
    assert plugin.check(official, plugin.read_list(written_once.inputs.listed)) == []
    assert manifest.submission.sha256 == sha256_of(official)
    assert written_once.said[-1].startswith("$ abawkit check ")


def test_every_step_is_said_as_the_command_that_does_it(written_once: Bench) -> None:
    commands = [line.split()[2] for line in written_once.said if line.startswith("$ abawkit ")]
    assert commands == ["train"] * 2 + ["predict"] * 4 + ["calibrate", "ensemble", "check"]


def test_the_file_is_the_rule_applied_to_the_members(written_once: Bench) -> None:
    outputs = written_once.folder / "outputs"
    members = read_members([outputs / f"test/all-seed{seed}.npz" for seed in (1, 2)])
    expected = get_format("abaw7").encode(apply_rule(read_rule(outputs / "rule.json"), members).decide())
    assert (outputs / "predictions.txt").read_bytes() == expected


@pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")
def test_the_figures_of_the_manifest_are_those_of_the_files(written_once: Bench) -> None:
    manifest = read_manifest(written_once.folder)
    assert manifest is not None
    outputs, found = written_once.folder / "outputs", manifest.validation
    truth = open_curated(written_once.inputs.data).splits["validation"].annotations
    held_out = get_format("abaw7").read(outputs / "crossfitted.txt")
    assert found.crossfitted.score == pytest.approx(score(truth, held_out).score, abs=1e-9)
    assert found.interval.value == pytest.approx(found.crossfitted.score, abs=1e-12)
    assert found.interval.low <= found.interval.value <= found.interval.high
    members = read_members([outputs / f"validation/all-seed{seed}.npz" for seed in (1, 2)])
    in_sample = apply_rule(read_rule(outputs / "rule.json"), members).decide()
    assert found.in_sample.score == pytest.approx(score(truth, in_sample).score, abs=1e-9)
    mean = apply_rule(Rule(), members).decide()
    assert found.untuned.score == pytest.approx(score(truth, mean).score, abs=1e-9)
    assert found.gain.value == pytest.approx(found.crossfitted.score - found.untuned.score, abs=1e-9)
    alone = [score(truth, member.predictions.decide()).score for member in members]
    assert [member.validation.score for member in found.members] == pytest.approx(alone, abs=1e-9)
    assert found.best_member == f"all-seed{1 + int(np.argmax(alone))}"
    assert found.difference.value == pytest.approx(found.crossfitted.score - max(alone), abs=1e-9)


def test_the_manifest_names_everything_that_it_was_made_of(written_once: Bench, curated: Path) -> None:
    manifest = read_manifest(written_once.folder)
    assert manifest is not None
    outputs = written_once.folder / "outputs"
    assert manifest.table_sha256 == open_curated(curated).digest
    assert manifest.recipe_sha256 == sha256_of(written_once.folder / "recipe.toml")
    assert manifest.rule_sha256 == sha256_of(outputs / "rule.json")
    assert [(n.name, n.seed, n.sha256) for n in manifest.networks] == [
        (f"all-seed{seed}", seed, sha256_of(outputs / f"runs/all-seed{seed}/last.safetensors")) for seed in (1, 2)
    ]
    assert manifest.list_digest == read_probabilities(outputs / "predictions.npz").digest


def test_where_nothing_is_fitted_both_figures_are_the_same(bench: Bench) -> None:
    bench.write(RECIPE.replace('calibration = ["au"]', "calibration = []"))
    validation = bench.submit().manifest.validation
    assert not validation.fitted
    assert validation.folds == 0
    assert validation.crossfitted == validation.in_sample == validation.untuned
    assert validation.gain.value == 0
    assert validation.gain.within_noise


def test_a_second_submit_does_nothing(written: Bench) -> None:
    manifest = (written.folder / "manifest.json").read_bytes()
    result = written.submit()
    assert result.done == []
    assert written.commands.calls == []
    assert all(line.endswith(": nothing to do") for line in written.said)
    assert (written.folder / "manifest.json").read_bytes() == manifest


def test_other_decisions_redo_the_decisions_alone(written: Bench) -> None:
    before = read_manifest(written.folder)
    written.write(RECIPE.replace('["au"]', '["au", "expression"]'))
    result = written.submit()
    assert written.commands.calls == []
    assert result.done == ["fit decisions", "write predictions.txt"]
    assert "fit decisions: decisions changed" in written.said
    assert before is not None
    assert result.manifest.recipe_sha256 != before.recipe_sha256


def test_another_summary_rewrites_the_manifest_alone(written: Bench) -> None:
    written.write(RECIPE.replace("two seeds", "2 seeds"))
    assert written.submit().done == []
    manifest = read_manifest(written.folder)
    assert manifest is not None
    assert manifest.summary == "2 seeds of a small network"


def test_another_seed_trains_and_predicts_that_one_alone(written: Bench) -> None:
    written.write(RECIPE.replace("[1, 2]", "[1, 2, 3]"))
    written.submit()
    assert written.commands.outs == [
        "train runs/all-seed3",
        "predict validation/all-seed3.txt",
        "predict test/all-seed3.txt",
    ]


def test_another_training_recipe_replaces_every_network(written: Bench) -> None:
    written.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nset = ["ema=0.5"]'))
    written.submit()
    assert written.commands.outs == [*TRAINED, *PREDICTED]
    assert all("--force" in call for call in written.commands.calls)
    assert "train all-seed1: recipe changed" in written.said


def test_how_often_checkpoints_are_written_is_no_other_recipe(written: Bench) -> None:
    written.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nset = ["checkpoints.every=7"]'))
    assert written.submit().done == []


def test_the_other_weights_of_a_run_are_predicted_with_and_not_trained(written: Bench) -> None:
    written.write(RECIPE.replace("seeds =", 'epoch = "best"\nseeds ='))
    result = written.submit()
    assert written.commands.outs == PREDICTED
    assert any("epoch that scored best" in note for note in result.manifest.validation.notes)


@pytest.mark.parametrize(
    ("name", "redone"),
    [
        ("runs/all-seed2/last.safetensors", [TRAINED[1]]),
        ("validation/all-seed1.npz", [PREDICTED[0]]),
        ("test/all-seed2.txt", [PREDICTED[3]]),
        ("rule.json", []),
        ("predictions.txt", []),
        ("predictions.npz", []),
    ],
)
def test_what_was_damaged_is_made_again(written: Bench, name: str, redone: list[str]) -> None:
    path = written.folder / "outputs" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    result = written.submit()
    assert written.commands.outs == redone
    assert len(result.done) >= 1
    assert any(f"{path.name} is not as it was written" in line for line in written.said)
    assert written.submit().done == []
    assert path.read_bytes() == whole


def test_what_was_removed_is_made_again(written: Bench) -> None:
    (written.folder / "outputs/predictions.txt").unlink()
    assert written.submit().done == ["write predictions.txt"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"manifest": 1'])
def test_a_damaged_manifest_is_written_again(written: Bench, content: str) -> None:
    (written.folder / "manifest.json").write_text(content)
    assert written.submit().done == []
    assert read_manifest(written.folder) is not None


@pytest.mark.parametrize("content", ["", "null", '{"made_of": 1, "outputs": {}, "notes": {}}', "[" * 100_000])
def test_a_damaged_stamp_is_no_stamp(written: Bench, content: str) -> None:
    (written.folder / "outputs/stamps/fit-decisions.json").write_text(content)
    assert written.submit().done == ["fit decisions"]


def test_figures_in_another_form_are_found_again(written: Bench) -> None:
    stamp, figures = (written.folder / "outputs" / name for name in ("stamps/fit-decisions.json", "validation.json"))
    content = json.loads(figures.read_text())
    del content["untuned"]
    before = sha256_of(figures)
    figures.write_text(json.dumps(content))
    stamp.write_text(stamp.read_text().replace(before, sha256_of(figures)))
    assert written.submit().done == ["fit decisions"]


def test_frames_that_changed_are_predicted_again(written: Bench, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(str(written.inputs.frames), frames, copy_function=shutil.copy2)
    moved = replace(written, inputs=replace(written.inputs, frames=frames))
    assert moved.submit().done == []
    changed = next(frames.glob("*/*.jpg"))
    os.utime(changed, (1, 1))
    moved.submit()
    assert moved.commands.outs == PREDICTED[2:]
    assert "predict test all-seed1: frames changed" in moved.said


def test_an_interrupted_training_goes_on_with_the_threads_that_it_had(bench: Bench) -> None:
    interrupted(bench, "late", threads=3)
    bench.submit(threads=None)
    first = bench.commands.calls[0]
    assert "--resume" in first
    assert option(first, "--threads") == "3"
    assert "--allow-drift" not in first
    assert "train all-seed1: was interrupted" in bench.said


def test_a_training_that_was_interrupted_twice_goes_on(bench: Bench) -> None:
    interrupted(bench, "late")
    interrupted(bench, "train")
    bench.submit()
    assert "--resume" in bench.commands.calls[0]


def test_an_interrupted_training_of_another_recipe_begins_anew(bench: Bench) -> None:
    interrupted(bench, "late")
    bench.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nset = ["ema=0.5"]'))
    bench.submit()
    assert "--resume" not in bench.commands.calls[0]
    assert "--force" in bench.commands.calls[0]


def test_a_training_that_was_interrupted_before_it_replaced_another_still_replaces_it(written: Bench) -> None:
    written.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nset = ["ema=0.5"]'))
    interrupted(written, "train")
    written.submit()
    assert "--resume" not in written.commands.calls[0]
    assert "--force" in written.commands.calls[0]
    assert written.submit().done == []


def test_drift_is_allowed_by_name(bench: Bench) -> None:
    interrupted(bench, "late")
    bench.submit(allow_drift=True)
    assert "--allow-drift" in bench.commands.calls[0]


def test_an_interrupted_prediction_is_done_again(bench: Bench) -> None:
    interrupted(bench, "predict")
    assert not (bench.folder / "manifest.json").exists()
    bench.submit()
    assert bench.commands.outs == PREDICTED


def test_networks_run_at_the_same_time_in_waves(bench: Bench) -> None:
    bench.write(RECIPE.replace("[1, 2]", "[1, 2, 3]"))
    bench.submit(jobs=2)
    assert bench.commands.waves == [2, 1, 2, 2, 2]


def test_single_task_networks_are_predicted_together(bench: Bench) -> None:
    parts = "\n".join(
        f'[[networks]]\nname = "{task}"\nrecipe = "demo"\ntasks = ["{task}"]' for task in ("va", "expression", "au")
    )
    bench.write(f'summary = "single"\nseeds = [1]\n{parts}\n[decisions]\n')
    result = bench.submit()
    assert bench.commands.outs == [
        *(f"train runs/{task}-seed1" for task in ("va", "expression", "au")),
        "predict validation/va+expression+au-seed1.txt",
        "predict test/va+expression+au-seed1.txt",
    ]
    predicted = bench.commands.calls[3]
    assert sum(part.endswith("last.safetensors") for part in predicted) == 3
    assert [call[call.index("--tasks") + 1] for call in bench.commands.calls[:3]] == ["va", "expression", "au"]
    assert result.manifest.validation.best_member == "va+expression+au-seed1"
    assert len(result.manifest.networks) == 3


@pytest.mark.parametrize("name", ["abaw5-expr", "abaw7-ce"])
def test_a_format_of_one_task_is_judged_by_that_task(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.write(RECIPE.replace("seeds =", f'format = "{name}"\nseeds ='))
    with pytest.raises(DataError, match="this is a list of abaw11 or abaw4 or abaw7"):
        bench.submit()
    bench = with_list_of_any_track(bench, tmp_path)
    result = bench.submit()
    validation = result.manifest.validation
    assert validation.tasks == ["expression"]
    assert validation.crossfitted.score == validation.crossfitted.expression_f1 > 0
    assert validation.crossfitted.au_f1 == 0
    assert result.official.read_text().startswith("image_location")
    assert bench.submit().done == []


def test_a_format_of_several_files_becomes_a_folder(bench: Bench, tmp_path: Path) -> None:
    bench.write(RECIPE.replace("seeds =", 'format = "abaw3-va"\nseeds ='))
    bench = with_list_of_any_track(bench, tmp_path)
    result = bench.submit()
    assert result.official.is_dir()
    assert bench.submit().done == []


def with_list_of_any_track(bench: Bench, folder: Path) -> Bench:
    """The same submission with a list whose header does not name the answers of the multi-task track."""
    listed = folder / "list.txt"
    rows = bench.inputs.listed.read_text().splitlines()[1:]
    listed.write_text("\n".join(["image_location", *rows, ""]))
    return replace(bench, inputs=replace(bench.inputs, listed=listed))


def test_weights_go_where_the_recipe_says_so(bench: Bench, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    with_weights = replace(bench, inputs=replace(bench.inputs, weights=weights))
    with pytest.raises(ConfigError, match="leave --weights out"):
        with_weights.submit()
    bench.write(RECIPE.replace("seeds =", 'weights = "published"\nseeds ='))
    with pytest.raises(ConfigError, match="give the file with --weights"):
        bench.submit()
    result = with_weights.submit()
    assert option(with_weights.commands.calls[0], "--weights") == str(weights)
    assert result.manifest.weights_sha256 == sha256_of(weights)
    weights.write_bytes(b"others")
    with_weights.submit()
    assert with_weights.commands.outs == [*TRAINED, *PREDICTED]


def test_a_set_of_another_policy_is_refused_with_the_command_that_makes_it(bench: Bench) -> None:
    bench.write(RECIPE.replace("seeds =", 'policy = "strict"\nseeds ='))
    with pytest.raises(DataError, match="--policy strict"):
        bench.submit()
    assert not (bench.folder / "outputs").exists()


def test_frames_that_are_not_there_are_refused_before_training(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        replace(bench, inputs=replace(bench.inputs, frames=tmp_path / "nowhere")).submit()
    assert bench.commands.calls == []


def test_two_at_work_on_one_submission_are_one_too_many(bench: Bench) -> None:
    (bench.folder / "outputs").mkdir()
    with lock(bench.folder / "outputs"), pytest.raises(ConfigError, match="is writing here"):
        bench.submit()


def test_the_lock_is_gone_afterwards(written: Bench) -> None:
    written.submit()
    assert not (written.folder / "outputs/lock").exists()


def test_the_outlook_says_what_is_due_and_writes_nothing(bench: Bench) -> None:
    steps = describe_due_steps(bench.folder, bench.inputs)
    assert [name for name, _ in steps[:2]] == ["train all-seed1", "train all-seed2"]
    assert steps[0][1] == "not made yet"
    assert steps[-1] == ("predict test all-seed2", "its networks come first")
    assert [path.name for path in bench.folder.iterdir()] == ["recipe.toml"]


def test_the_outlook_of_what_is_there_is_empty(written: Bench) -> None:
    assert [reason for _, reason in describe_due_steps(written.folder, written.inputs)] == [""] * 6


def interrupted(bench: Bench, *where: str, **means: Any) -> None:
    bench.commands.interrupt = where
    with pytest.raises(KeyboardInterrupt):
        bench.submit(**means)
    bench.commands.interrupt = ()


def test_nothing_that_is_kept_names_a_place_outside(written_once: Bench) -> None:
    content = json.loads((written_once.folder / "manifest.json").read_text())
    assert str(written_once.root) not in json.dumps(content)
