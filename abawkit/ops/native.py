"""The native implementation, compiled from ``csrc/`` (C++, CUDA), and weights with batch norms folded into them."""

from typing import ClassVar, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops import torch_library as library
from abawkit.ops.base import Arguments, Call, Implementation
from abawkit.ops.native_library import read_build_facts
from abawkit.ops.tensors import Gates, Parameters, Statistics, update_statistics

TILE: Final = 16
"""Channels that lie next to each other, and the multiple that the bottleneck's channels are filled up to."""


def _filled(size: int) -> int:
    return -(-size // TILE) * TILE


def _tiled(t: Tensor) -> Tensor:
    """(K, C, inner) -> (tiles, K * inner * 16): channels in tiles, the last one filled up with zeros."""
    heads, channels, inner = t.shape
    t = F.pad(t, (0, 0, 0, _filled(channels) - channels))
    return t.view(heads, -1, TILE, inner).permute(1, 0, 3, 2).flatten(1)


def pack(parameters: Parameters, statistics: Statistics, *, eps: float, dtype: torch.dtype) -> Tensor:
    """Folds the batch norms into the weights, in float64, and packs everything into one tensor.

    Args:
        parameters: Of any floating type.
        statistics: What the batch norms normalise with.
        eps: Added to variances.
        dtype: Of the result.

    Returns:
        One dimension, laid out as ``csrc/kernels/dda.h`` says.
    """
    p, s = Parameters(*(t.detach().double() for t in parameters)), Statistics(*(t.double() for t in statistics))
    channels, _, _, heads, squeezed = p.sizes

    def norm(scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        factor = scale * (variance + eps).rsqrt()
        return factor, shift - mean * factor

    row, row_shift = norm(p.row_scale, p.row_shift, s.row_mean, s.row_variance)
    column, column_shift = norm(p.column_scale, p.column_shift, s.column_mean, s.column_variance)
    squeeze, squeeze_shift = norm(p.squeeze_scale, p.squeeze_shift, s.squeeze_mean, s.squeeze_variance)
    pool, pool_shift = norm(p.pool_scale, p.pool_shift, s.pool_mean, s.pool_variance)

    def of_heads(t: Tensor) -> Tensor:
        return t.view(heads, channels, -1)

    weight = (p.squeeze_weight.flatten(1) * squeeze.unsqueeze(1)).view(heads, squeezed, channels)
    weight = F.pad(weight, (0, _filled(channels) - channels, 0, _filled(squeezed) - squeezed))
    first = [
        _tiled(p.row_weight * of_heads(row)),
        _tiled(p.column_weight * of_heads(column)),
        _tiled(of_heads(row_shift)),
        _tiled(of_heads(column_shift)),
        weight.view(heads, _filled(squeezed), -1, TILE).permute(2, 0, 3, 1).flatten(1),
    ]
    gate = (0, _filled(squeezed) - squeezed)
    second = [
        _tiled(F.pad(of_heads(p.row_gate_weight), gate)),
        _tiled(of_heads(p.row_gate_bias)),
        _tiled(F.pad(of_heads(p.column_gate_weight), gate)),
        _tiled(of_heads(p.column_gate_bias)),
        _tiled((p.pool_weight.flatten(1) * pool.unsqueeze(1)).unsqueeze(0)),
        _tiled(pool_shift.view(1, -1, 1)),
    ]
    shift = F.pad((squeeze_shift + p.squeeze_bias * squeeze).view(heads, squeezed), gate)
    return torch.cat([torch.cat(first, 1).flatten(), torch.cat(second, 1).flatten(), shift.flatten()]).to(dtype)


__all__ = ["Native", "read_build_facts"]

_TYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}


class Folded(NamedTuple):
    """What `Native.infer` takes: packed weights, and the sizes that they don't tell."""

    weights: Tensor
    heads: int
    squeezed: int


class Native(Implementation):
    """Few passes over the features, and next to nothing saved for the backward pass.

    Sums are taken in float32, in float64 for float64 features. The order of every sum is fixed: results don't depend on
    the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++ and CUDA"
    priority: ClassVar[int] = 100

    def reasons(self, call: Call) -> list[str]:
        """See `Implementation.reasons`."""
        if reason := binary.load():
            return [reason]
        kind = call.device.type
        if kind not in _TYPES:
            return [f"there are kernels for CPUs and NVIDIA GPUs, not for {kind}"]
        found = []
        if call.dtype not in _TYPES[kind]:
            found.append(f"there is no kernel for {str(call.dtype).removeprefix('torch.')} on {kind}")
        if kind == "cuda" and (reason := self._gpu_reason(call.device)):
            found.append(reason)
        return found

    @staticmethod
    def _gpu_reason(device: torch.device) -> str:
        if reason := binary.explain_gpu_refusal(read_build_facts(), torch.cuda.get_device_capability(device)):
            return reason
        return binary.probe_gpu(device.index)

    def fingerprint(self, device: torch.device) -> str:
        """See `Implementation.fingerprint`."""
        instructions = binary.read_instruction_set() if device.type == "cpu" else ""
        return f"{super().fingerprint(device)} {binary.digest_library()} {instructions}"

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        """See `Implementation.forward`."""
        features, parameters, statistics, training, momentum, eps, gates = arguments
        wide = torch.float64 if features.dtype == torch.float64 else torch.float32
        given = None if training or statistics is None else statistics.flat().to(wide)
        # Most often there is nothing to convert; a look at each, and a new list, would take twice the time.
        weights = parameters if {p.dtype for p in parameters} == {wide} else [p.to(wide) for p in parameters]
        embedding, rows, columns, _, _, batch = library.forward(features, weights, given, eps, gates)
        if training and statistics is not None:
            if features.is_cpu:
                library.update(statistics, batch, features.shape[0], parameters.sizes, momentum)
            else:
                update_statistics(statistics, batch, momentum, parameters.sizes, features.shape[0])
        return embedding, Gates(rows, columns) if gates else None

    def fold(self, parameters: Parameters, statistics: Statistics, *, eps: float) -> Folded:
        """See `Implementation.fold`."""
        wide = torch.float64 if parameters.row_weight.dtype == torch.float64 else torch.float32
        sizes = parameters.sizes
        return Folded(pack(parameters, statistics, eps=eps, dtype=wide), sizes.heads, sizes.squeezed)

    def infer(self, features: Tensor, folded: Folded, *, gates: bool) -> tuple[Tensor, Gates | None]:
        """See `Implementation.infer`."""
        embedding, rows, columns = library.INFERENCE(features, *folded, gates)
        return embedding, Gates(rows, columns) if gates else None
