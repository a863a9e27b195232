"""Weights for evaluation: every batch norm multiplied into the weights before it, in the order that kernels read."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.parameters import Parameters, Statistics

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
