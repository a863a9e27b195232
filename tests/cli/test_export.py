"""``abawkit export``: what `predict` writes for a run, a file of its own can say without abawkit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abawkit.models.export import ALLOWED
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import FeatureInput, SequenceConfig
from abawkit.models.weights import save_weights
from tests.cli.conftest import answer

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


def test_a_run_in_onnx_gives_the_probabilities_that_predict_writes(
    run: Run, runs: list[Path], release: Path, test_list: list[str], tmp_path: Path
) -> None:
    from onnxruntime import InferenceSession

    out = tmp_path / "network.onnx"
    said = answer(run("export", runs[0], "--to", "onnx", "--out", out, "--json"))
    assert said["difference"] <= said["allowed"] == ALLOWED
    assert (said["opset"], said["size"], said["tasks"]) == (18, 112, ["va", "expression", "au"])
    assert said["source"] == str(runs[0] / "best.safetensors")
    run("predict", runs[0], *test_list, "--out", tmp_path / "p.txt")
    member = json.loads((tmp_path / "p.json").read_text())["members"][0]
    session = InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    notes = json.loads(session.get_modelmeta().custom_metadata_map["abawkit"])
    assert notes["digest"] == said["digest"] == member["digest"]
    assert notes.items() <= said.items()
    with np.load(tmp_path / "p.npz") as stored:
        names, expected = stored["images"][:7], {task: stored[task][:7] for task in said["tasks"]}
    images = [np.asarray(Image.open(release / "test_data/cropped_aligned" / name)) for name in names]
    found = session.run(said["tasks"], {"frames": np.stack(images).transpose(0, 3, 1, 2)})
    for task, values in zip(said["tasks"], found, strict=True):
        np.testing.assert_allclose(values, expected[task], rtol=0, atol=1e-5)


def test_a_run_as_a_program_says_what_was_compared_and_is_replaced_by_force_alone(
    run: Run, runs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "network.pt2"
    lines = run("export", runs[0], "--to", "torch", "--out", out).stdout.splitlines()
    assert lines[0].startswith(f"{out}: a program of torch.export, torch 2.")
    assert lines[1] == "in: frames: uint8 (N, 3, 112, 112), RGB; out: va (N, 2), expression (N, 8), au (N, 12)"
    assert lines[2].startswith("compared with the network: values differ by at most ")
    before = out.read_bytes()
    assert f"{out}: exists already" in run("export", runs[1], "--to", "torch", "--out", out, code=2).stderr
    assert out.read_bytes() == before
    again = answer(run("export", runs[1], "--to", "torch", "--out", out, "--force", "--json"))
    assert (again["to"], again["opset"]) == ("torch", None)
    assert out.read_bytes() != before
    weights = runs[1] / "best.safetensors"
    said = run("export", weights, "--to", "torch", "--out", weights, "--force", code=2).stderr
    assert "would replace what is read" in said
    assert (
        "is a program that torch.export wrote"
        in run("export", out, "--to", "torch", "--out", tmp_path / "x", code=3).stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]


def test_damaged_weights_are_named_and_nothing_is_written(run: Run, runs: list[Path], tmp_path: Path) -> None:
    content = (runs[0] / "best.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:-100] + bytes(100))
    result = run("export", tmp_path / "w.safetensors", "--to", "torch", "--out", tmp_path / "n", "--json", code=3)
    assert "damaged" in answer(result)["error"]
    (tmp_path / "w.safetensors").write_bytes(content[:-100])
    assert (
        "truncated"
        in run("export", tmp_path / "w.safetensors", "--to", "torch", "--out", tmp_path / "n", code=3).stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_sequence_network_is_refused(run: Run, tmp_path: Path) -> None:
    config = SequenceConfig(
        kind="frame",
        inputs=(FeatureInput(6, "a" * 64),),
        width=8,
        layers=2,
        kernel=3,
        heads=2,
        reach=3,
        context=5,
        dropout=0.5,
    )
    save_weights(tmp_path / "w.safetensors", config, SequenceNetwork(config).state_dict(), {"tasks": "va"})
    said = run("export", tmp_path / "w.safetensors", "--to", "torch", "--out", tmp_path / "n", code=2).stderr
    assert f"{tmp_path / 'w.safetensors'}: is a sequence network; only networks that see frames are exported" in said
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_says_how_to_install_it(
    run: Run, runs: list[Path], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = run("export", runs[0], "--to", "onnx", "--out", tmp_path / "n.onnx", code=2).stderr
    assert said == f"error: --to onnx: {package} is not installed; pip install 'abawkit[onnx]', or use --to torch\n"
    assert list(tmp_path.iterdir()) == []
