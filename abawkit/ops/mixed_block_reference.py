"""The mixed block in plain PyTorch: the definition that every implementation is measured against.

Source: mixed depthwise convolutions, Tan and Le, https://arxiv.org/abs/1907.09595; coordinate attention, Hou et al.,
https://arxiv.org/abs/2103.02907; the block that joins them, Zhang et al., Electronics 12(17) 3595 (2023).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.base import BlockArguments, BlockImplementation
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics, FoldedBlock, fold_block

_Normalise = Callable[[Tensor], Tensor]


class _Folded(NamedTuple):
    """Weights with folded norms, and the sizes that don't follow from their shapes."""

    block: FoldedBlock
    sizes: BlockSizes
    bfloat16_products: bool


class BlockReference(BlockImplementation):
    """Torch's own operators, on any device and for any type that torch has them for.

    z = prelu(BN(expand(x))); t = depthwise convolution of z, each part of the channels with its own kernel size;
    s = hardswish(BN(squeeze(means of t over rows | over columns))); g = sigmoid(row_gate(s of rows)) and
    q = sigmoid(column_gate(s of columns)); y = BN(project(t g q)), and x + y where the block is residual. In evaluation
    without gradients the norms are folded. Where factors are rounded, these are the factors of expand and project.
    """

    name: ClassVar[str] = "reference"
    summary: ClassVar[str] = "plain PyTorch, the definition"
    priority: ClassVar[int] = 0
    synchronises: ClassVar[bool] = True

    def forward(self, arguments: BlockArguments) -> Tensor:
        """See `BlockImplementation.forward`."""
        x, p, statistics, training, stride, residual, momentum, eps, rounded = arguments
        means: tuple[Tensor | None, ...] = statistics[0::2] if statistics else (None,) * 3
        variances: tuple[Tensor | None, ...] = statistics[1::2] if statistics else (None,) * 3
        normalise = partial(F.batch_norm, training=training, momentum=momentum, eps=eps)
        z = normalise(multiply(x, p.expand_weight, rounded), means[0], variances[0], p.expand_scale, p.expand_shift)
        t = convolve_parts(F.prelu(z, p.slope), p.depthwise, stride)
        squeezed = F.conv2d(average_positions(t), p.squeeze_weight, p.squeeze_bias)
        squeezed = normalise(squeezed, means[1], variances[1], p.squeeze_scale, p.squeeze_shift)
        gates = p.row_gate_weight, p.row_gate_bias, p.column_gate_weight, p.column_gate_bias
        y = multiply(apply_gates(t, squeezed, *gates), p.project_weight, rounded)
        y = normalise(y, means[2], variances[2], p.project_scale, p.project_shift)
        return x + y if residual else y

    def fold(
        self,
        parameters: BlockParameters,
        statistics: BlockStatistics,
        sizes: BlockSizes,
        *,
        eps: float,
        bfloat16_products: bool = False,
    ) -> _Folded:
        """See `BlockImplementation.fold`."""
        dtype = parameters.expand_weight.dtype
        block = fold_block(parameters, statistics, eps)
        depthwise = tuple(w.to(dtype).unsqueeze(1) for w in block.depthwise)
        others = {
            name: value.to(dtype)[:, :, None, None] if value.dim() == 2 else value.to(dtype)
            for name, value in block._asdict().items()
            if name != "depthwise"
        }
        return _Folded(FoldedBlock(depthwise=depthwise, **others), sizes, bfloat16_products)

    def infer(self, x: Tensor, folded: _Folded) -> Tensor:
        """See `BlockImplementation.infer`."""
        b, sizes, rounded = folded
        z = F.prelu(multiply(x, b.expand_weight, rounded, b.expand_bias), b.slope)
        t = convolve_parts(z, b.depthwise, sizes.stride)
        squeezed = F.conv2d(average_positions(t), b.squeeze_weight, b.squeeze_bias)
        gates = b.row_gate_weight, b.row_gate_bias, b.column_gate_weight, b.column_gate_bias
        y = multiply(apply_gates(t, squeezed, *gates), b.project_weight, rounded, b.project_bias)
        return x + y if sizes.residual else y


def multiply(x: Tensor, weight: Tensor, rounded: bool, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution; where `rounded`, the factors of both passes are rounded to bfloat16, and nothing else is."""
    if not rounded:
        return F.conv2d(x, weight, bias)
    found: Tensor = _RoundGradient.apply(F.conv2d(_Round.apply(x), _Round.apply(weight)))  # type: ignore[no-untyped-call]
    return found if bias is None else found + bias[:, None, None]


class _Round(torch.autograd.Function):
    """Rounds to bfloat16, in the type that it was; gradients pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.to(torch.bfloat16).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        return gradient


class _RoundGradient(torch.autograd.Function):
    """Rounds the gradient alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        return gradient.to(torch.bfloat16).to(gradient.dtype)


def convolve_parts(z: Tensor, weights: Sequence[Tensor], stride: int) -> Tensor:
    """Convolves each part of the channels of `z` (N, E, H, W) depthwise, with its own kernel (c, 1, k, k)."""
    parts = torch.split(z, [len(w) for w in weights], dim=1)
    found = [
        F.conv2d(part, w, None, stride, w.shape[2] // 2, groups=len(w)) for part, w in zip(parts, weights, strict=True)
    ]
    return torch.cat(found, dim=1)


def average_positions(t: Tensor) -> Tensor:
    """The means of the rows of `t` (N, E, H, W), then those of its columns, (N, E, H + W, 1)."""
    return torch.cat([t.mean(3, keepdim=True), t.mean(2, keepdim=True).transpose(2, 3)], dim=2)


def apply_gates(
    t: Tensor, squeezed: Tensor, row_weight: Tensor, row_bias: Tensor, column_weight: Tensor, column_bias: Tensor
) -> Tensor:
    """Multiplies `t` (N, E, H, W) by the gates that follow from the normalised bottleneck (N, M, H + W, 1)."""
    rows, columns = torch.split(F.hardswish(squeezed), list(t.shape[2:]), dim=2)
    row_gates = F.conv2d(rows, row_weight, row_bias).sigmoid()
    column_gates = F.conv2d(columns, column_weight, column_bias).sigmoid().transpose(2, 3)
    return t * row_gates * column_gates
