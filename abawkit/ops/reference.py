"""Dual-direction attention in plain PyTorch: the definition that every implementation is measured against.

Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code.
"""

from functools import partial, reduce
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.base import Arguments, Implementation
from abawkit.ops.tensors import Gates


class Reference(Implementation):
    """Torch's own operators, on any device and for any type that torch has them for.

    Per head: u = BN(sum of each row), v = BN(sum of each column), t = hardswish(BN(squeeze(u | v))), gates
    g = sigmoid(row_gate(t of rows)) and q = sigmoid(column_gate(t of columns)), map = g q'. The features times the
    maximum of the heads' maps go through a depthwise convolution of their own size and a batch norm.
    """

    name: ClassVar[str] = "reference"
    summary: ClassVar[str] = "plain PyTorch, the definition"
    priority: ClassVar[int] = 0
    synchronises: ClassVar[bool] = True

    @staticmethod
    def depthwise(x: Tensor, weight: Tensor) -> Tensor:
        """Convolves each channel of `x` (N, C, H, W) with its own kernel of `weight` (C, h, w), without padding."""
        return F.conv2d(x, weight.unsqueeze(1), groups=x.shape[1])

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        """See `Implementation.forward`."""
        features, p, statistics, training, momentum, eps, gates = arguments
        heads = len(p.row_weight)
        means: tuple[Tensor | None, ...] = statistics[0::2] if statistics else (None,) * 4
        variances: tuple[Tensor | None, ...] = statistics[1::2] if statistics else (None,) * 4
        normalise = partial(F.batch_norm, training=training, momentum=momentum, eps=eps)
        rows = torch.cat([self.depthwise(features, w.unsqueeze(1)) for w in p.row_weight], 1).flatten(2)
        rows = normalise(rows, means[0], variances[0], p.row_scale, p.row_shift)
        columns = torch.cat([self.depthwise(features, w.unsqueeze(2)) for w in p.column_weight], 1).flatten(2)
        columns = normalise(columns, means[1], variances[1], p.column_scale, p.column_shift)
        hidden = F.conv1d(torch.cat([rows, columns], dim=2), p.squeeze_weight, p.squeeze_bias, groups=heads)
        hidden = F.hardswish(normalise(hidden, means[2], variances[2], p.squeeze_scale, p.squeeze_shift))
        rows, columns = torch.split(hidden, list(features.shape[2:]), dim=2)
        rows = F.conv1d(rows, p.row_gate_weight, p.row_gate_bias, groups=heads)
        columns = F.conv1d(columns, p.column_gate_weight, p.column_gate_bias, groups=heads)
        channels = features.shape[1]
        found = Gates(*(g.sigmoid().view(-1, heads, channels, g.shape[2]) for g in (rows, columns)))
        strongest = reduce(torch.maximum, found.maps().unbind(1))
        pooled = self.depthwise(features * strongest, p.pool_weight).flatten(1)
        embedding = normalise(pooled, means[3], variances[3], p.pool_scale, p.pool_shift)
        return embedding, found if gates else None
