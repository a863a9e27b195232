"""`abawkit ops`, `abawkit ops bench`, and `--ops` where work is done."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from typer.testing import CliRunner, Result

from abawkit.cli._command import command
from abawkit.cli.app import app
from abawkit.errors import OpWarning
from abawkit.ops import registry
from abawkit.ops.base import Call
from abawkit.ops.operators import ATTENTION, OPERATORS
from abawkit.ops.reference import Reference

Run = Callable[..., subprocess.CompletedProcess[str]]


def shown(width: int, *arguments: str, **variables: str) -> Result:
    """Runs the command in this process: importing torch anew takes seconds."""
    return CliRunner().invoke(app, ["ops", *arguments], env={"COLUMNS": str(width), "ABAWKIT_OPS": None, **variables})


@pytest.mark.parametrize("width", [60, 80])
def test_the_listing_fits_a_narrow_terminal(width: int) -> None:
    result = shown(width)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == "Dual-direction attention, 512 x 7 x 7, 2 heads"
    row = next(line for line in lines if line.startswith("reference   "))
    assert row.split() == ["reference", "cpu", "all", "all"]
    assert any(line.startswith("native   ") for line in lines)
    assert any(line.startswith("reference: plain PyTorch, the definition (abawkit ") for line in lines)
    assert any(line.startswith("chosen on cpu: ") for line in lines)
    assert result.stderr == ""


def test_an_operator_without_training_has_no_calls_there() -> None:
    lines = shown(120).stdout.split("Stem, ")[1].splitlines()
    (row,) = [line.split() for line in lines if line.startswith("reference   ")]
    assert row == ["reference", "cpu", "all", "-"]


class _Picky(Reference):
    name: ClassVar[str] = "vendor/picky"
    summary: ClassVar[str] = "float32 alone"
    priority: ClassVar[int] = 900

    def reasons(self, call: Call) -> list[str]:
        wrong = ["it knows float32 alone"] if call.dtype != torch.float32 else []
        return [*wrong, *(["it has no backward"] if call.training and not wrong else [])]


def test_the_listing_says_why_not_and_what_is_chosen_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [registry.Offer("vendor/picky", "p 1", _Picky.summary, 900, _Picky())]
    offers += [registry.Offer("reference", "abawkit 1", "plain", 0, Reference())]
    offers += [registry.Offer("vendor/x", "x 1", error="no y")]
    monkeypatch.setattr(registry, "_load_offers", lambda operator: offers if operator is ATTENTION else ())
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("abawkit.ops.availability.read_native_facts", lambda: {"compiler": "gcc 12", "cuda_ptx": ""})
    assert [line.rstrip() for line in shown(120).stdout.splitlines()[3:]] == [
        "vendor/picky   cpu      float32      no",
        "reference      cpu      all          all",
        "vendor/x       cpu      no           no",
        "",
        "vendor/picky: float32 alone (p 1)",
        "  does not serve bfloat16, float16, float64 on cpu: it knows float32 alone",
        "  does not serve training of float32 on cpu: it has no backward",
        "reference: plain (abawkit 1)",
        "vendor/x: not usable (x 1)",
        "  does not serve anything: no y",
        "native build, compiler: gcc 12",
        "",
        "chosen on cpu: vendor/picky for evaluation of float32; reference for bfloat16, float16, float64, training of "
        "float32",
        "",
        "Mixed block, 128 to 256 to 128 channels, kernels 3 5, residual",
        "   device   evaluation   training",
        "─" * 33,
        "",
        "",
        "chosen on cpu: nothing",
        "",
        "Batch norm and PReLU, 64 channels",
        "   device   evaluation   training",
        "─" * 33,
        "",
        "",
        "chosen on cpu: nothing",
        "",
        "Stem, 3 to 64 channels, kernels 3 3, stride 2",
        "   device   evaluation   training",
        "─" * 33,
        "",
        "",
        "chosen on cpu: nothing",
    ]


def test_the_listing_as_json_has_every_call_with_its_reasons() -> None:
    found = json.loads(shown(80, "--json").stdout)
    assert found.keys() == {"operator", "sizes", "wished", "implementations", "automatic", "native", "other_operators"}
    assert found["operator"] == "dual_direction_attention"
    reference = next(one for one in found["implementations"] if one["name"] == "reference")
    calls = [call for call in reference["calls"] if call["device"] == "cpu"]
    assert [(c["mode"], c["dtype"]) for c in calls] == [
        (mode, dtype) for mode in ("evaluation", "training") for dtype in ("float32", "bfloat16", "float16", "float64")
    ]
    assert all(call["runs"] and call["reasons"] == [] for call in calls)
    assert {choice["name"] for choice in found["automatic"]} <= {"reference", "native"}
    assert [other["operator"] for other in found["other_operators"]] == list(OPERATORS)[1:]


def test_the_listing_says_what_the_environment_asks_for() -> None:
    assert "requested by ABAWKIT_OPS=nope; without it:" in shown(80, ABAWKIT_OPS="nope").stdout
    assert json.loads(shown(80, "--json", ABAWKIT_OPS="reference").stdout)["wished"] == "reference"
    assert json.loads(shown(80, "--json", ABAWKIT_OPS="").stdout)["wished"] is None


def test_the_bench_measures_evaluation_and_training_without_a_compiler() -> None:
    result = shown(80, "bench", "--images", "2", "--rounds", "1", "--no-compile", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    for title in ("evaluation", "training forward", "training forward and backward"):
        assert title in result.stdout.splitlines()
    assert "x compile" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_bench_as_json_holds_times_and_ratios() -> None:
    arguments = ("--images", "2", "--images", "3", "--mode", "evaluation", "--rounds", "1", "--no-compile", "--json")
    found = json.loads(shown(80, "bench", *arguments, "--threads", "1", "--dtype", "float64").stdout)
    assert (found["dtype"], found["device"], found["threads"], found["rounds"]) == ("float64", "cpu", 1, 1)
    assert [(row["work"], row["images"]) for row in found["measured"]] == [("evaluation", 2), ("evaluation", 3)]
    assert all(row["milliseconds"]["reference"] > 0 < row["stream"] for row in found["measured"])


def test_the_bench_has_help_with_an_example(run: Run) -> None:
    assert "Example: abawkit ops bench" in " ".join(run("ops", "bench", "--help").stdout.split())


@pytest.mark.parametrize("asked", ["option", "environment"])
def test_an_unknown_implementation_ends_training_at_once(
    run: Run, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    option = ("--ops", "nope") if asked == "option" else ()
    if asked == "environment":
        monkeypatch.setenv("ABAWKIT_OPS", "nope")
    result = run("train", "demo", "--data", curated, "--out", tmp_path / "run", *option, code=4)
    said = "--ops nope" if asked == "option" else "ABAWKIT_OPS=nope"
    assert result.stderr.startswith(f"error: {said}: no installed package offers this implementation")
    assert not (tmp_path / "run").exists()


@pytest.mark.e2e
def test_an_unknown_implementation_ends_prediction_at_once(
    run: Run, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    result = run("predict", runs[0], *test_list, "--out", tmp_path / "p.txt", "--ops", "nope", "--json", code=4)
    assert json.loads(result.stdout)["exit_code"] == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_manifests_say_which_implementation_ran(
    run: Run, curated: Path, runs: list[Path], test_list: list[str], tmp_path: Path
) -> None:
    chosen = {choice["name"] for choice in json.loads(run("ops", "--json").stdout)["automatic"]}
    trained = json.loads((runs[0] / "manifest.json").read_text())
    assert trained["environment"]["ops"]["dual_direction_attention"] in chosen
    out = tmp_path / "p.txt"
    run("predict", runs[0], *test_list, "--out", out, "--ops", "reference")
    predicted = json.loads(out.with_suffix(".json").read_text())
    assert set(predicted["environment"]["ops"].values()) == {"reference"}


def test_an_operator_warning_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def warn() -> None:
        warnings.warn("it runs on reference", OpWarning, stacklevel=1)

    warn()
    assert capsys.readouterr().err == "warning: it runs on reference\n"


def test_the_environment_can_ask_for_a_lesser_instruction_set() -> None:
    command = [sys.executable, "-m", "abawkit", "ops", "--json"]
    environment = {**os.environ, "ABAWKIT_CPU": "baseline"}
    shown = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    facts = shown["native"]
    assert facts["instruction_set_here"] == "baseline"
    assert "baseline" in facts["instruction_sets"].split()
