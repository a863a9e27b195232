"""The operator: dual-direction attention by the implementation that serves the call; folded weights are cached."""

import torch
from torch import Tensor

from abawkit.ops.base import EPS, MOMENTUM, Arguments, Call
from abawkit.ops.folding import FoldCache
from abawkit.ops.precision import choose_call_dtype
from abawkit.ops.processes import find_shared_batch
from abawkit.ops.registry import select
from abawkit.ops.tensors import Gates, Parameters, Statistics


def dual_direction_attention(
    features: Tensor,
    parameters: Parameters,
    statistics: Statistics | None,
    *,
    training: bool,
    momentum: float = MOMENTUM,
    eps: float = EPS,
    gates: bool = True,
    implementation: str | None = None,
    cache: FoldCache | None = None,
) -> tuple[Tensor, Gates | None]:
    """Turns features into an embedding by K attention heads, their maximum, and a global depthwise convolution.

    Differentiable in the features and in every parameter, in training and in evaluation. The same arguments give the
    same bits on the same machine with the same number of threads. Under `torch.compile` and `torch.export` the
    implementation is chosen when the call is traced.

    Args:
        features: (N, C, H, W), float32, float64, bfloat16 or float16, of any strides. N may be 0 in evaluation.
        parameters: On the features' device, of their type or of float32.
        statistics: Running statistics. In training they move in place towards those of the batch, and may be None; in
            evaluation they are what is normalised with.
        training: Whether to normalise with statistics of the batch.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
        gates: Whether to return the gates; without them evaluation writes C numbers an image and nothing else.
        implementation: Its name; None for the one of `abawkit.ops.use`, else of the environment's ``ABAWKIT_OPS``, else
            the best available.
        cache: Keeps folded weights between calls without gradients in evaluation.

    Returns:
        The embedding (N, C) and the gates, both of the features' type (under autocast: of autocast's).

    Raises:
        OpUnavailableError: If the implementation was named and can't serve this call; the message says why.
        ValueError: If shapes don't fit, or a batch in training has fewer than two images.

    Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code.
    """
    sizes = parameters.sizes
    if features.shape[1:] != sizes[:3]:
        c, h, w = sizes[:3]
        raise ValueError(f"got features {tuple(features.shape)}, expected (N, {c}, {h}, {w}) as the parameters are for")
    if training and features.shape[0] < 2:
        raise ValueError(f"statistics of a batch need at least 2 images, got {features.shape[0]}; use evaluation mode")
    if not training and statistics is None:
        raise ValueError("evaluation needs running statistics")
    gradients = torch.is_grad_enabled() and (features.requires_grad or any(p.requires_grad for p in parameters))
    synchronised = training and find_shared_batch() is not None
    dtype = choose_call_dtype(features)
    call = Call(features.device, dtype, sizes, training, gradients, synchronised=synchronised)
    chosen = select(call, implementation)
    if training or gradients or statistics is None:
        return chosen.forward(Arguments(features, parameters, statistics, training, momentum, eps, gates))
    if cache is None or torch.compiler.is_compiling():
        folded = chosen.fold(parameters, statistics, eps=eps)
    else:
        key = chosen.name, eps
        folded = cache.get(key, parameters + statistics, lambda: chosen.fold(parameters, statistics, eps=eps))
    return chosen.infer(features, folded, gates=gates)
