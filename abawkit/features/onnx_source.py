"""Backbones of other frameworks as ONNX files, which onnxruntime runs on the CPU."""

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abawkit.errors import DataError, printable
from abawkit.features.extractors import FeatureSource
from abawkit.features.onnx_description import (
    ONNX_RUNTIME,
    OnnxDescription,
    read_onnx_description,
    refuse_absent_runtime,
)
from abawkit.frames.augmentation import Colour
from abawkit.system.files import sha256, sha256_of


class OnnxExtractor:
    """A network that onnxruntime runs, on the CPU; attributes are those of `FeatureExtractor`."""

    def __init__(self, path: Path, description: OnnxDescription, session: Any) -> None:
        """Takes a session of a file whose form `load_onnx_source` has checked."""
        self.name = path.name
        self.size = description.size
        self.mean: Colour = description.mean
        self.deviation: Colour = description.deviation
        self.layout = description.layout
        self._session, self._output = session, description.output
        entry = session.get_inputs()[0]
        self._input = entry.name
        first = entry.shape[0] if entry.shape else None
        self._batch = first if isinstance(first, int) else None
        self.dimension = 0
        self.dimension = self._run(np.zeros((1, 3, self.size, self.size), np.float32)).shape[1]

    def extract(self, frames: Tensor) -> Tensor:
        """Runs the file; see `FeatureExtractor.extract`. One with a fixed number of frames gets as many, padded."""
        return torch.from_numpy(self._run(frames.cpu().contiguous().numpy()))

    def _run(self, frames: Any) -> Any:
        if self.layout == "NHWC":
            frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))
        step = self._batch or len(frames)
        return np.concatenate([self._run_batch(frames[i : i + step]) for i in range(0, len(frames), step)])

    def _run_batch(self, frames: Any) -> Any:
        given = frames
        if self._batch and len(frames) < self._batch:
            given = np.zeros((self._batch, *frames.shape[1:]), np.float32)
            given[: len(frames)] = frames
        try:
            (found,) = self._session.run([self._output], {self._input: given})
        except Exception as error:  # of the runtime, which has classes of its own
            raise DataError(f"{self.name}: can't be run on frames {given.shape}: {_shorten_reason(error)}") from error
        rows = given.shape[0]
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.shape[:1] != (rows,):
            raise DataError(
                f"{self.name}: output '{self._output}' is {_describe_output(found)}, expected ({rows}, numbers)"
            )
        if found.ndim < 2 or max(found.shape[2:], default=1) > 1:
            raise DataError(
                f"{self.name}: output '{self._output}' is {_describe_output(found)}, expected one vector for "
                "each frame: name an output behind the pooling"
            )
        return found.reshape(rows, -1)[: len(frames)]


def load_onnx_source(path: Path) -> FeatureSource:
    """Loads an ONNX file, with the ``.toml`` of the same name beside it, to run on the CPU.

    Args:
        path: The file. Weights that it keeps in a file of its name and ``.data`` are found beside it.

    Raises:
        ConfigError: If onnxruntime is not installed.
        DataError: If the file or the one beside it is not what it must be.
    """
    refuse_absent_runtime(path)
    beside = path.with_suffix(".toml")
    description = read_onnx_description(beside)
    onnxruntime: Any = importlib.import_module(ONNX_RUNTIME)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised too
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime, which has classes of its own
        raise DataError(f"{path}: can't be loaded as ONNX: {_shorten_reason(error)}") from error
    _check_form(path, description, session)
    data = path.with_name(f"{path.name}.data")
    digests = {"sha256": sha256_of(path), **({"data_sha256": sha256_of(data)} if data.is_file() else {})}
    notes = {**description.model_dump(mode="json"), "description_sha256": sha256(beside.read_bytes())}
    runtime = {ONNX_RUNTIME: version(ONNX_RUNTIME)}
    extractor = OnnxExtractor(path, description, session)
    return FeatureSource(extractor, {"kind": "onnx", "path": str(path), **digests, **notes, **runtime}, {})


def _check_form(path: Path, description: OnnxDescription, session: Any) -> None:
    """Refuses a file of another form than its description says."""
    inputs, outputs = session.get_inputs(), [entry.name for entry in session.get_outputs()]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"'{entry.name}' {entry.type}" for entry in inputs)
        raise DataError(f"{path}: takes {printable(found)}, expected one input of type tensor(float)")
    if description.output not in outputs:
        found = ", ".join(f"'{name}'" for name in outputs)
        got = f"output: got '{printable(description.output)}'"
        raise DataError(f"{path.with_suffix('.toml')}: {got}, {path.name} has {printable(found)}")
    side, shape = description.size, inputs[0].shape
    expected = (3, side, side) if description.layout == "NCHW" else (side, side, 3)
    fits = len(shape) == 4 and all(
        axis == known for axis, known in zip(shape[1:], expected, strict=True) if isinstance(axis, int)
    )
    if not fits:
        raise DataError(
            f"{path}: takes frames {_describe_shape(shape)}, and {path.stem}.toml says {description.layout} of size "
            f"{side}: (n, {', '.join(map(str, expected))}); correct size or layout there"
        )


def _describe_shape(shape: Any) -> str:
    return f"({', '.join(str(axis) if isinstance(axis, int) else 'n' for axis in shape)})"


def _describe_output(found: Any) -> str:
    return f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"


def _shorten_reason(error: Exception) -> str:
    return printable((str(error) or type(error).__name__).splitlines()[0][:300])
