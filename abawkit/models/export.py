"""A trained network as a file that runs without abawkit: a program of `torch.export`, or ONNX.

The graph takes frames as they are decoded and returns what `abawkit.models.inference.infer` returns, for the tasks
that the network was trained for. Batch norms are folded, and all operators are torch's own, or ONNX's.
"""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import abawkit
from abawkit.choices import ExportForm
from abawkit.errors import DataError
from abawkit.frames.augmentation import make_scale_and_offset
from abawkit.labels import Task
from abawkit.models.attention import DualDirectionAttention
from abawkit.models.inference import Probabilities, infer
from abawkit.models.layers import CoordinateAttention, LinearBlock, list_norm_tensors
from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops.bench_variants import fold, folded_attention
from abawkit.ops.folding import fold_batch_norm
from abawkit.tables import Array

INPUT: Final = "frames"
"""Name of the input; outputs have the names of the tasks."""

OPSET: Final = 18
"""Version of ONNX's operators: the one that torch's exporter writes without converting, read since ONNX 1.13."""

NOTES: Final = "abawkit"
"""Where the notes are: this key of ONNX's metadata, and this file with ``.json`` behind it of a program."""

ALLOWED: Final = 1e-5
"""Most by which a value of the exported network may differ from the network's own."""

BATCHES: Final = (1, 3)
"""Frames of each batch that both are given before the file is written."""


class Exported(NamedTuple):
    """An exported network that was loaded and compared with the network.

    Attributes:
        content: Of the file.
        difference: The largest difference of any value.
    """

    content: bytes
    difference: float


