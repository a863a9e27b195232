"""Commands on ``cuda``: ops and doctor, training, exact resume, prediction; numbers are compared with the CPU's."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

Run = Callable[..., subprocess.CompletedProcess[str]]

HEADS = ["--set", "network=ddamfn-nano", "--set", "batch_size=16", "--set", "heads.epochs=1"]
RECIPE = [*HEADS, "--set", "all.epochs=2", "--set", "checkpoints.every=2"]
FLOAT32 = [*RECIPE, "--set", "precision=float32"]


def train(abawkit: Run, curated: Path, out: Path, *options: str) -> Path:
    abawkit("train", "demo", "--data", curated, "--out", out, *options)
    return out


@pytest.fixture(scope="module")
def runs(abawkit: Run, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run on the CPU, by torch's operators, and on the device."""
    folder = tmp_path_factory.mktemp("runs")
    given = {"cpu": ("--ops", "reference"), "cuda": ()}
    return {
        device: train(abawkit, curated, folder / device, *FLOAT32, "--set", f"device={device}", *ops)
        for device, ops in given.items()
    }


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line)["losses"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_native_passes_its_self_check_and_serves_the_run(runs: dict[str, Path]) -> None:
    manifest = json.loads((runs["cuda"] / "manifest.json").read_text())
    assert manifest["environment"]["ops"]["dual_direction_attention"] == "native"


def test_a_gpu_without_code_for_it_falls_back_and_says_why(abawkit: Run, curated: Path, tmp_path: Path) -> None:
    """What a binary of another architecture, or an old driver, would do: the probe fails."""
    broken = {"STANDIN_KERNEL_ERROR": "209"}
    said = abawkit("ops", **broken).stdout
    assert "chosen on cuda:0: reference" in said
    assert "no kernel image is available" in said
    one = [*HEADS, "--set", "all.epochs=0"]
    result = abawkit("train", "demo", "--data", curated, "--out", tmp_path / "run", *one, **broken)
    assert result.stderr.count("no kernel image is available") == 1
    refused = abawkit(
        "train", "demo", "--data", curated, "--out", tmp_path / "named", *RECIPE, "--ops", "native", code=4, **broken
    )
    assert "no kernel image is available" in refused.stderr


def test_training_gives_the_losses_of_the_cpu(runs: dict[str, Path]) -> None:
    expected, found = losses(runs["cpu"]), losses(runs["cuda"])
    assert len(found) == 3
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=2e-4)


def test_training_in_float64_gives_those_of_native_operators_on_the_cpu(
    abawkit: Run, curated: Path, tmp_path: Path
) -> None:
    """In float32 the steps of Adam make rounding of gradients near zero into differences of the weights."""
    exact = [*RECIPE, "--set", "precision=float64"]
    expected, found = (
        losses(train(abawkit, curated, tmp_path / device, *exact, "--set", f"device={device}"))
        for device in ("cpu", "cuda")
    )
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-7)


def test_training_is_the_same_twice(abawkit: Run, curated: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    again = train(abawkit, curated, tmp_path / "again", *FLOAT32, "--set", "device=cuda")
    for name in ("best.safetensors", "last.safetensors"):
        assert_same_weights(again / name, runs["cuda"] / name)


def assert_same_weights(one: Path, other: Path) -> None:
    found, expected = load_file(one), load_file(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_run_that_was_stopped_is_resumed_bit_for_bit(
    curated: Path, abawkit: Run, runs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    command = [sys.executable, str(Path(__file__).with_name("run_abawkit.py")), "train", "demo"]
    command += ["--data", str(curated), "--out", str(out), *FLOAT32, "--set", "device=cuda"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not any(out.glob("checkpoints/*/state.pt")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert not (out / "manifest.json").is_file()
    abawkit("train", "--resume", "--out", out)
    for name in ("best.safetensors", "last.safetensors"):
        assert_same_weights(out / name, runs["cuda"] / name)
    assert losses(out) == losses(runs["cuda"])


def test_predictions_are_those_of_the_cpu(abawkit: Run, curated: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    weights = runs["cuda"] / "best.safetensors"
    for device in ("cpu", "cuda"):
        rest = ("--split", "validation", "--device", device, "--out", tmp_path / f"{device}.txt")
        abawkit("predict", weights, "--data", curated, *rest)
    found, expected = ((tmp_path / f"{device}.txt").read_text().splitlines() for device in ("cuda", "cpu"))
    assert found[0] == expected[0]
    assert len(found) == len(expected) == 51  # a header, and the 50 frames of the split
    for one, other in zip(found[1:], expected[1:], strict=True):
        (name, *numbers), (same, *others) = one.split(","), other.split(",")
        assert name == same
        assert list(map(float, numbers)) == pytest.approx(list(map(float, others)), abs=1e-3)
