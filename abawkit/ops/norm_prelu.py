"""The operator norm_prelu: batch norm and PReLU in one function, by the implementation that serves the call."""

import torch
from torch import Tensor

from abawkit.ops.base import EPS, MOMENTUM, Call, NormArguments
from abawkit.ops.norm_prelu_tensors import NormParameters, NormSizes, NormStatistics
from abawkit.ops.precision import choose_call_dtype
from abawkit.ops.processes import find_shared_batch
from abawkit.ops.registry import select_norm


def norm_prelu(
    x: Tensor,
    parameters: NormParameters,
    statistics: NormStatistics | None,
    *,
    training: bool,
    momentum: float = MOMENTUM,
    eps: float = EPS,
    implementation: str | None = None,
) -> Tensor:
    """Batch norm, then PReLU with a slope for each channel.

    Differentiable in the input and in every parameter. The same arguments give the same bits on the same machine. Under
    `torch.compile` and `torch.export` the implementation is chosen when the call is traced.

    Args:
        x: (N, C, H, W), of any floating type and strides.
        parameters: On the device of `x`, of its type or of float32.
        statistics: Running statistics. In training they move in place towards those of the batch, and may be None; in
            evaluation they are what is normalised with.
        training: Whether to normalise with statistics of the batch.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
        implementation: Its name; None for the one of `abawkit.ops.use`, else of the environment's ``ABAWKIT_OPS``, else
            the best available.

    Returns:
        (N, C, H, W), in the type of `x`.

    Raises:
        OpUnavailableError: If the implementation was named and can't serve this call; the message says why.
        ValueError: If shapes don't fit, or a batch in training has a single value of each channel.

    Source: see `abawkit.ops.norm_prelu_reference`.
    """
    channels = len(parameters.scale)
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"got an input {tuple(x.shape)}, expected (N, {channels}, H, W) as the parameters are for")
    if not training and statistics is None:
        raise ValueError("evaluation needs running statistics")
    gradients = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters))
    synchronised = training and find_shared_batch() is not None
    call = Call(x.device, choose_call_dtype(x), NormSizes(channels), training, gradients, synchronised=synchronised)
    arguments = NormArguments(x, parameters, statistics, training, momentum, eps)
    return select_norm(call, implementation).forward(arguments)
