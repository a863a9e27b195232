"""Networks that run without abawkit: what they are, and what is wrong with them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from abawkit.errors import DataError
from abawkit.inspection import inspect

onnx = pytest.importorskip("onnx")

NOTES: dict[str, Any] = {"network": "ddamfn-nano", "tasks": ["va", "au"], "size": 112, "digest": "0123"}


def write_program(path: Path, notes: str | None) -> Path:
    program = torch.export.export(nn.Linear(2, 1), (torch.zeros(1, 2),))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"abawkit.json": notes} if notes else {})
    path.write_bytes(content.getvalue())
    return path


def write_onnx(path: Path, notes: str | None, operator: str = "Relu") -> Path:
    helper = onnx.helper
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in ("frames", "va")]
    graph = helper.make_graph([helper.make_node(operator, ["frames"], ["va"])], "network", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="somebody")
    if notes:
        helper.set_model_props(model, {"abawkit": notes})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("write", "name"), [(write_program, "network.pt2"), (write_onnx, "network.onnx")])
def test_an_exported_network_is_described_by_its_own_notes(write: Any, name: str, tmp_path: Path) -> None:
    found = inspect(write(tmp_path / name, json.dumps(NOTES)))
    assert found.kind == "exported network"
    assert found.summary.endswith("of ddamfn-nano, for va, au; made by abawkit export")
    assert found.facts["size"] == 112
    assert found.digests["weights"] == "0123"
    assert found.problems == []


@pytest.mark.parametrize(("write", "name"), [(write_program, "network.pt2"), (write_onnx, "network.onnx")])
def test_notes_that_are_no_object_are_a_problem(write: Any, name: str, tmp_path: Path) -> None:
    (problem,) = inspect(write(tmp_path / name, "[1]")).problems
    assert "not a JSON object" in problem
    (problem,) = inspect(write(tmp_path / name, json.dumps({**NOTES, "tasks": "va"}))).problems
    assert "tasks: got 'va', expected a list" in problem


def test_a_program_is_known_under_any_name_and_one_of_others_too(tmp_path: Path) -> None:
    assert inspect(write_program(tmp_path / "network.bin", None)).summary == "a program of torch.export"


def test_an_onnx_file_of_others_shows_what_goes_in_and_out(tmp_path: Path) -> None:
    found = inspect(write_onnx(tmp_path / "emotions.onnx", None))
    assert found.summary == "an ONNX network"
    assert (found.facts["opset"], found.facts["producer"]) == (18, "somebody")
    assert (found.facts["inputs"], found.facts["outputs"]) == (["frames (batch, 2)"], ["va (batch, 2)"])
    assert "weights" not in found.digests


def test_damage_is_a_problem(tmp_path: Path) -> None:
    path = write_program(tmp_path / "network.pt2", json.dumps(NOTES))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "the archive can't be read" in inspect(path).problems[0]
    start = content.index(b"ddamfn-nano")
    path.write_bytes(content[:start] + b"X" + content[start + 1 :])
    assert "is damaged" in inspect(path).problems[0]
    problems = inspect(write_onnx(tmp_path / "network.onnx", None, operator="Nothing")).problems
    assert "breaks the rules of ONNX" in problems[0]


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"text\n" * 9])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(content)
    with pytest.raises(DataError, match="is no ONNX file"):
        inspect(tmp_path / "network.onnx")
