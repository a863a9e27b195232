"""Run folders: how far a run is, what it was made of, and what no longer is what it wrote."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.curation.curated_set import open_curated
from abawkit.inspection import Inspection, inspect
from abawkit.models.weights import digest_state, load_weights
from abawkit.system.locks import lock
from abawkit.training.recipe import read_recipe
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume

Edit = Callable[[Path, str, Any], None]
Flip = Callable[[Path], None]


def only_problem(found: Inspection) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def test_a_finished_run_says_what_it_was_made_of(trained: Trained, curated: Path) -> None:
    found = inspect(trained.out)
    assert (found.kind, found.problems) == ("run", [])
    assert found.facts["state"] == "finished"
    assert found.facts["recipe"]["like"] == "demo"
    assert found.facts["recipe"]["changed"] == {
        "seed": 3, "device": "cpu", "all.epochs": 1, "checkpoints.every": 1
    }  # fmt: skip
    assert found.facts["recipe"]["tasks"] == ["va", "expression", "au"]
    assert found.facts["data"] == {"policy": "per-task", "folder": str(curated), "table": "unchanged"}
    assert found.digests["data table"] == open_curated(curated).digest
    assert found.facts["environment"]["ops"].keys() == {"dual_direction_attention", "mixed_block", "norm_prelu", "stem"}
    assert {"torch", "git", "threads"} <= found.facts["environment"].keys()


def test_a_finished_run_says_how_well_it_did(trained: Trained) -> None:
    facts = inspect(trained.out).facts
    assert facts["epochs_done"] == 1
    assert facts["best"]["epoch"] == trained.best_epoch
    assert facts["best"]["figure"] == trained.best_score
    assert facts["best"]["strict"]["score"] == trained.scores["strict"].score
    assert facts["next"].startswith(f"abawkit predict {trained.out} ")


def test_a_record_that_was_saved_with_a_byte_order_mark_says_the_same(run: Path) -> None:
    before = inspect(run)
    for name in ("recipe.toml", "manifest.json"):
        (run / name).write_bytes(b"\xef\xbb\xbf" + (run / name).read_bytes())
    found = inspect(run)
    assert found.facts == before.facts
    assert found.problems == before.problems


def test_the_digests_of_weights_are_computed_and_not_copied(run: Path, trained: Trained, edit: Edit) -> None:
    digest = digest_state(load_weights(trained.out / "best.safetensors").state)
    edit(run / "manifest.json", "checkpoints", {"best.safetensors": "0" * 64, "last.safetensors": "1" * 64})
    found = inspect(run)
    assert found.digests["weights of best.safetensors"] == digest
    assert [name in problem for name, problem in zip(("best", "last"), found.problems, strict=True)] == [True, True]
    assert found.facts["weights"]["best.safetensors"]["state"] == "changed"


def test_an_interrupted_run_says_how_to_go_on(interrupted: Path) -> None:
    found = inspect(interrupted)
    assert (found.facts["state"], found.problems) == ("unfinished", [])
    assert (found.facts["steps"], found.facts["epochs_done"]) == (2, 0)
    assert list(found.facts["checkpoints"].values()) == ["whole", "whole"]
    assert found.facts["next"] == f"abawkit train --resume --out {interrupted}"
    assert "best" not in found.facts


def test_a_run_that_was_resumed_says_so(interrupted: Path, curated: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(interrupted, tmp_path / "resumed"))
    recipe = read_recipe("demo", ["all.epochs=1", "checkpoints.every=2", "seed=3", "device=cpu"])
    train(recipe, Inputs(curated), out, resume=Resume())
    found = inspect(out)
    assert (found.facts["state"], found.problems) == ("finished", [])
    assert found.facts["resumed_from"] == [{"from": "0000-000002", "drift": []}]


def test_drift_is_shown(run: Path, edit: Edit) -> None:
    drift = ["  threads: was 1, is 2"]
    edit(run / "manifest.json", "resumed", [{"from": "0000-000001", "drift": drift}])
    found = inspect(run)
    assert (found.facts["resumed"], found.facts["resumed_from"][0]["drift"]) == (1, drift)


def test_a_run_that_is_being_written_is_left_alone(interrupted: Path) -> None:
    with lock(interrupted):
        found = inspect(interrupted)
        assert (interrupted / "lock").exists()
    assert found.facts["state"] == "being written"
    assert found.facts["written_by"].startswith("process ")
    assert "next" not in found.facts


def test_the_lock_of_a_killed_run_stops_nobody(run: Path) -> None:
    (run / "manifest.json").unlink()
    (run / "lock").write_text("process 12 on elsewhere\n")
    found = inspect(run)
    assert (found.facts["state"], found.facts["killed_process"]) == ("unfinished", "process 12 on elsewhere")
    assert found.facts["next"].startswith("abawkit train --resume")


def test_each_checkpoint_is_looked_at(run: Path, flip: Flip) -> None:
    newest, older = sorted((run / "checkpoints").iterdir(), reverse=True)
    flip(older / "state.pt")
    found = inspect(run)
    assert found.facts["checkpoints"] == {newest.name: "whole", older.name: "damaged"}
    assert str(older / "state.pt") in only_problem(found)


def test_a_run_without_a_whole_checkpoint_can_only_begin_anew(interrupted: Path, tmp_path: Path, flip: Flip) -> None:
    out = Path(shutil.copytree(interrupted, tmp_path / "run"))
    for folder in (out / "checkpoints").iterdir():
        flip(folder / "network.safetensors")
    found = inspect(out)
    assert len(found.problems) == 2
    assert found.facts["next"].endswith("--force")


def test_another_recipe_than_the_checkpoints_were_made_with_is_a_problem(run: Path) -> None:
    path = run / "recipe.toml"
    path.write_text(path.read_text().replace("seed = 3", "seed = 4"))
    assert str(path) in only_problem(inspect(run))


def test_how_often_a_run_saves_may_change(run: Path) -> None:
    path = run / "recipe.toml"
    path.write_text(path.read_text().replace("every = 1", "every = 7"))
    assert inspect(run).problems == []


@pytest.mark.parametrize("text", ["", "{}\n", "[[[\n", '{"epoch": 0}\n', "\x1b[31m\n"])
def test_metrics_that_are_not_those_of_the_run_are_a_problem(run: Path, text: str) -> None:
    (run / "metrics.jsonl").write_text(text)
    assert all(str(run / "metrics.jsonl") in problem for problem in inspect(run).problems)
    assert inspect(run).problems


def test_data_that_has_moved_is_no_problem_and_data_that_has_changed_is(run: Path, curated: Path, edit: Edit) -> None:
    edit(run / "manifest.json", "data.folder", str(run / "moved"))
    found = inspect(run)
    assert (found.facts["data"]["table"], found.problems) == ("gone", [])
    (run / "moved").mkdir()
    (run / "moved/table.parquet").write_bytes(b"another")
    found = inspect(run)
    assert found.facts["data"]["table"] == "changed"
    assert "moved/table.parquet" in only_problem(found)


def test_weights_that_a_run_began_with_are_compared(run: Path, edit: Edit) -> None:
    start = run.parent / "start.safetensors"
    start.write_bytes(b"then")
    edit(run / "manifest.json", "weights", {"path": str(start), "sha256": "0" * 64})
    found = inspect(run)
    assert found.facts["began_with"] == {"path": str(start), "state": "changed"}
    assert str(start) in only_problem(found)


WRONG: tuple[Any, ...] = ("x", [3], {"a": [[]]}, True, 1.5, None)
FIELDS = {"data": dict, "data.folder": str, "environment": dict, "best.epoch": int, "steps": int, "checkpoints": dict}


@pytest.mark.parametrize(
    ("name", "value"), [(name, v) for name, kind in FIELDS.items() for v in WRONG if type(v) is not kind]
)
def test_a_wrong_type_in_a_manifest_is_a_problem_and_no_crash(run: Path, edit: Edit, name: str, value: Any) -> None:
    edit(run / "manifest.json", name, value)
    found = inspect(run)
    assert found.problems
    assert all(f"manifest.json: {name}" in problem for problem in found.problems)
    assert found.facts["state"] == "finished"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": NaN}', "[" * 100_000, "\udcff"])
def test_a_manifest_that_is_no_json_object_is_named(run: Path, text: str) -> None:
    (run / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    assert str(run / "manifest.json") in only_problem(inspect(run))


def test_weights_that_are_gone_are_a_problem(run: Path) -> None:
    (run / "best.safetensors").unlink()
    assert only_problem(inspect(run)) == f"{run / 'best.safetensors'}: is absent"


def test_a_run_is_only_read(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    inspect(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
