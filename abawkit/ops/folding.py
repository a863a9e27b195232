"""Batch norms folded into the convolutions before them, and kept until a weight changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self

from torch import Tensor, nn


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


class ModuleTensors:
    """Finds the tensors of a module again and again, without attribute access.

    Modules keep their submodules, parameters and buffers in dictionaries. Which of these there are is noted once, and
    noted anew where a submodule is another one than before; tensors are looked up each time.
    """

    def __init__(self) -> None:
        self._modules: list[tuple[dict[str, Any], str]] = []
        self._found: list[nn.Module | None] = []
        self._tensors: list[tuple[dict[str, Any], str]] = []

    def find(self, module: nn.Module) -> list[Tensor]:
        """All parameters and buffers of a module, which is the same in each call, but for counters of batches."""
        own = bool(self._modules) and self._modules[0][0] is module._modules
        if not own or [kept[name] for kept, name in self._modules] != self._found:
            self._note(module)
        return [kept[name] for kept, name in self._tensors]

    def _note(self, module: nn.Module) -> None:
        parts = list(module.modules())
        self._modules = [(part._modules, name) for part in parts for name in part._modules]
        self._found = [kept[name] for kept, name in self._modules]
        kinds = [kept for part in parts for kept in (part._parameters, part._buffers)]
        self._tensors = [
            (kept, name)
            for kept in kinds
            for name, value in kept.items()
            if value is not None and name != "num_batches_tracked"
        ]

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A copy of a module has dictionaries of its own."""
        del memo
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Is pickled without its content, which can be noted again."""
        return type(self), ()
