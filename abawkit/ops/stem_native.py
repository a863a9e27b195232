"""The native stem in float32 on CPUs, compiled from ``csrc/`` (C++).

``csrc/kernels/stem.h`` describes the layout of its folded weights.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops import stem_library as library
from abawkit.ops.base import Call, StemImplementation
from abawkit.ops.mixed_block_native import split_channels
from abawkit.ops.stem_tensors import FoldedStem, StemParameters, StemSizes, StemStatistics, fold_stem


def pack_stem(stem: FoldedStem) -> Tensor:
    """The weights of a stem, in the order of ``csrc/kernels/stem.h``.

    Args:
        stem: In any floating type, on any device.

    Returns:
        One dimension, float32, on the CPU.
    """
    # the channels of the input lie side by side
    ordered = stem._replace(weight=stem.weight.permute(0, 2, 3, 1))
    pieces = [piece for together in zip(*map(split_channels, ordered), strict=True) for piece in together]
    return torch.cat([piece.to("cpu", torch.float32).flatten() for piece in pieces])


class PackedStem(NamedTuple):
    """Packed weights, and the sizes that don't follow from their shape, as the operator takes them."""

    weights: Tensor
    channels: int
    kernel: int
    stride: int
    depthwise: int


class NativeStem(StemImplementation):
    """The whole stem in one call; what is between its two convolutions stays in a thread's workspace.

    The order of every sum is fixed, so that results don't depend on the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++, for evaluation on CPUs"
    priority: ClassVar[int] = 100

    def is_meant_for(self, call: Call) -> bool:
        """See `OperatorImplementation.is_meant_for`."""
        return (call.device.type, call.dtype) == ("cpu", torch.float32)

    def reasons(self, call: Call) -> list[str]:
        """See `OperatorImplementation.reasons`."""
        if not self.is_meant_for(call):
            return ["it is for float32 on CPUs"]
        return binary.explain_missing_operator("stem_infer")

    def fingerprint(self, device: torch.device) -> str:
        """See `OperatorImplementation.fingerprint`."""
        return f"{super().fingerprint(device)} {binary.digest_library()} {binary.read_instruction_set()}"

    def fold(
        self, parameters: StemParameters, statistics: StemStatistics, sizes: StemSizes, *, eps: float
    ) -> PackedStem:
        """See `StemImplementation.fold`."""
        weights = pack_stem(fold_stem(parameters, statistics, eps))
        return PackedStem(weights, sizes.channels, sizes.kernel, sizes.stride, sizes.depthwise)

    def infer(self, x: Tensor, folded: PackedStem) -> Tensor:
        """See `StemImplementation.infer`; the result is in channels_last."""
        found: Tensor = library.INFER_STEM(x, *folded)
        return found
