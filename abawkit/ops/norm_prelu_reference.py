"""The definition of the operator norm_prelu in plain PyTorch.

Source: batch norm, Ioffe and Szegedy, https://arxiv.org/abs/1502.03167; PReLU, He et al.,
https://arxiv.org/abs/1502.01852.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from abawkit.ops.base import NormArguments, NormImplementation


class NormReference(NormImplementation):
    """Torch's own operators, on any device and for any type that torch has them for: prelu(BN(x))."""

    name: ClassVar[str] = "reference"
    summary: ClassVar[str] = "plain PyTorch, the definition"
    priority: ClassVar[int] = 0
    synchronises: ClassVar[bool] = True

    def forward(self, arguments: NormArguments) -> Tensor:
        """See `NormImplementation.forward`."""
        x, (scale, shift, slope), statistics, training, momentum, eps = arguments
        mean, variance = statistics or (None, None)
        return F.prelu(F.batch_norm(x, mean, variance, scale, shift, training, momentum, eps), slope)
