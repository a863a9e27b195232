"""The parameters and running statistics of a stem, as tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.ops.folding import fold_batch_norm


class StemSizes(NamedTuple):
    """Sizes of a stem, except height and width, which may be any.

    Attributes:
        inputs: Channels of the input, I.
        channels: Channels of both convolutions, C.
        kernel: Kernel size of the first convolution, odd.
        depthwise: Kernel size of the depthwise convolution, odd.
        stride: Of the first convolution, 1 or 2.
    """

    inputs: int
    channels: int
    kernel: int = 3
    depthwise: int = 3
    stride: int = 2

    @property
    def operator(self) -> str:
        """The operator that has such sizes."""
        return "stem"

    def describe(self) -> str:
        """The sizes in words: ``3 to 64 channels, kernels 3 3, stride 2``."""
        words = f"{self.inputs} to {self.channels} channels, kernels {self.kernel} {self.depthwise}"
        return words + (f", stride {self.stride}" if self.stride != 1 else "")


class StemParameters(NamedTuple):
    """The learned tensors of a stem; sizes by the letters of `StemSizes`, kernel sizes k and K.

    Attributes:
        weight: (C, I, k, k), of the first convolution.
        scale: (C), the weight of the batch norm after it.
        shift: (C), the bias of that norm.
        slope: (C), of the PReLU after that.
        depthwise_weight: (C, 1, K, K).
        depthwise_scale: (C).
        depthwise_shift: (C).
        depthwise_slope: (C).
    """

    weight: Tensor
    scale: Tensor
    shift: Tensor
    slope: Tensor
    depthwise_weight: Tensor
    depthwise_scale: Tensor
    depthwise_shift: Tensor
    depthwise_slope: Tensor

    def find_sizes(self, *, stride: int) -> StemSizes:
        """The sizes that follow from the tensors' shapes, and the stride."""
        channels, inputs, kernel = self.weight.shape[:3]
        return StemSizes(inputs, channels, kernel, self.depthwise_weight.shape[2], stride)


class StemStatistics(NamedTuple):
    """Running means and variances of the two batch norms, (C) each."""

    mean: Tensor
    variance: Tensor
    depthwise_mean: Tensor
    depthwise_variance: Tensor


class FoldedStem(NamedTuple):
    """A stem whose batch norms are folded into the convolutions before them; shapes as in `StemParameters`."""

    weight: Tensor
    bias: Tensor
    slope: Tensor
    depthwise_weight: Tensor
    depthwise_bias: Tensor
    depthwise_slope: Tensor

    def to(self, dtype: torch.dtype) -> "FoldedStem":
        """The same in another type."""
        return FoldedStem(*(t.to(dtype) for t in self))


def fold_stem(parameters: StemParameters, statistics: StemStatistics, eps: float) -> FoldedStem:
    """Folds the batch norms of a stem, in float64; `eps` is added to the variances."""
    p, s = parameters, statistics
    first = fold_batch_norm(p.weight, None, p.scale, p.shift, *s[:2], eps)
    second = fold_batch_norm(p.depthwise_weight, None, p.depthwise_scale, p.depthwise_shift, *s[2:], eps)
    return FoldedStem(*first, p.slope.detach().double(), *second, p.depthwise_slope.detach().double())
