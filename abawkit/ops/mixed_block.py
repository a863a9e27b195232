"""The operator mixed block, by the implementation that serves the call; folded weights are cached."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from abawkit.ops.base import EPS, MOMENTUM, BlockArguments, BlockImplementation, Call
from abawkit.ops.folding import FoldCache
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockStatistics
from abawkit.ops.precision import are_products_rounded, choose_call_dtype
from abawkit.ops.processes import find_shared_batch
from abawkit.ops.registry import select_block


def mixed_block(
    x: Tensor,
    parameters: BlockParameters,
    statistics: BlockStatistics | None,
    stride: int = 1,
    residual: bool = False,
    *,
    training: bool,
    momentum: float = MOMENTUM,
    eps: float = EPS,
    implementation: str | None = None,
    cache: FoldCache | None = None,
) -> Tensor:
    """Expansion, mixed depthwise convolution, coordinate attention and projection, with the batch norms between them.

    Differentiable in the input and in every parameter. The same arguments give the same bits on the same machine. Under
    `torch.compile` and `torch.export` the implementation is chosen when the call is traced. Large products are in
    bfloat16 within `use_bfloat16_products`.

    Args:
        x: (N, inputs, H, W), of any floating type and strides. N may be 0 in evaluation.
        parameters: On the device of `x`, of its type or of float32.
        statistics: Running statistics. In training they move in place towards those of the batch, and may be None; in
            evaluation they are what is normalised with.
        stride: Of the depthwise convolution, 1 or 2; its padding is half the kernel size.
        residual: Whether to add `x` to the result, which must have its shape.
        training: Whether to normalise with statistics of the batch.
        momentum: Share of the batch in the running statistics.
        eps: Added to variances.
        implementation: Its name; None for the one of `abawkit.ops.use`, else of the environment's ``ABAWKIT_OPS``, else
            the best available.
        cache: Keeps folded weights between calls without gradients in evaluation.

    Returns:
        (N, outputs, H / stride, W / stride), rounded up, in the type of `x` (under autocast: of autocast's).

    Raises:
        OpUnavailableError: If the implementation was named and can't serve this call; the message says why.
        ValueError: If shapes don't fit.

    Source: see `abawkit.ops.mixed_block_reference`.
    """
    sizes = parameters.find_sizes(stride=stride, residual=residual)
    if x.dim() != 4 or x.shape[1] != sizes.inputs or not all(x.shape[2:]):
        raise ValueError(f"got an input {tuple(x.shape)}, expected (N, {sizes.inputs}, H, W) with H and W at least 1")
    if stride not in (1, 2):
        raise ValueError(f"got stride {stride}, expected 1 or 2")
    if residual and (stride != 1 or sizes.outputs != sizes.inputs):
        raise ValueError(
            f"a residual block needs stride 1 and as many outputs as inputs, got stride {stride}, "
            f"{sizes.inputs} inputs and {sizes.outputs} outputs"
        )
    if not training and statistics is None:
        raise ValueError("evaluation needs running statistics")
    gradients = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters.flat))
    rounded = are_products_rounded(x)
    synchronised = training and find_shared_batch() is not None
    call = Call(x.device, choose_call_dtype(x), sizes, training, gradients, rounded, synchronised)
    chosen: BlockImplementation = select_block(call, implementation)
    if training or gradients or statistics is None:
        return chosen.forward(
            BlockArguments(x, parameters, statistics, training, stride, residual, momentum, eps, rounded)
        )

    def fold() -> Any:
        return chosen.fold(parameters, statistics, sizes, eps=eps, bfloat16_products=rounded)

    if cache is None or torch.compiler.is_compiling():
        return chosen.infer(x, fold())
    key, tensors = (chosen.name, sizes, eps, rounded), parameters.flat + statistics
    return chosen.infer(x, cache.get(key, tensors, fold))


def prepare_block(
    like: Tensor,
    parameters: BlockParameters,
    statistics: BlockStatistics,
    stride: int = 1,
    residual: bool = False,
    *,
    eps: float = EPS,
) -> Callable[[Tensor], Tensor]:
    """Folds the weights of `mixed_block` for evaluation without gradients.

    Returns:
        What `mixed_block` would compute now of an input of the type and device of `like`. It has these weights, and
        this implementation and precision, whatever becomes of the tensors and of what is in use.
    """
    sizes = parameters.find_sizes(stride=stride, residual=residual)
    rounded = are_products_rounded(like)
    chosen = select_block(Call(like.device, choose_call_dtype(like), sizes, False, False, rounded))
    folded = chosen.fold(parameters, statistics, sizes, eps=eps, bfloat16_products=rounded)
    return lambda x: chosen.infer(x, folded)
