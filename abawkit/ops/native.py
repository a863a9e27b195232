"""The native implementation, compiled from ``csrc/`` (C++, CUDA), and weights with batch norms folded into them."""

from typing import ClassVar, Final, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops import torch_library as library
from abawkit.ops.base import Arguments, Call, Implementation
from abawkit.ops.native_library import read_build_facts
from abawkit.ops.processes import find_shared_batch
from abawkit.ops.tensors import Gates, Parameters, Statistics, fold_batch_norms, update_statistics

TILE: Final = 16
"""Channels that are adjacent in memory; numbers of channels are padded to a multiple of it."""


def _round_up(size: int) -> int:
    return -(-size // TILE) * TILE


def _tile(t: Tensor) -> Tensor:
    """(K, C, inner) -> (tiles, K * inner * 16): channels in tiles, the last one padded with zeros."""
    heads, channels, inner = t.shape
    t = F.pad(t, (0, 0, 0, _round_up(channels) - channels))
    return t.view(heads, -1, TILE, inner).permute(1, 0, 3, 2).flatten(1)


def pack(parameters: Parameters, statistics: Statistics, *, eps: float, dtype: torch.dtype) -> Tensor:
    """Folds the batch norms into the weights, in float64, and packs everything into one tensor.

    Args:
        parameters: Of any floating type.
        statistics: What the batch norms normalise with.
        eps: Added to variances.
        dtype: Of the result.

    Returns:
        One dimension, in the layout of ``csrc/kernels/dda.h``.
    """
    (row, row_bias), (column, column_bias), (squeeze, squeeze_bias), (pool, pool_bias) = fold_batch_norms(
        parameters, statistics, eps
    )
    p = Parameters(*(t.detach().double() for t in parameters))
    channels, _, _, heads, squeezed = p.sizes

    def split_heads(t: Tensor) -> Tensor:
        return t.view(heads, channels, -1)

    weight = squeeze.view(heads, squeezed, channels)
    weight = F.pad(weight, (0, _round_up(channels) - channels, 0, _round_up(squeezed) - squeezed))
    first = [
        _tile(split_heads(row)),
        _tile(split_heads(column)),
        _tile(split_heads(row_bias)),
        _tile(split_heads(column_bias)),
        weight.view(heads, _round_up(squeezed), -1, TILE).permute(2, 0, 3, 1).flatten(1),
    ]
    padding = (0, _round_up(squeezed) - squeezed)
    second = [
        _tile(F.pad(split_heads(p.row_gate_weight), padding)),
        _tile(split_heads(p.row_gate_bias)),
        _tile(F.pad(split_heads(p.column_gate_weight), padding)),
        _tile(split_heads(p.column_gate_bias)),
        _tile(pool.flatten(1).unsqueeze(0)),
        _tile(pool_bias.view(1, -1, 1)),
    ]
    shift = F.pad(squeeze_bias.view(heads, squeezed), padding)
    return torch.cat([torch.cat(first, 1).flatten(), torch.cat(second, 1).flatten(), shift.flatten()]).to(dtype)


__all__ = ["Native", "read_build_facts"]

_TYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}


class Folded(NamedTuple):
    """Packed weights for `Native.infer`, and the sizes that don't follow from their shape."""

    weights: Tensor
    heads: int
    squeezed: int


class Native(Implementation):
    """Few passes over the features, and very little memory kept for the backward pass.

    Sums are in float32, or in float64 for float64 features. The order of every sum is fixed, so that results don't
    depend on the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++ and CUDA"
    priority: ClassVar[int] = 100
    synchronises: ClassVar[bool] = True

    def is_meant_for(self, call: Call) -> bool:
        """See `Implementation.is_meant_for`."""
        return not (call.synchronised and call.device.type == "cuda")

    def reasons(self, call: Call) -> list[str]:
        """See `Implementation.reasons`."""
        if reason := binary.load():
            return [reason]
        kind = call.device.type
        if kind not in _TYPES:
            return [f"there are kernels for CPUs and NVIDIA GPUs, not for {kind}"]
        found = []
        if not self.is_meant_for(call):
            found.append("on GPUs its batch norms take the statistics of one process alone")
        if call.dtype not in _TYPES[kind]:
            found.append(f"there is no kernel for {str(call.dtype).removeprefix('torch.')} on {kind}")
        if kind == "cuda" and (reason := self._explain_gpu_refusal(call.device)):
            found.append(reason)
        return found

    @staticmethod
    def _explain_gpu_refusal(device: torch.device) -> str:
        if reason := binary.explain_gpu_refusal(read_build_facts(), torch.cuda.get_device_capability(device)):
            return reason
        index = cast("int | None", device.index)  # None for torch.device("cuda"), whatever its type says
        return binary.probe_gpu(torch.cuda.current_device() if index is None else index)

    def fingerprint(self, device: torch.device) -> str:
        """See `Implementation.fingerprint`."""
        instructions = binary.read_instruction_set() if device.type == "cpu" else ""
        return f"{super().fingerprint(device)} {binary.digest_library()} {instructions}"

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        """See `Implementation.forward`."""
        features, parameters, statistics, training, momentum, eps, gates = arguments
        wide = library.choose_compute_type(features.dtype)
        given = None if training or statistics is None else statistics.flat().to(wide)
        # mostly there is nothing to convert, and a new list would take twice the time
        weights = parameters if {p.dtype for p in parameters} == {wide} else [p.to(wide) for p in parameters]
        shared = find_shared_batch() if training else None
        synchronised = shared is not None
        embedding, rows, columns, _, _, batch = library.forward(
            features, weights, given, eps, gates, synchronised=synchronised
        )
        if training and statistics is not None:
            if features.is_cpu:
                images = shared.rows if shared else features.shape[0]
                library.update(statistics, batch, images, parameters.sizes, momentum)
            else:
                update_statistics(statistics, batch, momentum, parameters.sizes, features.shape[0])
        return embedding, Gates(rows, columns) if gates else None

    def fold(self, parameters: Parameters, statistics: Statistics, *, eps: float) -> Folded:
        """See `Implementation.fold`."""
        wide = library.choose_compute_type(parameters.row_weight.dtype)
        sizes = parameters.sizes
        return Folded(pack(parameters, statistics, eps=eps, dtype=wide), sizes.heads, sizes.squeezed)

    def infer(self, features: Tensor, folded: Folded, *, gates: bool) -> tuple[Tensor, Gates | None]:
        """See `Implementation.infer`."""
        embedding, rows, columns = library.INFERENCE(features, *folded, gates)
        return embedding, Gates(rows, columns) if gates else None
