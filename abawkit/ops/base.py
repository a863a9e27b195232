"""Plug point: what an implementation of dual-direction attention must offer.

An implementation is a subclass of `Implementation` that is named in the entry-point group ``abawkit.ops`` of any
installed package; ``docs/how-to/add-an-operator.md`` has the steps.
"""

import hashlib
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import torch
from torch import Tensor

from abawkit.ops.tensors import Gates, Parameters, Sizes, Statistics

GROUP: Final = "abawkit.ops"


class Call(NamedTuple):
    """What an implementation is asked to serve.

    Attributes:
        device: Of the features; with its index, where it is a GPU.
        dtype: Of the features.
        sizes: Of the operator.
        training: Whether statistics of the batch are used.
        gradients: Whether gradients are wanted of anything.
    """

    device: torch.device
    dtype: torch.dtype
    sizes: Sizes
    training: bool
    gradients: bool


class Implementation(ABC):
    """One way to compute dual-direction attention; `abawkit.ops.reference` says what there is to compute.

    Attributes:
        name: What ``--ops`` and ``ABAWKIT_OPS`` call it: ``reference``, ``native``, or ``vendor/name``.
        summary: One line for listings.
        priority: The automatic choice takes the highest that can serve a call; the reference has 0, native 100.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    priority: ClassVar[int] = 50

    def reasons(self, call: Call) -> list[str]:
        """Why it can't serve a call, a phrase each; empty where it can."""
        del call
        return []

    def fingerprint(self, device: torch.device) -> str:
        """Identifies the code that serves a device: where it changes, the self-check is made again.

        The default is a digest of the file that defines the class. An implementation with a compiled part adds that of
        the part.
        """
        del device
        return hashlib.sha256(Path(inspect.getfile(type(self))).read_bytes()).hexdigest()

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        parameters: Parameters,
        statistics: Statistics | None,
        *,
        training: bool,
        momentum: float,
        eps: float,
        gates: bool,
    ) -> tuple[Tensor, Gates | None]:
        """Computes embedding and gates, differentiable in the features and in every parameter.

        Args:
            features: (N, C, H, W), any strides; N is at least 2 in training, and may be 0 else.
            parameters: Of the features' device; of their type or of float32.
            statistics: Running means and variances. In training they move towards those of the batch, in place; None
                leaves them out. In evaluation they are what is normalised with.
            training: Whether to normalise with the statistics of the batch.
            momentum: Share of the batch in the running statistics.
            eps: Added to variances.
            gates: Whether gates are wanted.

        Returns:
            The embedding (N, C), and the gates or None; all of the features' type.
        """

    def fold(self, parameters: Parameters, statistics: Statistics, *, eps: float) -> Any:
        """What `infer` wants to know of the weights. The result is kept for as long as they don't change."""
        return parameters, statistics, eps

    def infer(self, features: Tensor, folded: Any, *, gates: bool) -> tuple[Tensor, Gates | None]:
        """Evaluation without gradients, of what `fold` returned; see `forward`."""
        parameters, statistics, eps = folded
        return self.forward(features, parameters, statistics, training=False, momentum=0.0, eps=eps, gates=gates)
