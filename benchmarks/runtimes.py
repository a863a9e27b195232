"""The network in ONNX Runtime and OpenVINO, where they are installed; abawkit depends on neither."""

import importlib
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor, nn

from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops import use

Evaluate = Callable[[], Outputs]

PACKAGES: Final = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}


class _Plain(nn.Module):
    """The network with three outputs."""

    def __init__(self, network: DDAMFN) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs: Outputs = self.network(images, gates=False)
        return outputs.va, outputs.expression, outputs.au


def list_missing() -> list[str]:
    """Names of runtimes that can't be used here."""
    missing = []
    for name, package in PACKAGES.items():
        try:
            importlib.import_module(package)
            importlib.import_module("onnxscript")  # which exports
        except ImportError:
            missing.append(name)
    return missing


def make_runtimes(network: DDAMFN, images: Tensor, threads: int) -> dict[str, Evaluate]:
    """Evaluation of a batch by each runtime that is installed; OpenVINO in bfloat16 too where the processor has it.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S), contiguous; models are made for N.
        threads: Of the CPU.
    """
    made: dict[str, Evaluate] = {}
    missing = list_missing()
    if len(missing) == len(PACKAGES):
        return made
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names operators that the network does not have
        with use("reference"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch's own exporter
            torch.onnx.export(_Plain(network).eval(), (images,), path, dynamo=True, verbose=False)
        if "ONNX Runtime" not in missing:
            made["ONNX Runtime"] = _load_onnxruntime(path, images, threads)
        if "OpenVINO" not in missing:
            made |= _load_openvino(path, images, threads)
    return made


def _load_onnxruntime(path: Path, images: Tensor, threads: int) -> Evaluate:
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or its threads slow down who comes next
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: images.numpy()}
    return lambda: _wrap(session.run(None, given))


def _load_openvino(path: Path, images: Tensor, threads: int) -> dict[str, Evaluate]:
    openvino: Any = importlib.import_module("openvino")
    core = openvino.Core()
    model = core.read_model(str(path))
    kinds = {"OpenVINO": "f32"}
    with suppress(RuntimeError):
        if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            kinds["OpenVINO bf16"] = "bf16"
    made: dict[str, Evaluate] = {}
    for name, kind in kinds.items():
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        given = images.numpy()
        made[name] = lambda request=request, given=given: _wrap(request.infer([given]).values())  # type: ignore[misc]
    return made


def _wrap(found: Any) -> Outputs:
    va, expression, au = (torch.from_numpy(values.copy()) for values in found)
    return Outputs(va, expression, au, None)
