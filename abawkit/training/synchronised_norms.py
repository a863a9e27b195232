"""Batch norms of a training step over the rows of all processes: torch's, and those within native operators."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from abawkit.ops.processes import SharedBatch, find_shared_batch, share_batch


@contextmanager
def synchronise_batch_norms(add: Callable[[Tensor], object]) -> Iterator[None]:
    """Within the block every batch norm in training mode takes mean and variance over the rows of all processes.

    ``torch.nn.functional.batch_norm`` is replaced, in modules and in the references of operators, on CPUs too, where
    torch's own synchronised module does not run. Native operators on CPUs do it between their passes. All processes
    must run the same layers, and both passes belong in the block.

    Args:
        add: Adds a float64 tensor up over all processes, in place: `abawkit.training.distributed.Distributed.add`.

    Source: Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, algorithm 1; running variances are unbiased, as in
    torch.
    """
    with share_batch(SharedBatch(add)), _SharedBatchNorms():
        yield


class _SharedBatchNorms(TorchFunctionMode):
    """Replaces ``torch.nn.functional.batch_norm`` in the block of `share_batch`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        shared = find_shared_batch() if func is F.batch_norm else None
        if shared is None:
            return func(*args, **(kwargs or {}))
        return _batch_norm(*args, **(kwargs or {}), add=shared.add)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    add: Callable[[Tensor], object],
) -> Tensor:
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    y, mean, variance, count = _BatchNorm.apply(x, weight, bias, eps, add)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var), momentum)
    result: Tensor = y
    return result


class _Channels(NamedTuple):
    """How a tensor is summed channel by channel: sums over processes are in float64, all else at least in float32."""

    over: list[int]
    shape: list[int]
    values: int

    @staticmethod
    def of(x: Tensor) -> "_Channels":
        return _Channels([d for d in range(x.ndim) if d != 1], [1, -1, *[1] * (x.ndim - 2)], x.numel() // x.shape[1])

    def add(self, add: Callable[[Tensor], object], *sums: Tensor) -> tuple[Tensor, ...]:
        """Sums (C) over all processes, and the number of values of a channel, by one collective."""
        count = sums[0].new_tensor([self.values], dtype=torch.float64)
        numbers = torch.cat([*(s.double() for s in sums), count])
        add(numbers)
        return *numbers[:-1].chunk(len(sums)), numbers[-1]


class _BatchNorm(torch.autograd.Function):
    """Batch norm with two collectives: one for the statistics, one for the sums that the gradient of `x` needs."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, add: Callable[[Tensor], object]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own, wide = _Channels.of(x), x if x.dtype == torch.float64 else x.float()
        variance, mean = (m.double() * own.values for m in torch.var_mean(wide, own.over, correction=0))
        mean, variance, square, count = own.add(add, mean, variance, mean * mean / own.values)
        mean, square = mean / count, square / count
        between = square - mean * mean  # of the means of processes, of which rounding alone is no part
        variance = variance / count + between.masked_fill(between <= 1e-14 * square, 0)
        reciprocal = (variance + eps).rsqrt().to(wide)
        centred = wide - mean.to(wide).view(own.shape)
        scale = reciprocal if weight is None else reciprocal * weight
        y = centred * scale.view(own.shape)
        if bias is not None:
            y = y + bias.view(own.shape)
        ctx.save_for_backward(x, weight, bias, mean.to(wide), reciprocal)
        ctx.add = add
        ctx.mark_non_differentiable(mean, variance, count)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, reciprocal = ctx.saved_tensors
        own, wide = _Channels.of(x), gradient.to(mean.dtype)
        centred = x.to(mean.dtype) - mean.view(own.shape)
        total, product = wide.sum(own.over), (wide * centred).sum(own.over) * reciprocal
        found = [
            None if parameter is None else value.to(parameter.dtype)
            for parameter, value in ((weight, product), (bias, total))
        ]
        total, product, count = own.add(ctx.add, total, product)
        total, product = (t.div(count).to(mean.dtype) for t in (total, product))
        scale = reciprocal if weight is None else reciprocal * weight
        rest = wide - total.view(own.shape) - centred * (product * reciprocal).view(own.shape)
        return (rest * scale.view(own.shape)).to(x.dtype), *found, None, None
