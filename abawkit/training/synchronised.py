"""Batch norms whose statistics are those of all processes' rows together."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SynchronisedBatchNorm(TorchFunctionMode):
    """Within the block every batch norm in training mode takes mean and variance over the rows of all processes.

    It stands in for ``torch.nn.functional.batch_norm``, and so serves modules and the reference of dual-direction
    attention alike, on CPUs too, where torch's own synchronised module does not run. All processes must run the same
    layers.

    Source: Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, algorithm 1; running variances are unbiased, as in
    torch.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    dtype = x.dtype
    wide = x if dtype == torch.float64 else x.float()
    over = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    count = _summed(wide.new_tensor([x.numel() / x.shape[1]]))
    mean = _summed(wide.sum(over)) / count
    centred = wide - mean.view(shape)
    variance = _summed((centred * centred).sum(over)) / count
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var), momentum)
    y = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    return y.to(dtype)


def _summed(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """The sum over processes. What each does with it counts in the loss of all, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        del ctx
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