class FrameNetwork(nn.Module):
    """From decoded frames to the probabilities of some tasks, by a network with folded batch norms."""

    scale: Tensor
    offset: Tensor

    def __init__(self, network: DDAMFN, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.network, self._tasks = fold_norms(network), tuple(tasks)
        scale, offset = make_scale_and_offset(torch.device("cpu"))
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """RGB (N, 3, S, S) uint8 -> for each task its values (N, outputs), float32, by name."""
        outputs: Outputs = self.network(frames * self.scale - self.offset, gates=False)
        probabilities = {"va": outputs.va, "expression": outputs.expression.softmax(1), "au": outputs.au.sigmoid()}
        return {task: probabilities[task] for task in self._tasks}


class _FoldedAttention(nn.Module):
    """Dual-direction attention with folded batch norms, in torch's own operators."""

    def __init__(self, attention: DualDirectionAttention) -> None:
        super().__init__()
        for index, tensor in enumerate(fold(*attention.operands(), attention.pool_norm.eps)):
            self.register_buffer(f"weight_{index}", tensor)

    def forward(self, x: Tensor, *, gates: bool) -> tuple[Tensor, None]:
        """Features (N, C, H, W) -> embedding (N, C); there are no gates."""
        del gates
        return folded_attention(x, tuple(self.buffers())), None


def fold_norms(network: DDAMFN) -> DDAMFN:
    """A copy of a network for tracing in evaluation, whose batch norms are folded into its convolutions in float64."""
    folded = copy.deepcopy(network).eval()
    folded.attention = _FoldedAttention(network.attention)  # type: ignore[assignment]
    for module in folded.modules():
        if isinstance(module, LinearBlock):
            _fold_into(module.conv, module.norm)
        elif isinstance(module, CoordinateAttention):
            _fold_into(module.squeeze, module.norm)
        else:
            continue
        module.norm = nn.Identity()  # type: ignore[assignment]
    return folded.requires_grad_(False)


def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    weight, bias = fold_batch_norm(conv.weight, conv.bias, *list_norm_tensors(norm), norm.eps)
    conv.weight, conv.bias = (nn.Parameter(value.to(conv.weight.dtype)) for value in (weight, bias))


def export_network(
    network: DDAMFN, tasks: Sequence[Task], form: ExportForm, notes: Mapping[str, Any], source: str
) -> Exported:
    """Exports a network, loads the result, and compares both on random frames in batches of `BATCHES`.

    The same arguments give the same bytes on the same machine.

    Args:
        network: In evaluation mode, on the CPU, in the memory format of `abawkit.models.inference.place_network`.
        tasks: The tasks that it was trained for, at least one.
        form: ``torch`` or ``onnx``, which needs the extra ``onnx``.
        notes: What the file says about itself; becomes JSON.
        source: Where the network comes from, for the message.

    Raises:
        DataError: If a value of the exported network differs by more than `ALLOWED` from the network's own.
    """
    text = json.dumps(notes, indent=2, sort_keys=True, allow_nan=False)
    with _no_messages():
        program = trace_network(network, tasks)
        content = _save_onnx(program, tasks, text) if form == "onnx" else _save_program(program, text)
        difference = measure_difference(network, tasks, form, content)
    if not difference <= ALLOWED:  # nor if it is NaN
        raise DataError(
            f"{source}: values of the exported network differ by up to {difference:.1e} from the network's own, "
            f"expected at most {ALLOWED:.0e}; nothing was written. Weights that are this sensitive to rounding are "
            "of a network that was not trained, or that training has left in a bad state: look at its scores"
        )
    return Exported(content, difference)


def trace_network(network: DDAMFN, tasks: Sequence[Task]) -> torch.export.ExportedProgram:
    """The network with folded norms as a program for batches of any size; see `FrameNetwork` for what goes in and out.

    Arguments are those of `export_network`.
    """
    side = network.config.resolution
    example = (torch.zeros((BATCHES[-1], 3, side, side), dtype=torch.uint8),)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    with torch.no_grad():
        module = FrameNetwork(network, tasks).eval()
        program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it has the paths of this machine
    return program


def _save_program(program: torch.export.ExportedProgram, notes: str) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{NOTES}.json": notes})
    return file.getvalue()


def _save_onnx(program: torch.export.ExportedProgram, tasks: Sequence[Task], notes: str) -> bytes:
    exported = torch.onnx.export(
        program, (), input_names=[INPUT], output_names=list(tasks), opset_version=OPSET, dynamo=True, verbose=False
    )
    model: Any = exported.model_proto if exported else None
    graph = model.graph
    del graph.value_info[:]
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]  # names of the program, which say nothing to a reader of the file
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.producer_name, model.producer_version, graph.name = NOTES, abawkit.__version__, "network"
    entry = model.metadata_props.add()
    entry.key, entry.value = NOTES, notes
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _no_messages() -> Iterator[None]:
    """Keeps back what torch's exporters tell their developers."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def measure_difference(network: DDAMFN, tasks: Sequence[Task], form: ExportForm, content: bytes) -> float:
    """The largest difference between the values of an exported network and of the network, over all tasks.

    Arguments are those of `export_network`; `content` is that of the file.
    """
    largest = 0.0
    run = _load_onnx(content, tasks) if form == "onnx" else _load_program(content)
    for batch in BATCHES:
        frames = make_random_frames(batch, network.config.resolution)
        own: Probabilities = infer(network, frames.transpose(0, 2, 3, 1), torch.device("cpu"))
        for task, values in run(frames).items():
            largest = float(np.maximum(largest, np.abs(values - getattr(own, task)).max()))  # NaN stays NaN
    return largest


def _load_program(content: bytes) -> Any:
    module = torch.export.load(io.BytesIO(content)).module()
    return lambda frames: {task: value.numpy() for task, value in module(torch.from_numpy(frames)).items()}


def _load_onnx(content: bytes, tasks: Sequence[Task]) -> Any:
    from onnxruntime import InferenceSession

    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda frames: dict(zip(tasks, session.run(list(tasks), {INPUT: frames}), strict=True))


def make_random_frames(count: int, side: int) -> Array:
    """Frames (count, 3, side, side) uint8 of squares in random colours, the same at each call.

    The sides of the squares are 1, 8 and 32 pixels, in turn.
    """
    rng = np.random.default_rng(0)
    frames = np.empty((count, 3, side, side), np.uint8)
    for index, frame in enumerate(frames):
        square = (1, 8, 32)[index % 3]
        colours = rng.integers(0, 256, (3, *[-(-side // square)] * 2), dtype=np.uint8)
        frame[:] = colours.repeat(square, 1).repeat(square, 2)[:, :side, :side]
    return frames
