"""The implementation that is compiled from ``csrc/``: C++ on CPUs, CUDA on NVIDIA GPUs."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from abawkit.ops import binary, library
from abawkit.ops.base import Call, Implementation
from abawkit.ops.binary import build_facts
from abawkit.ops.gates import Gates
from abawkit.ops.packing import pack
from abawkit.ops.parameters import Parameters, Statistics, update_statistics

__all__ = ["Native", "build_facts"]

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
        if reason := binary.gpu_refusal(build_facts(), torch.cuda.get_device_capability(device)):
            return reason
        return binary.probe_gpu(device.index)

    def fingerprint(self, device: torch.device) -> str:
        """See `Implementation.fingerprint`."""
        instructions = binary.instruction_set() if device.type == "cpu" else ""
        return f"{super().fingerprint(device)} {binary.digest()} {instructions}"

    def forward(
        self,
        features: Tensor,
        parameters: Parameters,
        statistics: Statistics | None,
        *,
        training: bool,
        momentum: float,
        eps: float,
        gates: bool,
    ) -> tuple[Tensor, Gates | None]:
        """See `Implementation.forward`."""
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
