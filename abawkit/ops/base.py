"""Plug point: the arguments of the operators, and what an implementation of each must offer.

An implementation of dual-direction attention is a subclass of `Implementation` in the entry-point group ``abawkit.ops``
of any installed package, one of the mixed block a subclass of `BlockImplementation` in ``abawkit.ops.mixed_block``, one
of norm_prelu a subclass of `NormImplementation` in ``abawkit.ops.norm_prelu``, one of the stem a subclass of
`StemImplementation` in ``abawkit.ops.stem``. ``docs/how-to/add-an-operator.md`` has the steps.
"""

import hashlib
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import torch
from torch import Tensor

from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics
from abawkit.ops.norm_prelu_tensors import NormParameters, NormSizes, NormStatistics
from abawkit.ops.stem_tensors import StemParameters, StemSizes, StemStatistics
from abawkit.ops.tensors import Gates, Parameters, Sizes, Statistics

MOMENTUM: Final = 0.1
EPS: Final = 1e-5


class Arguments(NamedTuple):
    """The arguments of one call of the operator; `abawkit.ops.dual_direction_attention` has checked them.

    Attributes:
        features: (N, C, H, W), any strides; N is at least 2 in training, and may be 0 in evaluation.
        parameters: On the features' device; of their type or of float32.
        statistics: Running means and variances. In training they move towards those of the batch, in place; None
            leaves them out. In evaluation they are what is normalised with.
        training: Whether to normalise with the statistics of the batch.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
        gates: Whether to return the gates.
    """

    features: Tensor
    parameters: Parameters
    statistics: Statistics | None
    training: bool
    momentum: float = MOMENTUM
    eps: float = EPS
    gates: bool = True


class BlockArguments(NamedTuple):
    """The arguments of one call of the mixed block; `abawkit.ops.mixed_block` has checked them.

    Attributes:
        x: (N, inputs, H, W), any strides; N may be 0 in evaluation.
        parameters: On the device of `x`; of its type or of float32.
        statistics: Running means and variances. In training they move towards those of the batch, in place; None
            leaves them out. In evaluation they are what is normalised with.
        training: Whether to normalise with the statistics of the batch.
        stride: Of the depthwise convolution, 1 or 2.
        residual: Whether to add `x` to the result.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
        bfloat16_products: Whether to round the factors of the products with the weights of expansion and projection,
            and in the backward pass those of their gradients, to bfloat16; `x` is float32 then.
    """

    x: Tensor
    parameters: BlockParameters
    statistics: BlockStatistics | None
    training: bool
    stride: int = 1
    residual: bool = False
    momentum: float = MOMENTUM
    eps: float = EPS
    bfloat16_products: bool = False


class NormArguments(NamedTuple):
    """The arguments of one call of norm_prelu; `abawkit.ops.norm_prelu` has checked them.

    Attributes:
        x: (N, C, H, W), any strides.
        parameters: On the device of `x`; of its type or of float32.
        statistics: Running mean and variance. In training they move towards those of the batch, in place; None leaves
            them out. In evaluation they are what is normalised with.
        training: Whether to normalise with the statistics of the batch.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
    """

    x: Tensor
    parameters: NormParameters
    statistics: NormStatistics | None
    training: bool
    momentum: float = MOMENTUM
    eps: float = EPS


class Call(NamedTuple):
    """A kind of call, by which an implementation is chosen.

    Attributes:
        device: Of the features; with its index, where it is a GPU.
        dtype: Of the features.
        sizes: Of the operator, which they also name.
        training: Whether statistics of the batch are used.
        gradients: Whether any gradient is needed.
        bfloat16_products: As in `BlockArguments`.
        synchronised: Whether batch norms take the statistics of all processes; see `abawkit.ops.processes`.
    """

    device: torch.device
    dtype: torch.dtype
    sizes: Sizes | BlockSizes | NormSizes | StemSizes
    training: bool
    gradients: bool
    bfloat16_products: bool = False
    synchronised: bool = False

    def describe(self) -> str:
        """The call in words: ``training of float32 on cpu, with gradients, 512 x 7 x 7, 2 heads``."""
        mode, dtype = "training" if self.training else "evaluation", str(self.dtype).removeprefix("torch.")
        dtype += " with bfloat16 products" if self.bfloat16_products else ""
        norms = "with synchronised batch norms, " if self.synchronised else ""
        gradients = "with" if self.gradients else "without"
        return f"{mode} of {dtype} on {self.device}, {norms}{gradients} gradients, {self.sizes.describe()}"


