"""The native mixed block in torch: schemas, shapes and gradients of its operators.

`csrc/binding/` calls the kernels; `csrc/kernels/mixed_block.h` and `mixed_training.h` describe each tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from abawkit.ops.processes import call_shared
from abawkit.ops.torch_library import LIBRARY

BLOCK: Final = 16
"""Channels of a block; the last block of a tensor is filled up with zeros."""

for _schema in (
    "mixed_block_infer(Tensor x, Tensor weights, int[] kernels, int[] channels, int outputs, int squeezed, int stride,"
    " bool residual, bool bfloat16) -> Tensor",
    "mixed_block_forward(Tensor x, Tensor[] parameters, int stride, bool residual, float eps, bool bfloat16,"
    " bool synchronised=False) -> (Tensor out,"
    " Tensor expanded, Tensor values, Tensor means, Tensor squeezed, Tensor projected, Tensor statistics)",
    "mixed_block_backward(Tensor gradient, Tensor x, Tensor[] parameters, Tensor[] saved, int stride, bool residual,"
    " float eps, bool input_gradient, bool bfloat16, bool synchronised=False) -> Tensor[]",
    "mixed_block_update(Tensor(a!)[] running, Tensor statistics, int[] counts, float momentum) -> ()",
):
    LIBRARY.define(_schema)  # type: ignore[no-untyped-call]

INFER: Final = torch.ops.abawkit.mixed_block_infer.default
_TRAIN_BLOCK: Final = torch.ops.abawkit.mixed_block_forward.default
_DIFFERENTIATE: Final = torch.ops.abawkit.mixed_block_backward.default
_MOVE: Final = torch.ops.abawkit.mixed_block_update.default


def find_output_side(side: int, stride: int) -> int:
    """Height or width of the result."""
    return (side + stride - 1) // stride


def fill_blocks(channels: int) -> int:
    """The channels of whole blocks."""
    return -(-channels // BLOCK) * BLOCK


def make_channels_last(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """An uninitialised tensor (N, channels, height, width) in channels_last; N, type and device as those of `x`."""
    shape = x.shape[0], channels, height, width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _fake_infer(
    x: Tensor,
    weights: Tensor,
    kernels: list[int],
    channels: list[int],
    outputs: int,
    squeezed: int,
    stride: int,
    residual: bool,
    bfloat16: bool,
) -> Tensor:
    del weights, kernels, channels, squeezed, residual, bfloat16
    return make_channels_last(x, outputs, *(find_output_side(side, stride) for side in x.shape[2:]))


def _fake_train(
    x: Tensor,
    parameters: list[Tensor],
    stride: int,
    residual: bool,
    eps: float,
    bfloat16: bool,
    synchronised: bool = False,
) -> tuple[Tensor, ...]:
    del residual, eps, bfloat16, synchronised
    n, _, h, w = x.shape
    rows, columns = find_output_side(h, stride), find_output_side(w, stride)
    outputs = parameters[13].shape[0]
    expanded, squeezed, projected = (fill_blocks(parameters[i].shape[0]) for i in (1, 5, 13))
    return (
        make_channels_last(x, outputs, rows, columns),
        x.new_empty((n, expanded // BLOCK, h * w, BLOCK)),
        x.new_empty((n, expanded // BLOCK, rows * columns, BLOCK)),
        x.new_empty((n, rows + columns, expanded)),
        x.new_empty((n, rows + columns, squeezed)),
        x.new_empty((n, rows * columns, projected)),
        x.new_empty((2 * (expanded + squeezed + projected),)),
    )


def _fake_differentiate(
    gradient: Tensor,
    x: Tensor,
    parameters: list[Tensor],
    saved: list[Tensor],
    stride: int,
    residual: bool,
    eps: float,
    input_gradient: bool,
    bfloat16: bool,
    synchronised: bool = False,
) -> list[Tensor]:
    del gradient, saved, stride, residual, eps, bfloat16, synchronised
    own = make_channels_last(x, *x.shape[1:]) if input_gradient else x.new_empty((0,))
    return [own, *(p.new_empty(p.shape) for p in parameters)]


for _operator, _fake_kernel in (
    ("infer", _fake_infer),
    ("forward", _fake_train),
    ("backward", _fake_differentiate),
    ("update", lambda *_: None),
):
    torch.library.register_fake(f"abawkit::mixed_block_{_operator}", _fake_kernel, lib=LIBRARY)


class _BlockFunction(torch.autograd.Function):
    """Gradients of `mixed_block_forward`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        stride: int,
        residual: bool,
        eps: float,
        bfloat16: bool,
        synchronised: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            given = x, list(parameters), stride, residual, eps, bfloat16, synchronised
            outputs: tuple[Tensor, ...] = call_shared(_TRAIN_BLOCK, *given)
        ctx.save_for_backward(x, *parameters, *outputs[1:])
        ctx.options, ctx.kind = (stride, residual, eps), (bfloat16, synchronised)
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        x, *others = ctx.saved_tensors
        parameters, saved = others[:-6], others[-6:]
        if gradient is None:
            return (None,) * (6 + len(parameters))
        # As in `train_block` below: compiled autograd traces operators, not what is in them.
        compute = _DIFFERENTIATE if torch.compiler.is_compiling() else _differentiate_block
        needed = ctx.needs_input_grad[0]
        own, *found = compute(gradient, x, parameters, saved, *ctx.options, needed, *ctx.kind)
        return own if needed else None, None, None, None, None, None, *found


