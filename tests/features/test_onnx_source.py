"""ONNX files: small ones, whose features are worked out by hand."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.errors import ConfigError, DataError
from abawkit.features.extractors import prepare_frames
from abawkit.features.onnx_description import refuse_absent_runtime
from abawkit.features.onnx_source import load_onnx_source
from abawkit.system.files import sha256_of

onnx: Any = importlib.import_module("onnx")

SIZE = 8

BESIDE = """
size = 8
mean = [0.5, 0.25, 0]
deviation = [0.5, 1, 2]
layout = "{layout}"
output = "{output}"
"""


def write_onnx(
    path: Path,
    *,
    layout: str = "NCHW",
    batch: int | str = "n",
    output: str = "mean",
    side: int | str = SIZE,
    kind: int = 1,
) -> Path:
    """A network of three outputs: the mean of each channel, the same with two axes of one, and the whole frame."""
    helper = onnx.helper
    shape = [batch, 3, side, side] if layout == "NCHW" else [batch, side, side, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    constant = helper.make_tensor("axes", onnx.TensorProto.INT64, [2], axes)
    nodes = [
        helper.make_node("ReduceMean", ["frames", "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["frames", "axes"], ["pooled"], keepdims=1),
        helper.make_node("Identity", ["frames"], ["map"]),
        helper.make_node("Shape", ["frames"], ["shape"]),
    ]
    outputs = [helper.make_tensor_value_info(name, kind, None) for name in ("mean", "pooled", "map")]
    outputs.append(helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, None))
    inputs = [helper.make_tensor_value_info("frames", kind, shape)]
    graph = helper.make_graph(nodes, "test", inputs, outputs, [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    path.with_suffix(".toml").write_text(BESIDE.format(layout=layout, output=output))
    return path


@pytest.mark.parametrize(
    ("layout", "output", "batch"),
    [("NCHW", "mean", "n"), ("NHWC", "mean", "n"), ("NCHW", "pooled", "n"), ("NCHW", "mean", 1), ("NCHW", "mean", 4)],
)
def test_features_are_those_of_normalised_frames(tmp_path: Path, layout: str, output: str, batch: int | str) -> None:
    path = write_onnx(tmp_path / "m.onnx", layout=layout, output=output, batch=batch)
    source = load_onnx_source(path)
    extractor = source.extractor
    assert (extractor.dimension, extractor.size, extractor.name) == (3, 8, "m.onnx")
    pixels = np.zeros((6, 112, 112, 3), np.uint8)
    pixels[:] = np.array([51, 102, 204], np.uint8) * np.array([1, 1, 1, 0, 1, 1], np.uint8)[:, None, None, None]
    found = extractor.extract(prepare_frames(torch.from_numpy(pixels), extractor))
    expected = np.array([[(0.2 - 0.5) / 0.5, 0.4 - 0.25, 0.8 / 2]] * 6)
    expected[3] = [-1, -0.25, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert source.description["sha256"] == sha256_of(path)
    assert source.description["output"] == output
    assert source.description["onnxruntime"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"output": "map"},
            r"output 'map' is float32 \(1, 3, 8, 8\), expected one vector for each frame: name an output",
        ),
        ({"output": "shape"}, r"output 'shape' is int64 \(4,\), expected \(1, numbers\)"),
        ({"output": "absent"}, r"m\.toml: output: got 'absent', m\.onnx has 'mean', 'pooled', 'map', 'shape'"),
        ({"side": 16}, r"takes frames \(n, 3, 16, 16\), and m\.toml says NCHW of size 8: \(n, 3, 8, 8\); correct size"),
        ({"kind": 10}, r"takes 'frames' tensor\(float16\), expected one input of type tensor\(float\)"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_onnx_source(write_onnx(tmp_path / "m.onnx", **changes))


def test_another_layout_than_the_file_has_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx", layout="NHWC")
    path.with_suffix(".toml").write_text(BESIDE.format(layout="NCHW", output="mean"))
    with pytest.raises(DataError, match=r"takes frames \(n, 8, 8, 3\), and m\.toml says NCHW"):
        load_onnx_source(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = 8", "size = 0", r"m\.toml: size: got 0, expected a whole number, 8\.\.1024"),
        ("size = 8", "", r"m\.toml: size: got nothing, expected"),
        ("deviation = [0.5, 1, 2]", "deviation = [0.5, 1, 0]", r"m\.toml: deviation\.2: got 0"),
        ("mean = [0.5, 0.25, 0]", "mean = [0.5, 0.25]", r"m\.toml: mean\.2: got nothing"),
        ("mean = [0.5, 0.25, 0]", "mean = nan", r"m\.toml: mean: got nan"),
        ('"NCHW"', '"HWC"', r"m\.toml: layout: got 'HWC', expected one of NCHW, NHWC"),
        ("size = 8", "size = 8\nscale = 2", r"m\.toml: scale: unknown key; expected any of deviation, layout, mean"),
        ("size = 8", "size = ", r"m\.toml: is not TOML"),
    ],
)
def test_a_wrong_description_is_named_with_an_example(tmp_path: Path, old: str, new: str, message: str) -> None:
    beside = write_onnx(tmp_path / "m.onnx").with_suffix(".toml")
    beside.write_text(beside.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"(?s){message}.*\n  size = 224 "):
        load_onnx_source(tmp_path / "m.onnx")


def test_an_absent_description_is_named(tmp_path: Path) -> None:
    write_onnx(tmp_path / "m.onnx").with_suffix(".toml").unlink()
    with pytest.raises(
        DataError, match=r"(?s)m\.toml: can't be read \(No such file.*\); it says what the ONNX file expe"
    ):
        load_onnx_source(tmp_path / "m.onnx")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"m\.onnx: can't be loaded as ONNX: "):
        load_onnx_source(path)


def test_weights_beside_the_file_are_in_its_digests(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").write_bytes(b"weights")
    assert load_onnx_source(path).description["data_sha256"] == sha256_of(tmp_path / "m.onnx.data")


def test_without_the_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abawkit.features.onnx_description.find_spec", lambda _: None)
    assert importlib.util.find_spec("onnxruntime")
    with pytest.raises(
        ConfigError, match=r"m\.onnx: needs onnxruntime, which is not installed: pip install 'abawkit\[on"
    ):
        refuse_absent_runtime(Path("m.onnx"))
