"""The native mixed block in float32 on CPUs, compiled from ``csrc/`` (C++): training, evaluation with folded norms.

``csrc/kernels/mixed_block.h`` describes the layout of its folded weights: channels in blocks of 16, which the kernels
hold in vectors.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops import mixed_block_library as library
from abawkit.ops import native_library as binary
from abawkit.ops.base import BlockArguments, BlockImplementation, Call
from abawkit.ops.mixed_block_library import BLOCK, find_output_side
from abawkit.ops.mixed_block_reference import BlockReference
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics, FoldedBlock, fold_block
from abawkit.ops.processes import find_shared_batch


def pack(block: FoldedBlock, *, bfloat16: bool = False) -> Tensor:
    """The weights of a block, in the order of ``csrc/kernels/mixed_block.h``.

    Args:
        block: In any floating type, on any device.
        bfloat16: Whether those of expansion and projection are pairs in bfloat16.

    Returns:
        One dimension, float32, on the CPU.
    """
    channels = -(-len(block.expand_bias) // BLOCK) * BLOCK
    bottleneck = -(-len(block.squeeze_bias) // BLOCK) * BLOCK
    sections = (
        (
            _split_product(block.expand_weight, bfloat16),
            split_channels(block.expand_bias),
            split_channels(block.slope),
            _split_depthwise(block.depthwise),
        ),
        (split_channels(block.squeeze_weight, channels), split_channels(block.squeeze_bias)),
        (
            split_channels(block.row_gate_weight, bottleneck),
            split_channels(block.row_gate_bias),
            split_channels(block.column_gate_weight, bottleneck),
            split_channels(block.column_gate_bias),
        ),
        (_split_product(block.project_weight, bfloat16, channels), split_channels(block.project_bias)),
    )
    pieces = [piece for section in sections for together in zip(*section, strict=True) for piece in together]
    return torch.cat([piece.to("cpu", torch.float32).flatten() for piece in pieces])


def split_channels(weight: Tensor, columns: int | None = None) -> list[Tensor]:
    """(C, ...) of K values for each channel as blocks (K, 16); K is filled up with zeros to `columns`."""
    matrix = weight.reshape(len(weight), -1)
    missing = 0 if columns is None else columns - matrix.shape[1]
    filled = F.pad(matrix, (0, missing, 0, -len(matrix) % BLOCK))
    return [rows.T for rows in torch.split(filled, BLOCK)]


def _split_product(weight: Tensor, bfloat16: bool, columns: int | None = None) -> list[Tensor]:
    """As `split_channels`; in bfloat16, the bits of two neighbouring rows make up one of float32."""
    blocks = split_channels(weight, columns)
    if not bfloat16:
        return blocks
    even = [F.pad(block, (0, 0, 0, len(block) % 2)).to("cpu", torch.bfloat16) for block in blocks]
    paired = [block.view(-1, 2, BLOCK).transpose(1, 2).contiguous() for block in even]
    return [block.view(torch.float32).squeeze(2) for block in paired]


def _split_depthwise(parts: Sequence[Tensor]) -> list[Tensor]:
    """Kernels (c, k, k) of each part as blocks (K * K, 16): K is the largest k of a block, smaller k centred."""
    kernels = [kernel for part in parts for kernel in part]
    blocks: list[Tensor] = []
    for first in range(0, len(kernels), BLOCK):
        own = kernels[first : first + BLOCK]
        size = max(len(kernel) for kernel in own)
        blocks += split_channels(torch.stack([F.pad(kernel, [(size - len(kernel)) // 2] * 4) for kernel in own]))
    return blocks


class PackedBlock(NamedTuple):
    """Packed weights, and the sizes that don't follow from their shape, as the operator takes them."""

    weights: Tensor
    kernels: list[int]
    channels: list[int]
    outputs: int
    squeezed: int
    stride: int
    residual: bool
    bfloat16: bool


class NativeBlock(BlockImplementation):
    """Evaluation: a whole block in one call; what is between its input and its result stays in a thread's workspace.

    Training: forward and backward pass in one call each; the rest of what eager PyTorch would save is computed anew.
    The order of every sum is fixed, so that results don't depend on the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++, for evaluation and training on CPUs"
    priority: ClassVar[int] = 100
    synchronises: ClassVar[bool] = True

    def is_meant_for(self, call: Call) -> bool:
        """See `OperatorImplementation.is_meant_for`."""
        kind = call.device.type, call.dtype
        return kind == ("cpu", torch.float32) and (call.training or not call.gradients)

    def reasons(self, call: Call) -> list[str]:
        """See `OperatorImplementation.reasons`."""
        if not self.is_meant_for(call):
            return ["it is for training, and evaluation without gradients, in float32 on CPUs"]
        return binary.explain_missing_operator(f"mixed_block_{'forward' if call.training else 'infer'}")

    def fingerprint(self, device: torch.device) -> str:
        """See `OperatorImplementation.fingerprint`."""
        return f"{super().fingerprint(device)} {binary.digest_library()} {binary.read_instruction_set()}"

    def forward(self, arguments: BlockArguments) -> Tensor:
        """See `BlockImplementation.forward`; for training alone. The result is in channels_last."""
        x, parameters, statistics, training, stride, residual, momentum, eps, bfloat16 = arguments
        if not training:
            raise ValueError("the native mixed block is for training, and for evaluation without gradients by `infer`")
        images, _, height, width = x.shape
        rows, columns = find_output_side(height, stride), find_output_side(width, stride)
        if images * rows * columns < 2:  # no statistics: an empty result, or torch's own error
            return BlockReference().forward(arguments)
        x = x.contiguous(memory_format=torch.channels_last)
        shared = find_shared_batch()
        result, batch = library.train_block(
            x, parameters.flat, stride, residual, eps, bfloat16=bfloat16, synchronised=shared is not None
        )
        if statistics is not None:
            images = shared.rows if shared else images
            counts = [images * height * width, images * (rows + columns), images * rows * columns]
            library.move_statistics(statistics, batch, counts, momentum)
        return result

    def fold(
        self,
        parameters: BlockParameters,
        statistics: BlockStatistics,
        sizes: BlockSizes,
        *,
        eps: float,
        bfloat16_products: bool = False,
    ) -> PackedBlock:
        """See `BlockImplementation.fold`."""
        weights = pack(fold_block(parameters, statistics, eps), bfloat16=bfloat16_products)
        _, kernels, channels, outputs, squeezed, stride, residual = sizes
        return PackedBlock(
            weights, list(kernels), list(channels), outputs, squeezed, stride, residual, bfloat16_products
        )

    def infer(self, x: Tensor, folded: PackedBlock) -> Tensor:
        """See `BlockImplementation.infer`; the result is in channels_last."""
        found: Tensor = library.INFER(x, *folded)
        return found
