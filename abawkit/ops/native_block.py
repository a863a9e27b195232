"""The mixed block from ``csrc/`` (C++), for evaluation in float32 on CPUs, with the batch norms folded."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops.base import BlockArguments, BlockImplementation, Call
from abawkit.ops.block_tensors import BlockParameters, BlockSizes, BlockStatistics, fold_block
from abawkit.ops.mixed_block_native import pack
from abawkit.system.native_build import COMMAND


class PackedBlock(NamedTuple):
    """Packed weights, and the sizes that don't follow from their shape, as the operator takes them."""

    weights: Tensor
    kernels: list[int]
    channels: list[int]
    outputs: int
    squeezed: int
    stride: int
    residual: bool


class NativeBlock(BlockImplementation):
    """One pass over the input; nothing between expansion and projection is kept in memory.

    The order of every sum is fixed, so that results don't depend on the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++, for evaluation on CPUs"
    priority: ClassVar[int] = 100

    def is_meant_for(self, call: Call) -> bool:
        """See `OperatorImplementation.is_meant_for`."""
        kind = call.device.type, call.dtype
        return kind == ("cpu", torch.float32) and not (call.training or call.gradients)

    def reasons(self, call: Call) -> list[str]:
        """See `OperatorImplementation.reasons`."""
        if not self.is_meant_for(call):
            return ["it is for evaluation in float32 on CPUs, without gradients"]
        if reason := binary.load():
            return [reason]
        if not torch._C._dispatch_has_kernel_for_dispatch_key("abawkit::mixed_block_infer", "CPU"):
            return [f"the binary is older than this operator; rebuild: {COMMAND}"]
        return []

    def fingerprint(self, device: torch.device) -> str:
        """See `OperatorImplementation.fingerprint`."""
        return f"{super().fingerprint(device)} {binary.digest_library()} {binary.read_instruction_set()}"

    def forward(self, arguments: BlockArguments) -> Tensor:
        """See `BlockImplementation.forward`; for evaluation alone."""
        x, parameters, statistics, training, stride, residual, _, eps = arguments
        if training or statistics is None:
            raise ValueError("the native mixed block is for evaluation with running statistics")
        sizes = parameters.find_sizes(stride=stride, residual=residual)
        return self.infer(x, self.fold(parameters, statistics, sizes, eps=eps))

    def fold(
        self, parameters: BlockParameters, statistics: BlockStatistics, sizes: BlockSizes, *, eps: float
    ) -> PackedBlock:
        """See `BlockImplementation.fold`."""
        weights = pack(fold_block(parameters, statistics, eps))
        _, kernels, channels, outputs, squeezed, stride, residual = sizes
        return PackedBlock(weights, list(kernels), list(channels), outputs, squeezed, stride, residual)

    def infer(self, x: Tensor, folded: PackedBlock) -> Tensor:
        """See `BlockImplementation.infer`; the result is in channels_last."""
        found: Tensor = torch.ops.abawkit.mixed_block_infer(x, *folded)
        return found
