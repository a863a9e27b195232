"""The parameters and running statistics of a batch norm with PReLU, as tensors."""

from typing import NamedTuple

from torch import Tensor


class NormSizes(NamedTuple):
    """Sizes of the operator, except those of the batch and of the images, which may be any.

    Attributes:
        channels: C.
    """

    channels: int

    @property
    def operator(self) -> str:
        """The operator that has such sizes."""
        return "norm_prelu"

    def describe(self) -> str:
        """The sizes in words: ``64 channels``."""
        return f"{self.channels} channel{'s' if self.channels != 1 else ''}"


class NormParameters(NamedTuple):
    """The learned tensors, (C) each: scale and shift of the norm, and the slope of the PReLU."""

    scale: Tensor
    shift: Tensor
    slope: Tensor


class NormStatistics(NamedTuple):
    """Running mean and variance, (C) each."""

    mean: Tensor
    variance: Tensor
