"""The blocks of the mixed feature network.

Source: mixed depthwise convolutions, Tan and Le, https://arxiv.org/abs/1907.09595; coordinate attention, Hou et al.,
https://arxiv.org/abs/2103.02907; the block that joins them, Zhang et al., Electronics 12(17) 3595 (2023).
"""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abawkit.models.config import Splits
from abawkit.ops import (
    BlockParameters,
    BlockStatistics,
    NormParameters,
    NormStatistics,
    StemParameters,
    StemStatistics,
    mixed_block,
    norm_prelu,
    prepare_block,
    stem,
)
from abawkit.ops.folding import FoldCache, ModuleTensors, fold_batch_norm
from abawkit.ops.precision import are_products_rounded, choose_call_dtype
from abawkit.ops.registry import find_request


def squeeze_width(channels: int) -> int:
    """The width of an attention's bottleneck: a 32nd of the channels, at least 8. Source: published code of DDAMFN."""
    return max(8, channels // 32)


def list_norm_tensors(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale, shift, running mean and running variance of a batch norm; not copies."""
    parameters, buffers = norm._parameters, norm._buffers  # attribute access would cost as much as a small operator
    return parameters["weight"], parameters["bias"], buffers["running_mean"], buffers["running_var"]  # type: ignore[return-value]


def can_train_natively(x: Tensor, *norms: nn.BatchNorm2d) -> bool:
    """Whether native training computes what modules with these norms do, and is worth it: on CPUs, norms alike."""
    if torch.compiler.is_compiling() or not x.is_cpu:
        return False
    plain = all(type(n) is nn.BatchNorm2d and n.training and n.num_batches_tracked is not None for n in norms)
    kinds = {(norm.momentum, norm.eps, norm.track_running_stats) for norm in norms}
    return plain and len(kinds) == 1 and norms[0].momentum is not None


def count_batch(*norms: nn.BatchNorm2d) -> None:
    """Counts a batch in the norms that keep running statistics."""
    for norm in norms:
        if norm.track_running_stats:
            norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class FoldingModule(nn.Module):
    """A module that keeps its weights with batch norms folded in, for evaluation without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self._folded = FoldCache()

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, and drops folded weights, so that stale ones can't outlive training."""
        self._folded.clear()
        return super().train(mode)


class LinearBlock(FoldingModule):
    """A convolution without bias and a batch norm: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).

    In evaluation without gradients the norm is folded into the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves and normalises."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            normalised: Tensor = self.norm(self.conv(x))
            return normalised
        weight, norm = self.conv.weight, list_norm_tensors(self.norm)
        folded, bias = self._folded.get(self.norm.eps, (weight, *norm), lambda: self._fold(weight, norm))
        convolved: Tensor = self.conv._conv_forward(x, folded, bias)
        return convolved

    def _fold(self, weight: Tensor, norm: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        folded, bias = fold_batch_norm(weight, None, *norm, self.norm.eps)
        return folded.to(weight.dtype), bias.to(weight.dtype)


class ConvBlock(LinearBlock):
    """A linear block and a PReLU with a slope for each channel.

    In training on CPUs, norm and PReLU are the operator `abawkit.ops.norm_prelu`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups)
        self.activation = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, normalises and activates."""
        if not (self.training and can_train_natively(x, self.norm)):
            activated: Tensor = self.activation(super().forward(x))
            return activated
        norm, (scale, shift, *running) = self.norm, list_norm_tensors(self.norm)
        found = norm_prelu(
            self.conv(x),
            NormParameters(scale, shift, self.activation.weight),
            NormStatistics(*running) if norm.track_running_stats else None,
            training=True,
            momentum=norm.momentum or 0.0,
            eps=norm.eps,
        )
        count_batch(norm)
        return found


class Stem(FoldingModule, nn.Sequential):
    """A convolution with stride 2 and a depthwise one: (N, 3, H, W) -> (N, channels, H / 2, W / 2).

    In evaluation without gradients they are the operator `abawkit.ops.stem`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.append(ConvBlock(3, channels, 3, stride=2))
        self.append(ConvBlock(channels, channels, 3, groups=channels))

    def operands(self) -> tuple[StemParameters, StemStatistics]:
        """The tensors that `abawkit.ops.stem` takes beside the input; not copies."""
        blocks: list[Any] = list(self)
        norms = [list_norm_tensors(block.norm) for block in blocks]
        parameters = [
            t
            for block, norm in zip(blocks, norms, strict=True)
            for t in (block.conv.weight, *norm[:2], block.activation.weight)
        ]
        return StemParameters(*parameters), StemStatistics(*(t for norm in norms for t in norm[2:]))

    def forward(self, x: Tensor) -> Tensor:
        """Applies both convolutions, with their norms and PReLUs."""
        first, second = self
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            activated: Tensor = second(first(x))
            return activated
        eps: float = first.norm.eps  # type: ignore[assignment, union-attr]
        return stem(x, *self.operands(), stride=2, eps=eps, cache=self._folded)


class MixedDepthwise(nn.Module):
    """Depthwise convolutions with a kernel size for each part of the channels: (N, C, H, W) -> (N, C, H', W')."""

    def __init__(self, splits: Splits, *, stride: int = 1) -> None:
        super().__init__()
        self.widths = [channels for _, channels in splits]
        self.parts = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False)
            for kernel, channels in splits
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolves each part of the channels with its own kernel size."""
        parts = torch.split(x, self.widths, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.parts, parts, strict=True)], dim=1)


class CoordinateAttention(nn.Module):
    """Scales features by a gate for each row and a gate for each column: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze_width(channels), 1)
        self.norm = nn.BatchNorm2d(squeeze_width(channels))
        self.row_gate = nn.Conv2d(squeeze_width(channels), channels, 1)
        self.column_gate = nn.Conv2d(squeeze_width(channels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies `x` by its row gates (N, C, H, 1) and its column gates (N, C, 1, W), both in 0..1."""
        height, width = x.shape[2:]
        positions = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = torch.split(F.hardswish(self.norm(self.squeeze(positions))), [height, width], dim=2)
        row_gates = self.row_gate(rows).sigmoid()
        column_gates = self.column_gate(columns).sigmoid().transpose(2, 3)
        gated: Tensor = x * row_gates * column_gates
        return gated


class MixedBlock(FoldingModule):
    """Expansion, mixed depthwise convolution, coordinate attention, projection; its input is added where it can be.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride). In evaluation without gradients, and in training on CPUs,
    it is the operator `abawkit.ops.mixed_block`.
    """

    def __init__(self, inputs: int, outputs: int, splits: Splits, *, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        expanded = sum(channels for _, channels in splits)
        self.residual, self.stride = residual, stride
        self._tensors = ModuleTensors()
        self.expand = ConvBlock(inputs, expanded)
        self.depthwise = MixedDepthwise(splits, stride=stride)
        self.attention = CoordinateAttention(expanded)
        self.project = LinearBlock(expanded, outputs)

    def operands(self) -> tuple[BlockParameters, BlockStatistics]:
        """The tensors that `abawkit.ops.mixed_block` takes beside the input; not copies."""
        # Straight from the modules' own dictionaries: attribute access would cost a small block its half.
        own: dict[str, Any] = self._modules
        expand, attention, project = (own[name]._modules for name in ("expand", "attention", "project"))
        first, inner, last = (list_norm_tensors(part["norm"]) for part in (expand, attention, project))
        squeeze, row_gate, column_gate = (
            attention[name]._parameters for name in ("squeeze", "row_gate", "column_gate")
        )
        parameters = BlockParameters(
            expand["conv"]._parameters["weight"],
            *first[:2],
            expand["activation"]._parameters["weight"],
            squeeze["weight"],
            squeeze["bias"],
            *inner[:2],
            row_gate["weight"],
            row_gate["bias"],
            column_gate["weight"],
            column_gate["bias"],
            project["conv"]._parameters["weight"],
            *last[:2],
            [part._parameters["weight"] for part in own["depthwise"].parts._modules.values()],
        )
        return parameters, BlockStatistics(*first[2:], *inner[2:], *last[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block."""
        if not self._is_operator(x):
            y: Tensor = self.project(self.attention(self.depthwise(self.expand(x))))
            return x + y if self.residual else y
        if not self.training:
            return self._prepare(x)(x)
        parameters, statistics = self.operands()
        norm, kind = self.expand.norm, (self.stride, self.residual)
        moved, momentum = statistics if norm.track_running_stats else None, norm.momentum or 0.0
        result = mixed_block(x, parameters, moved, *kind, training=True, momentum=momentum, eps=norm.eps)
        count_batch(*self._norms())
        return result

    def _prepare(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The operator's evaluation of inputs such as `x`, with folded weights; kept until one of them changes."""
        eps: float = self._modules["expand"]._modules["norm"].eps  # type: ignore[assignment, union-attr]
        kind = x.device, choose_call_dtype(x), are_products_rounded(x)
        key = find_request(), kind, self.stride, self.residual, eps

        def prepare() -> Callable[[Tensor], Tensor]:
            return prepare_block(x, *self.operands(), self.stride, self.residual, eps=eps)

        found: Callable[[Tensor], Tensor] = self._folded.get(key, self._tensors.find(self), prepare)
        return found

    def _norms(self) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d]:
        return self.expand.norm, self.attention.norm, self.project.norm

    def _is_operator(self, x: Tensor) -> bool:
        """Whether the operator computes what the modules do, and is worth it; elsewhere the modules run."""
        if self.training:
            return can_train_natively(x, *self._norms())
        return not (torch.compiler.is_compiling() or torch.is_grad_enabled())
