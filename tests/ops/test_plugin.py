"""A package of someone else's adds an implementation by its entry point alone: installed in earnest, and run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import command_line

PLUGIN = Path(__file__).parents[2] / "examples/plugin"

ATTEND = """
import sys
import torch
from abawkit.ops import dual_direction_attention, use
from abawkit.ops.testing import make_random_inputs
from abawkit.ops.tensors import Sizes, Statistics

def results(name, dtype, training):
    x, p, s = make_random_inputs(5, Sizes(24, 3, 5, 2, 4), dtype=dtype, gradients=True)
    embedding, gates = dual_direction_attention(x, p, s, training=training, implementation=name)
    torch.autograd.backward([embedding, *gates], [torch.ones_like(t) for t in (embedding, *gates)])
    return [embedding.detach(), *(g.detach() for g in gates), *s, x.grad, *(t.grad for t in p)]

for training in (False, True):
    exact = results("reference", torch.float64, training)
    for dtype in (torch.float32, torch.bfloat16):
        eager, mine = results("reference", dtype, training), results(None, dtype, training)
        assert all(m.dtype == dtype and m.isfinite().all() for m in mine)
        if dtype == torch.float32:  # inputs are rounded, so it is near the exact result and not equal to it
            for e, m in zip(exact, mine, strict=True):
                torch.testing.assert_close(m.double(), e, rtol=1e-5, atol=1e-5)
            assert any(not torch.equal(a, b) for a, b in zip(eager, mine, strict=True))
print("right")
"""


@pytest.fixture
def environment(plugin_environment: dict[str, str]) -> dict[str, str]:
    return plugin_environment


def run(environment: dict[str, str], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**environment, **variables}, cwd=PLUGIN, check=False
    )


def test_it_is_listed_beside_abawkits_own_and_never_chosen_by_itself(environment: dict[str, str]) -> None:
    found = json.loads(command_line("ops", "--json", packages=Path(environment["PYTHONPATH"])).stdout)
    listed = {offer["name"]: offer for offer in found["implementations"]}
    assert listed.keys() >= {"reference", "native", "example/float64"}
    mine = listed["example/float64"]
    assert (mine["package"], mine["priority"], mine["error"]) == ("abawkit-example 0.1", -1, None)
    assert all(call["runs"] for call in mine["calls"] if call["device"] == "cpu")
    assert "example/float64" not in {choice["name"] for choice in found["automatic"]}


def test_it_runs_when_the_environment_names_it_and_gives_what_the_reference_gives(environment: dict[str, str]) -> None:
    result = run(environment, "-c", ATTEND, ABAWKIT_OPS="example/float64")
    assert result.stdout == "right\n", result.stderr


@pytest.mark.e2e
def test_training_and_prediction_run_on_it_and_write_so(
    environment: dict[str, str], curated: Path, tmp_path: Path
) -> None:
    made, out = tmp_path / "run", tmp_path / "predictions.txt"
    data = ("--data", str(curated), "--ops", "example/float64")
    train = ("train", "demo", *data, "--out", str(made), "--set", "all.epochs=1", "--set", "heads.epochs=0")
    predict = ("predict", str(made), "--split", "validation", *data, "--out", str(out))
    for arguments, manifest in ((train, made / "manifest.json"), (predict, out.with_suffix(".json"))):
        command_line(*arguments, packages=Path(environment["PYTHONPATH"]))
        used = json.loads(manifest.read_text())["environment"]["ops"]
        assert used["dual_direction_attention"] == "example/float64"


def test_without_the_package_its_name_is_unknown(environment: dict[str, str]) -> None:
    result = run({**environment, "PYTHONPATH": ""}, "-c", ATTEND, ABAWKIT_OPS="example/float64")
    assert "ABAWKIT_OPS=example/float64: no installed package offers this implementation" in result.stderr
