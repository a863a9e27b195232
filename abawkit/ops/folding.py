"""Batch norms folded into the convolutions before them, and kept until a weight changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self

from torch import Tensor


def fold_batch_norm(
    weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Folds a batch norm into the convolution before it, in float64.

    Args:
        weight: (C, ...), of the convolution.
        bias: (C), of the convolution, or None.
        scale: (C), the norm's weight.
        shift: (C), the norm's bias.
        mean: (C), the running mean.
        variance: (C), the running variance.
        eps: Added to the variance.

    Returns:
        Weight and bias of the convolution that does both, float64, in the weight's memory format.
    """
    weight, scale, shift, mean, variance = (t.detach().double() for t in (weight, scale, shift, mean, variance))
    factor = scale * (variance + eps).rsqrt()
    folded = shift - mean * factor
    if bias is not None:
        folded = folded + bias.detach().double() * factor
    return weight * factor.view(-1, *[1] * (weight.dim() - 1)), folded


class FoldCache:
    """Keeps what was computed from one set of weights.

    A change by any operator that torch counts (optimiser steps, `load_state_dict`, `copy_`, a move to another device or
    type) is noticed; after a change through ``.data``, numpy or a CUDA graph, call `clear`. Tensors that were made in
    inference mode have no such count, and nothing is kept for them.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._key: tuple[object, ...] = ()
        self._folded: Any = None
        self._alive: list[Tensor] = []

    def get(self, key: Hashable, tensors: Sequence[Tensor], fold: Callable[[], Any]) -> Any:
        """What `fold` returns for these tensors; `key` stands for everything else that it depends on."""
        try:
            now = (key, [t._version for t in tensors], [*map(Tensor.data_ptr, tensors)])
        except RuntimeError:  # a tensor of inference mode
            return fold()
        if now != self._key:
            self._folded = fold()
            self._key = now
            self._alive = [t.detach() for t in tensors]  # an address that is in use can't come back for other weights
        return self._folded

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A copy of a module has weights of its own, and folds them anew."""
        del memo
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Is pickled without its content, which can be computed again."""
        return type(self), ()
