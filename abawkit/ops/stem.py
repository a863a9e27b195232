"""The operator stem, by the implementation that serves the call; folded weights are cached."""

import torch
from torch import Tensor

from abawkit.ops.base import EPS, Call
from abawkit.ops.folding import FoldCache
from abawkit.ops.precision import choose_call_dtype
from abawkit.ops.registry import select_stem
from abawkit.ops.stem_tensors import StemParameters, StemStatistics


def stem(
    x: Tensor,
    parameters: StemParameters,
    statistics: StemStatistics,
    stride: int = 2,
    *,
    eps: float = EPS,
    implementation: str | None = None,
    cache: FoldCache | None = None,
) -> Tensor:
    """A convolution and a depthwise convolution, each with batch norm and PReLU, in evaluation without gradients.

    The same arguments give the same bits on the same machine. Under `torch.compile` and `torch.export` the
    implementation is chosen when the call is traced.

    Args:
        x: (N, inputs, H, W), of any floating type and strides. N may be 0.
        parameters: On the device of `x`, of its type or of float32.
        statistics: Running statistics, which the norms normalise with.
        stride: Of the first convolution, 1 or 2; the padding of each is half its kernel size.
        eps: Added to variances.
        implementation: Its name; None for the one of `abawkit.ops.use`, else of the environment's ``ABAWKIT_OPS``, else
            the best available.
        cache: Keeps folded weights between calls.

    Returns:
        (N, channels, H / stride, W / stride), rounded up, in the type of `x` (under autocast: of autocast's), without
        gradients.

    Raises:
        OpUnavailableError: If the implementation was named and can't serve this call; the message says why.
        ValueError: If shapes don't fit, or gradients are enabled.

    Source: see `abawkit.ops.stem_reference`.
    """
    sizes = parameters.find_sizes(stride=stride)
    if x.dim() != 4 or x.shape[1] != sizes.inputs or not all(x.shape[2:]):
        raise ValueError(f"got an input {tuple(x.shape)}, expected (N, {sizes.inputs}, H, W) with H and W at least 1")
    if stride not in (1, 2):
        raise ValueError(f"got stride {stride}, expected 1 or 2")
    if torch.is_grad_enabled():
        raise ValueError("the stem is for evaluation without gradients: call it within torch.no_grad()")
    chosen = select_stem(Call(x.device, choose_call_dtype(x), sizes, training=False, gradients=False), implementation)
    if cache is None or torch.compiler.is_compiling():
        return chosen.infer(x, chosen.fold(parameters, statistics, sizes, eps=eps))
    key, tensors = (chosen.name, sizes, eps), parameters + statistics
    return chosen.infer(x, cache.get(key, tensors, lambda: chosen.fold(parameters, statistics, sizes, eps=eps)))