class OperatorImplementation(ABC):
    """One way to compute an operator.

    Attributes:
        name: Its name for ``--ops`` and ``ABAWKIT_OPS``: ``reference``, ``native``, or ``vendor/name``.
        summary: One line for listings.
        priority: The automatic choice takes the highest that can serve a call; the reference has 0, native 100.
        synchronises: Whether its batch norms in training take the statistics of all processes of
            `abawkit.ops.processes.share_batch`, and their gradients too. Where they don't, it is not asked for such
            calls. Those of `torch.nn.functional.batch_norm` do.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    priority: ClassVar[int] = 50
    synchronises: ClassVar[bool] = False

    def reasons(self, call: Call) -> list[str]:
        """Why it can't serve a call, a phrase each; empty where it can."""
        del call
        return []

    def is_meant_for(self, call: Call) -> bool:
        """Whether it was made for such calls at all.

        Where it was not, it is passed over without a warning, also where it was requested for all operators by
        ``--ops`` or ``ABAWKIT_OPS``. `reasons` names what it was made for.
        """
        del call
        return True

    def fingerprint(self, device: torch.device) -> str:
        """Identifies the code that serves a device: when it changes, the self-check runs again.

        The default is a digest of the file that defines the class. An implementation with a compiled part adds the
        digest of that part.
        """
        del device
        return hashlib.sha256(Path(inspect.getfile(type(self))).read_bytes()).hexdigest()


class Implementation(OperatorImplementation):
    """One way to compute dual-direction attention, which `abawkit.ops.reference` defines."""

    @abstractmethod
    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        """Computes the embedding (N, C) and the gates, or None for the gates where they are not wanted.

        Both are of the features' type, and differentiable in the features and in every parameter.
        """

    def fold(self, parameters: Parameters, statistics: Statistics, *, eps: float) -> Any:
        """Prepares weights for `infer`. The result is kept for as long as they don't change."""
        return parameters, statistics, eps

    def infer(self, features: Tensor, folded: Any, *, gates: bool) -> tuple[Tensor, Gates | None]:
        """Evaluates without gradients, with the result of `fold`; see `forward`."""
        parameters, statistics, eps = folded
        return self.forward(Arguments(features, parameters, statistics, training=False, eps=eps, gates=gates))


class BlockImplementation(OperatorImplementation):
    """One way to compute the mixed block, which `abawkit.ops.mixed_block_reference` defines."""

    @abstractmethod
    def forward(self, arguments: BlockArguments) -> Tensor:
        """Computes the block (N, outputs, H / stride, W / stride), rounded up; differentiable in `x` and parameters."""

    def fold(
        self,
        parameters: BlockParameters,
        statistics: BlockStatistics,
        sizes: BlockSizes,
        *,
        eps: float,
        bfloat16_products: bool = False,
    ) -> Any:
        """Prepares weights for `infer`. The result is kept for as long as they don't change."""
        del bfloat16_products
        return BlockArguments(torch.empty(0), parameters, statistics, False, sizes.stride, sizes.residual, eps=eps)

    def infer(self, x: Tensor, folded: Any) -> Tensor:
        """Evaluates without gradients, with the result of `fold`; see `forward`."""
        arguments: BlockArguments = folded
        return self.forward(arguments._replace(x=x))


class NormImplementation(OperatorImplementation):
    """One way to compute a batch norm with PReLU, which `abawkit.ops.norm_prelu_reference` defines."""

    @abstractmethod
    def forward(self, arguments: NormArguments) -> Tensor:
        """Computes the result, of the shape of `x`; differentiable in `x` and parameters."""


class StemImplementation(OperatorImplementation):
    """One way to compute the stem in evaluation, which `abawkit.ops.stem_reference` defines."""

    @abstractmethod
    def fold(self, parameters: StemParameters, statistics: StemStatistics, sizes: StemSizes, *, eps: float) -> Any:
        """Prepares weights for `infer`. The result is kept for as long as they don't change."""

    @abstractmethod
    def infer(self, x: Tensor, folded: Any) -> Tensor:
        """Computes (N, channels, H / stride, W / stride), rounded up, with the result of `fold`, without gradients."""
