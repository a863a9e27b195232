"""Variants of the reference for `torch.compile`, of which the fastest is compared with implementations."""

from collections.abc import Callable
from functools import reduce
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.base import EPS, Arguments
from abawkit.ops.reference import Reference
from abawkit.ops.tensors import Parameters, Statistics, fold_batch_norms
from abawkit.ops.testing import Inputs
from abawkit.ops.timing import Rotation, read_cache_bytes

COMPILED: Final = "torch.compile"
"""Prefix of the variants' names."""

Variant = Callable[[Tensor], tuple[Tensor, ...]]


def make_evaluation_variants(inputs: Inputs, given: Rotation, eps: float = EPS) -> dict[str, Callable[[], Tensor]]:
    """Compiled evaluation, for features of one size: with and without folded batch norms, in both memory formats.

    Features of `given` are in the format of the benchmark; copies in channels_last are made here, outside the measured
    time.

    Args:
        inputs: Parameters, statistics, and features to copy.
        given: The features, in turn.
        eps: Of the batch norms.
    """
    features, parameters, statistics = inputs
    reference = Reference()
    folded = fold(parameters, statistics, eps)

    def plain(x: Tensor) -> Tensor:
        return reference.forward(Arguments(x, parameters, statistics, training=False, eps=eps, gates=False))[0]

    def convolved(x: Tensor) -> Tensor:
        return folded_attention(x, folded)

    def summed(x: Tensor) -> Tensor:
        return folded_attention(x, folded, sums=True)

    last = Rotation(features.contiguous(memory_format=torch.channels_last), read_cache_bytes(features.device))
    result: dict[str, Callable[[], Tensor]] = {}
    for name, function in (("", plain), (", folded", convolved), (", folded, sums", summed)):
        traced = torch.compile(function, fullgraph=True, dynamic=False)
        result[f"{COMPILED}{name}"] = _bind_features(traced, given)
        result[f"{COMPILED}{name}, channels_last"] = _bind_features(traced, last)
    return result


def _bind_features(function: Callable[[Tensor], Tensor], features: Rotation) -> Callable[[], Tensor]:
    return lambda: function(features())


def make_training_variants(inputs: Inputs) -> dict[str, Variant]:
    """Compiled training, for features of one size and format."""
    _, parameters, statistics = inputs

    def variant(reference: Reference) -> Variant:
        def attend(x: Tensor) -> tuple[Tensor, ...]:
            found, gates = reference.forward(Arguments(x, parameters, statistics, training=True))
            return (found, *gates) if gates else (found,)

        return torch.compile(attend, fullgraph=True, dynamic=False)

    return {COMPILED: variant(Reference()), f"{COMPILED}, sums": variant(_Summed())}


class _Summed(Reference):
    """The reference with depthwise convolutions written as products and sums, which a compiler can fuse."""

    @staticmethod
    def depthwise(x: Tensor, weight: Tensor) -> Tensor:
        h, w = weight.shape[1:]
        if h == 1 or w == 1:
            return (x * weight).sum(3 if h == 1 else 2, keepdim=True)
        return (x * weight).sum((2, 3), keepdim=True)


def fold(parameters: Parameters, statistics: Statistics, eps: float) -> tuple[Tensor, ...]:
    """Folds the batch norms, and adds the gates' parameters, for `folded_attention`.

    Returns:
        Weights and biases: rows (K * C, W) and (K * C), columns, squeeze, pool; of the parameters' type.
    """
    p = parameters
    folded = [t for pair in fold_batch_norms(p, statistics, eps) for t in pair]
    gates = [p.row_gate_weight, p.row_gate_bias, p.column_gate_weight, p.column_gate_bias]
    return tuple(t.detach().to(p.row_weight.dtype).contiguous() for t in (*folded, *gates))


def folded_attention(x: Tensor, folded: tuple[Tensor, ...], *, sums: bool = False) -> Tensor:
    """Evaluation with folded batch norms, in torch's own operators.

    Args:
        x: Features (N, C, H, W).
        folded: From `fold`.
        sums: Whether depthwise convolutions are written as products and sums, which a compiler can fuse.
    """
    rw, rb, cw, cb, sw, sb, pw, pb, gw, gb, qw, qb = folded
    n, c, h, w = x.shape
    heads = len(rw) // c
    if sums:
        rows = torch.cat([(x * part[:, None, :]).sum(3) for part in rw.view(heads, c, w)], 1) + rb[:, None]
        columns = torch.cat([(x * part[:, :, None]).sum(2) for part in cw.view(heads, c, h)], 1) + cb[:, None]
    else:
        parts = rw.view(heads, c, 1, 1, w), rb.view(heads, c), cw.view(heads, c, 1, h, 1), cb.view(heads, c)
        rows = torch.cat([F.conv2d(x, k, b, groups=c) for k, b in zip(*parts[:2], strict=True)], 1).flatten(2)
        columns = torch.cat([F.conv2d(x, k, b, groups=c) for k, b in zip(*parts[2:], strict=True)], 1).flatten(2)
    hidden = F.hardswish(F.conv1d(torch.cat([rows, columns], 2), sw, sb, groups=heads))
    rows, columns = torch.split(hidden, [h, w], dim=2)
    rows = F.conv1d(rows, gw, gb, groups=heads).sigmoid().view(n, heads, c, h, 1)
    columns = F.conv1d(columns, qw, qb, groups=heads).sigmoid().view(n, heads, c, 1, w)
    weighted = x * reduce(torch.maximum, (rows * columns).unbind(1))
    if sums:
        return (weighted * pw).sum((2, 3)) + pb
    return F.conv2d(weighted, pw.unsqueeze(1), pb, groups=c).flatten(1)