def _apply_block(
    x: Tensor,
    parameters: Sequence[Tensor],
    stride: int,
    residual: bool,
    eps: float,
    bfloat16: bool,
    synchronised: bool = False,
) -> tuple[Tensor, ...]:
    apply: Callable[..., tuple[Tensor, ...]] = _BlockFunction.apply
    return apply(x, stride, residual, eps, bfloat16, synchronised, *parameters)


class _BlockGradient(torch.autograd.Function):
    """Raises an error for a second derivative."""

    @staticmethod
    def forward(ctx: Any, arguments: tuple[Any, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        del ctx, tensors
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(call_shared(_DIFFERENTIATE, *arguments))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        del ctx, gradients
        raise RuntimeError(
            "abawkit's native mixed block has no second derivative; use the reference: --ops reference, "
            "or abawkit.ops.use('reference')"
        )


def _differentiate_block(*arguments: Any) -> list[Tensor]:
    if not torch.is_grad_enabled():
        with torch._C._AutoDispatchBelowAutograd():
            found: list[Tensor] = call_shared(_DIFFERENTIATE, *arguments)
            return found
    flat = [t for a in arguments for t in (a if isinstance(a, list) else [a]) if isinstance(t, Tensor)]
    return list(_BlockGradient.apply(arguments, *flat))  # type: ignore[no-untyped-call]


for _operator, _kernel in {
    "forward": _apply_block,
    "backward": _differentiate_block,
    "update": torch.library.fallthrough_kernel,
}.items():
    LIBRARY.impl(f"mixed_block_{_operator}", _kernel, "Autograd")  # type: ignore[no-untyped-call]


def train_block(
    x: Tensor,
    parameters: Sequence[Tensor],
    stride: int,
    residual: bool,
    eps: float,
    *,
    bfloat16: bool = False,
    synchronised: bool = False,
) -> tuple[Tensor, Tensor]:
    """`mixed_block_forward`; skips torch's dispatcher where it would only call `_apply_block`.

    Args:
        x: (N, inputs, H, W), float32, on a CPU; without a copy where it is in channels_last.
        parameters: As `BlockParameters.flat`.
        stride: Of the depthwise convolution.
        residual: Whether to add `x`.
        eps: Added to variances.
        bfloat16: Whether products of expansion and projection are in bfloat16, in the backward pass too.
        synchronised: Whether the norms take the statistics of all processes of `abawkit.ops.processes.share_batch`.

    Returns:
        The result, and the statistics of the batch for `move_statistics`.
    """
    compute = _TRAIN_BLOCK if torch.compiler.is_compiling() else _apply_block
    found = compute(x, list(parameters), stride, residual, eps, bfloat16, synchronised)
    return found[0], found[-1]


def move_statistics(running: Sequence[Tensor], statistics: Tensor, counts: Sequence[int], momentum: float) -> None:
    """Moves running statistics towards those of the batch, in place; variances become unbiased.

    Args:
        running: Means and variances of batch norms: `BlockStatistics` or `NormStatistics`.
        statistics: From `train_block` or `norm_prelu_library.TRAIN_NORM`.
        counts: How many values of each channel each norm has seen.
        momentum: Share of the batch.
    """
    _MOVE(list(running), statistics, list(counts), momentum)
    torch.autograd.graph.increment_version(running)  # a kernel on the stable ABI can't
