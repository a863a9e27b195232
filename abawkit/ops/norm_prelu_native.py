"""The native norm_prelu in float32 on CPUs, compiled from ``csrc/`` (C++), for training."""

from typing import ClassVar

import torch
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops.base import Call, NormArguments, NormImplementation
from abawkit.ops.mixed_block_library import move_statistics
from abawkit.ops.norm_prelu_library import TRAIN_NORM
from abawkit.ops.norm_prelu_reference import NormReference
from abawkit.ops.processes import call_shared, find_shared_batch


class NativeNorm(NormImplementation):
    """Training: forward and backward pass in one call each; input and statistics are saved, and nothing else.

    The order of every sum is fixed, so that results don't depend on the number of threads.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "compiled C++, for training on CPUs"
    priority: ClassVar[int] = 100
    synchronises: ClassVar[bool] = True

    def is_meant_for(self, call: Call) -> bool:
        """See `OperatorImplementation.is_meant_for`."""
        return call.training and (call.device.type, call.dtype) == ("cpu", torch.float32)

    def reasons(self, call: Call) -> list[str]:
        """See `OperatorImplementation.reasons`."""
        if not self.is_meant_for(call):
            return ["it is for training in float32 on CPUs"]
        return binary.explain_missing_operator("norm_prelu_forward")

    def fingerprint(self, device: torch.device) -> str:
        """See `OperatorImplementation.fingerprint`."""
        return f"{super().fingerprint(device)} {binary.digest_library()} {binary.read_instruction_set()}"

    def forward(self, arguments: NormArguments) -> Tensor:
        """See `NormImplementation.forward`; for training alone. The result is in channels_last."""
        x, parameters, statistics, training, momentum, eps = arguments
        if not training:
            raise ValueError("the native norm_prelu is for training")
        count = x.numel() // x.shape[1]
        if count < 2:  # no statistics: an empty result, or torch's own error
            return NormReference().forward(arguments)
        result: Tensor
        shared = find_shared_batch()
        result, batch = call_shared(TRAIN_NORM, x, *parameters, eps, shared is not None)
        if statistics is not None:
            move_statistics(statistics, batch, [shared.rows if shared else count], momentum)
        return result
