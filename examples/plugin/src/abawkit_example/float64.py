"""Dual-direction attention in float64, whatever the type of its input."""

from typing import ClassVar

import torch
from torch import Tensor

from abawkit.ops import Gates, Parameters, Statistics
from abawkit.ops.base import Arguments, Call, Implementation
from abawkit.ops.reference import Reference


class Float64(Implementation):
    """The reference, computed in float64 and rounded once, at the end. It is slow, and is never chosen by itself."""

    name: ClassVar[str] = "example/float64"
    summary: ClassVar[str] = "the reference in float64, to see what rounding does"
    priority: ClassVar[int] = -1

    def reasons(self, call: Call) -> list[str]:
        """See `Implementation.reasons`."""
        return [] if call.device.type in ("cpu", "cuda") else [f"{call.device.type} has no float64"]

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        """See `Implementation.forward`."""
        features, parameters, statistics, *_ = arguments
        # copies, even of float64: the backward pass needs them as they are
        exact = Statistics(*(t.to(torch.float64, copy=True) for t in statistics)) if statistics else None
        wide = arguments._replace(
            features=features.double(), parameters=Parameters(*(p.double() for p in parameters)), statistics=exact
        )
        embedding, found = Reference().forward(wide)
        if arguments.training and statistics and exact:
            with torch.no_grad():
                for running, moved in zip(statistics, exact, strict=True):
                    running.copy_(moved)
        return embedding.to(features.dtype), Gates(*(g.to(features.dtype) for g in found)) if found else None
