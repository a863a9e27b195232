"""Folded weights are kept for as long as the weights that they were made of stay the same."""

from typing import Any, Self

from torch import Tensor

from abawkit.ops.base import Implementation
from abawkit.ops.parameters import Parameters, Statistics


class FoldCache:
    """Keeps what `Implementation.fold` returned for one set of weights.

    A change through any operator that torch counts (optimiser steps, `load_state_dict`, `copy_`, a move to another
    device or type) is noticed. One through ``.data`` or numpy is not: call `clear` after it. Tensors that were made in
    inference mode have no such count; nothing is kept of them.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._key: tuple[object, ...] = ()
        self._folded: Any = None
        self._alive: list[Tensor] = []

    def get(self, implementation: Implementation, parameters: Parameters, statistics: Statistics, eps: float) -> Any:
        """What `implementation.fold` returns for these weights."""
        tensors = parameters + statistics
        try:
            key = (implementation.name, eps, [t._version for t in tensors], [*map(Tensor.data_ptr, tensors)])
        except RuntimeError:  # a tensor of inference mode
            return implementation.fold(parameters, statistics, eps=eps)
        if key != self._key:
            self._folded = implementation.fold(parameters, statistics, eps=eps)
            self._key = key
            self._alive = [t.detach() for t in tensors]  # an address that is in use can't come back for other weights
        return self._folded

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A copy of a module has weights of its own, and folds them anew."""
        del memo
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Nothing of it is worth a place in a file."""
        return type(self), ()
