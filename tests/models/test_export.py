"""Exported networks: the network's own values, without abawkit, and nothing of this machine in the file."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import abawkit
from abawkit.choices import ExportForm
from abawkit.errors import DataError
from abawkit.labels import Task
from abawkit.models import export
from abawkit.models.config import NETWORKS
from abawkit.models.export import export_network, fold_norms, make_random_frames, measure_difference
from abawkit.models.inference import infer, place_network
from abawkit.models.network import DDAMFN

CPU = torch.device("cpu")
TASKS: tuple[Task, ...] = ("va", "au")
FORMS: tuple[ExportForm, ...] = ("torch", "onnx")
NOTES = {"tasks": list(TASKS), "digest": "0123"}

WITHOUT_ABAWKIT = """
import sys
sys.modules["abawkit"] = None  # importing it is an error
import numpy as np
import torch
notes = {"abawkit.json": ""}
network = torch.export.load(sys.argv[1], extra_files=notes).module()
frames = torch.from_numpy(np.load(sys.argv[2]))
found, first = network(frames), network(frames[:1])
for name in found:
    assert (first[name] - found[name][:1]).abs().max() < 1e-6
np.savez(sys.argv[3], **{name: values.numpy() for name, values in found.items()})
assert not [name for name in sys.modules if name.startswith("abawkit.")]
print(notes["abawkit.json"])
"""


def make_network() -> DDAMFN:
    """A network whose batch norms all do something, and whose heads answer more than chance."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.0),
                    (module.bias, -0.3, 0.3),
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 1.5),
                ):
                    nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]
        for head in network.heads.values():
            nn.init.normal_(head.weight, std=0.3)  # type: ignore[arg-type]
    place_network(network, CPU)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> DDAMFN:
    return make_network()


@pytest.fixture(scope="module")
def files(once: Callable[..., Path]) -> dict[ExportForm, Path]:
    """The network's file in each form."""

    def fill(folder: Path) -> None:
        for form in FORMS:
            (folder / form).write_bytes(export_network(make_network(), TASKS, form, NOTES, "here").content)

    folder = once("exported", fill)
    return {form: folder / form for form in FORMS}


@pytest.fixture(scope="module")
def frames() -> Any:
    colours = np.random.default_rng(5).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)
    return colours.repeat(28, 2).repeat(28, 3)


def test_onnx_gives_the_networks_values_in_batches_of_any_size(
    network: DDAMFN, files: dict[ExportForm, Path], frames: Any
) -> None:
    from onnxruntime import InferenceSession

    session = InferenceSession(files["onnx"].read_bytes(), providers=["CPUExecutionProvider"])
    assert [(put.name, put.type, put.shape) for put in session.get_inputs()] == [
        ("frames", "tensor(uint8)", ["batch", 3, 112, 112])
    ]
    assert [(put.name, put.shape) for put in session.get_outputs()] == [("va", ["batch", 2]), ("au", ["batch", 12])]
    assert json.loads(session.get_modelmeta().custom_metadata_map["abawkit"]) == NOTES
    own = infer(network, frames.transpose(0, 2, 3, 1), CPU)
    assert np.ptp(own.va, axis=0).min() > 1e-3  # a hundred times what may differ
    for batch in (slice(0, 1), slice(0, 3), slice(1, 3)):
        va, au = session.run(None, {"frames": frames[batch]})
        np.testing.assert_allclose(va, own.va[batch], rtol=0, atol=1e-5)
        np.testing.assert_allclose(au, own.au[batch], rtol=0, atol=1e-5)


def test_a_process_without_abawkit_loads_the_program_and_gives_the_same_values(
    network: DDAMFN, files: dict[ExportForm, Path], frames: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", frames)
    paths = [str(path) for path in (files["torch"], tmp_path / "frames.npy", tmp_path / "found.npz")]
    command = [sys.executable, "-c", WITHOUT_ABAWKIT, *paths]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == NOTES
    own = infer(network, frames.transpose(0, 2, 3, 1), CPU)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(TASKS)
        for task in TASKS:
            np.testing.assert_allclose(found[task], getattr(own, task), rtol=0, atol=1e-5)


def test_the_graphs_have_torchs_and_onnxs_operators_alone_and_no_norm(files: dict[ExportForm, Path]) -> None:
    program = torch.export.load(io.BytesIO(files["torch"].read_bytes()))
    called = {node.target for node in program.graph.nodes if node.op == "call_function"}
    operators = {str(target) for target in called if isinstance(target, torch._ops.OpOverload)}
    assert {name.split(".")[0] for name in operators} == {"aten"}
    assert {str(target) for target in called} - operators == {"<built-in function getitem>"}
    assert not [name for name in operators if "norm" in name]
    model = onnx.load_model_from_string(files["onnx"].read_bytes())
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert (model.producer_name, model.producer_version) == ("abawkit", abawkit.__version__)


def test_files_hold_no_path_of_this_machine(files: dict[ExportForm, Path]) -> None:
    with zipfile.ZipFile(files["torch"]) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    for content in (*contents, files["onnx"].read_bytes()):
        for path in (Path(abawkit.__file__).parents[1], Path(torch.__file__).parent, Path.home()):
            assert str(path).encode() not in content


def test_the_same_network_gives_the_same_bytes(files: dict[ExportForm, Path]) -> None:
    for form in FORMS:
        assert export_network(make_network(), TASKS, form, NOTES, "there").content == files[form].read_bytes()


def test_folding_changes_rounding_alone_and_not_the_network_itself(network: DDAMFN) -> None:
    wide = make_network().double()
    x = torch.randn(2, 3, 112, 112, dtype=torch.float64)
    with torch.no_grad():
        before = {name: value.clone() for name, value in wide.state_dict().items()}
    folded = fold_norms(wide)
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for found, expected in zip(folded(x, gates=False)[:3], wide(x, gates=False)[:3], strict=True):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-11, atol=1e-11)
    assert wide.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in wide.state_dict().items())


@pytest.mark.parametrize("form", FORMS)
def test_values_of_another_network_are_noticed(files: dict[ExportForm, Path], form: ExportForm) -> None:
    other, same = make_network(), make_network()
    with torch.no_grad():
        other.heads["au"].bias[3] += 1e-2  # type: ignore[index, operator]
    content = files[form].read_bytes()
    assert measure_difference(same, TASKS, form, content) < export.ALLOWED
    assert 1e-4 < measure_difference(other, TASKS, form, content) < 1e-2


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_values_that_differ_are_an_error(network: DDAMFN, difference: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "measure_difference", lambda *_: difference)
    monkeypatch.setattr(export, "trace_network", lambda *_: None)
    monkeypatch.setattr(export, "_save_program", lambda *_: b"")
    with pytest.raises(DataError, match=r"here: values of the exported network differ .*nothing was written"):
        export_network(network, TASKS, "torch", NOTES, "here")


def test_the_frames_of_the_comparison_are_always_the_same_and_of_several_kinds() -> None:
    frames = make_random_frames(3, 37)
    assert frames.shape == (3, 3, 37, 37)
    assert np.array_equal(frames, make_random_frames(3, 37))
    distinct = [len(np.unique(frame.reshape(3, -1), axis=1).T) for frame in frames]
    assert distinct == [37 * 37, 25, 4]
