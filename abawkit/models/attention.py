"""Dual-direction attention (DDA), which turns features into an embedding, and the distance between its heads.

Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code.
"""

from functools import reduce
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abawkit.errors import ConfigError
from abawkit.models.layers import squeezed


class Gates(NamedTuple):
    """The attention maps as what they are made of: map k of channel c is the outer product of two vectors.

    Attributes:
        rows: (N, K, C, H), in 0..1.
        columns: (N, K, C, W), in 0..1.
    """

    rows: Tensor
    columns: Tensor

    def maps(self) -> Tensor:
        """The attention maps (N, K, C, H, W), for those who want to look at them."""
        return self.rows.unsqueeze(-1) * self.columns.unsqueeze(-2)


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Convolves each channel of `x` (N, C, H, W) with its own kernel of `weight` (C, h, w), without padding."""
    return F.conv2d(x, weight.unsqueeze(1), groups=x.shape[1])


class DualDirectionAttention(nn.Module):
    """K attention heads, their maximum, its product with the features, and a global depthwise convolution (GDConv).

    Parameters of all heads lie in one tensor, head after head, so that one operator serves any number of heads.

    Attributes:
        row_weight: (K, C, W): sums a row of the features to one number.
        column_weight: (K, C, H): sums a column.
        pool_weight: (C, H, W): the global depthwise convolution.
    """

    def __init__(self, channels: int, height: int, width: int, heads: int) -> None:
        super().__init__()
        inner = squeezed(channels)
        self.heads = heads
        self.row_weight = nn.Parameter(torch.empty(heads, channels, width))
        self.column_weight = nn.Parameter(torch.empty(heads, channels, height))
        self.row_norm = nn.BatchNorm1d(heads * channels)
        self.column_norm = nn.BatchNorm1d(heads * channels)
        self.squeeze = nn.Conv1d(heads * channels, heads * inner, 1, groups=heads)
        self.squeeze_norm = nn.BatchNorm1d(heads * inner)
        self.row_gate = nn.Conv1d(heads * inner, heads * channels, 1, groups=heads)
        self.column_gate = nn.Conv1d(heads * inner, heads * channels, 1, groups=heads)
        self.pool_weight = nn.Parameter(torch.empty(channels, height, width))
        self.pool_norm = nn.BatchNorm1d(channels)

    def gates(self, x: Tensor) -> Gates:
        """The gates of every head for features (N, C, H, W)."""
        height, width = x.shape[2:]
        rows = self.row_norm(torch.cat([_depthwise(x, w.unsqueeze(1)) for w in self.row_weight], 1).flatten(2))
        columns = self.column_norm(torch.cat([_depthwise(x, w.unsqueeze(2)) for w in self.column_weight], 1).flatten(2))
        hidden = F.hardswish(self.squeeze_norm(self.squeeze(torch.cat([rows, columns], dim=2))))
        rows, columns = torch.split(hidden, [height, width], dim=2)
        return Gates(
            self.row_gate(rows).sigmoid().unflatten(1, (self.heads, -1)),
            self.column_gate(columns).sigmoid().unflatten(1, (self.heads, -1)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Gates]:
        """Turns features (N, C, H, W) into an embedding (N, C) and the gates that led to it."""
        gates = self.gates(x)
        strongest = reduce(torch.maximum, gates.maps().unbind(1))
        return self.pool_norm(_depthwise(x * strongest, self.pool_weight).flatten(1)), gates


def attention_mse(gates: Gates) -> Tensor:
    """The mean squared difference of two heads' attention maps, averaged over all pairs of heads.

    No map is formed. With d = p - r, e = q - s and the means a = (p + r) / 2, b = (q + s) / 2 of two heads' gates,
    p q' - r s' = d b' + a e', so the sum of its squares is |d|^2 |b|^2 + 2 (d.a) (b.e) + |a|^2 |e|^2. This equals
    |p|^2 |q|^2 - 2 (p.r) (q.s) + |r|^2 |s|^2, which cancels catastrophically where the heads are alike.

    Args:
        gates: Gates of at least two heads, of any floating type; computed in float32 at least.

    Returns:
        A scalar, at least 0.

    Raises:
        ConfigError: If there is one head only, so that there is no pair to compare.

    Source: the distance is that of the attention loss in Zhang et al., Electronics 12(17) 3595 (2023).
    """
    heads = gates.rows.shape[1]
    if heads < 2:
        raise ConfigError("the attention loss compares heads: this network has 1, use attention_heads = 2 or more")
    rows, columns = (g if g.dtype == torch.float64 else g.float() for g in gates)
    pairs = torch.tensor(list(combinations(range(heads), 2)), device=rows.device)
    p, r = rows[:, pairs[:, 0]], rows[:, pairs[:, 1]]
    q, s = columns[:, pairs[:, 0]], columns[:, pairs[:, 1]]
    d, e, a, b = p - r, q - s, (p + r) / 2, (q + s) / 2

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1)

    squares = dot(d, d) * dot(b, b) + 2 * dot(d, a) * dot(b, e) + dot(a, a) * dot(e, e)
    return squares.mean() / (rows.shape[-1] * columns.shape[-1])
