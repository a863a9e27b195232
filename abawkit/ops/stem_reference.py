"""The definition of the operator stem in plain PyTorch.

Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code; batch norm, Ioffe and Szegedy,
https://arxiv.org/abs/1502.03167; PReLU, He et al., https://arxiv.org/abs/1502.01852.
"""

from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.base import StemImplementation
from abawkit.ops.stem_tensors import FoldedStem, StemParameters, StemSizes, StemStatistics, fold_stem


class _SizedStem(NamedTuple):
    stem: FoldedStem
    sizes: StemSizes


class StemReference(StemImplementation):
    """Torch's own operators, on any device and for any type that torch has them for.

    z = prelu(BN(convolution of x)); y = prelu(BN(depthwise convolution of z)), with the norms folded.
    """

    name: ClassVar[str] = "reference"
    summary: ClassVar[str] = "plain PyTorch, the definition"
    priority: ClassVar[int] = 0

    def fold(
        self, parameters: StemParameters, statistics: StemStatistics, sizes: StemSizes, *, eps: float
    ) -> _SizedStem:
        """See `StemImplementation.fold`."""
        return _SizedStem(fold_stem(parameters, statistics, eps).to(parameters.weight.dtype), sizes)

    def infer(self, x: Tensor, folded: _SizedStem) -> Tensor:
        """See `StemImplementation.infer`."""
        s, sizes = folded
        z = F.prelu(F.conv2d(x, s.weight, s.bias, sizes.stride, sizes.kernel // 2), s.slope)
        y = F.conv2d(z, s.depthwise_weight, s.depthwise_bias, 1, sizes.depthwise // 2, groups=sizes.channels)
        return F.prelu(y, s.depthwise_slope)
