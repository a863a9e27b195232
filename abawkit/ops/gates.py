"""The gates of attention heads, and the distance between heads that is computed from them."""

from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.errors import ConfigError


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
    # made on the device: a copy from the host would wait for it, and can't be captured by a CUDA graph
    first, second = torch.triu_indices(heads, heads, 1, device=rows.device)
    p, r = rows[:, first], rows[:, second]
    q, s = columns[:, first], columns[:, second]
    d, e, a, b = p - r, q - s, (p + r) / 2, (q + s) / 2

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1)

    squares = dot(d, d) * dot(b, b) + 2 * dot(d, a) * dot(b, e) + dot(a, a) * dot(e, e)
    return squares.mean() / (rows.shape[-1] * columns.shape[-1])
