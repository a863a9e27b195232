"""A mixed block's weights as the native operator `mixed_block_infer` reads them.

`csrc/kernels/mixed_block.h` describes the layout: channels in blocks of 16, which the kernels hold in vectors.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.block_tensors import FoldedBlock

BLOCK: Final = 16
"""Channels of a block; the last block of a tensor is filled up with zeros."""


def pack(block: FoldedBlock) -> Tensor:
    """The weights of a block, in the order of `csrc/kernels/mixed_block.h`.

    Args:
        block: In any floating type, on any device.

    Returns:
        One dimension, float32, on the CPU.
    """
    channels = -(-len(block.expand_bias) // BLOCK) * BLOCK
    bottleneck = -(-len(block.squeeze_bias) // BLOCK) * BLOCK
    sections = (
        (
            _split(block.expand_weight),
            _split(block.expand_bias),
            _split(block.slope),
            _split_depthwise(block.depthwise),
        ),
        (_split(block.squeeze_weight, channels), _split(block.squeeze_bias)),
        (
            _split(block.row_gate_weight, bottleneck),
            _split(block.row_gate_bias),
            _split(block.column_gate_weight, bottleneck),
            _split(block.column_gate_bias),
        ),
        (_split(block.project_weight, channels), _split(block.project_bias)),
    )
    pieces = [piece for section in sections for together in zip(*section, strict=True) for piece in together]
    return torch.cat([piece.to("cpu", torch.float32).flatten() for piece in pieces])


def _split(weight: Tensor, columns: int | None = None) -> list[Tensor]:
    """(C, K) or (C) as blocks (K, 16); K is filled up with zeros to `columns`."""
    matrix = weight.reshape(len(weight), -1)
    missing = 0 if columns is None else columns - matrix.shape[1]
    filled = F.pad(matrix, (0, missing, 0, -len(matrix) % BLOCK))
    return [rows.T for rows in torch.split(filled, BLOCK)]


def _split_depthwise(parts: Sequence[Tensor]) -> list[Tensor]:
    """Kernels (c, k, k) of each part as blocks (K * K, 16): K is the largest k of a block, smaller k centred."""
    kernels = [kernel for part in parts for kernel in part]
    blocks: list[Tensor] = []
    for first in range(0, len(kernels), BLOCK):
        own = kernels[first : first + BLOCK]
        size = max(len(kernel) for kernel in own)
        blocks += _split(torch.stack([F.pad(kernel, [(size - len(kernel)) // 2] * 4) for kernel in own]))
    return blocks
