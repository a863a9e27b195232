"""The native norm_prelu in torch: schemas, shapes and gradients of its operators.

`csrc/binding/norm_prelu.cpp` calls the kernels; `csrc/kernels/norm_prelu.h` describes each tensor.
"""

from typing import Any, Final

import torch
from torch import Tensor

from abawkit.ops.mixed_block_library import fill_blocks, make_channels_last
from abawkit.ops.processes import call_shared
from abawkit.ops.torch_library import LIBRARY

for _schema in (
    "norm_prelu_forward(Tensor x, Tensor scale, Tensor shift, Tensor slope, float eps, bool synchronised=False)"
    " -> (Tensor out, Tensor statistics)",
    "norm_prelu_backward(Tensor gradient, Tensor x, Tensor scale, Tensor shift, Tensor slope, Tensor statistics,"
    " float eps, bool synchronised=False) -> (Tensor, Tensor, Tensor, Tensor)",
):
    LIBRARY.define(_schema)  # type: ignore[no-untyped-call]

TRAIN_NORM: Final = torch.ops.abawkit.norm_prelu_forward.default
"""``norm_prelu_forward``: the result in channels_last, and the batch's statistics for `move_statistics`."""

_DIFFERENTIATE_NORM: Final = torch.ops.abawkit.norm_prelu_backward.default


def _fake_forward_pass(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return make_channels_last(x, *x.shape[1:]), x.new_empty((2 * fill_blocks(x.shape[1]),))


def _fake_backward_pass(gradient: Tensor, x: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
    del gradient
    return make_channels_last(x, *x.shape[1:]), *(p.new_empty(p.shape) for p in parameters[:3])


def _save_operands(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.eps, ctx.synchronised = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _differentiate_norm(ctx: Any, gradient: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 6
    found = call_shared(_DIFFERENTIATE_NORM, gradient, *ctx.saved_tensors, ctx.eps, ctx.synchronised)
    return *found, None, None


def _refuse_second_derivative(*_: Any) -> Any:
    raise RuntimeError(
        "abawkit's native norm_prelu has no second derivative; use the reference: --ops reference, "
        "or abawkit.ops.use('reference')"
    )


for _operator, _fake_kernel, _backward_kernel, _setup in (
    ("forward", _fake_forward_pass, _differentiate_norm, _save_operands),
    ("backward", _fake_backward_pass, _refuse_second_derivative, None),
):
    _name = f"abawkit::norm_prelu_{_operator}"
    torch.library.register_fake(_name, _fake_kernel, lib=LIBRARY)
    torch.library.register_autograd(_name, _backward_kernel, setup_context=_setup, lib=LIBRARY)
