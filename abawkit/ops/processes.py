"""Batch norms that take the statistics of all processes that share a batch, and the sum that this needs.

Native operators call `_add` between their passes; torch's batch norms are replaced by
`abawkit.training.synchronised_norms`.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor


@dataclass
class SharedBatch:
    """The processes that share a batch.

    Attributes:
        add: Adds a float64 tensor up over all processes, in place; all of them call it in the same order.
        rows: Of all processes, in the last sum of an operator: images, or pixels of `norm_prelu`.
    """

    add: Callable[[Tensor], object]
    rows: int = 0


_shared: ContextVar[SharedBatch | None] = ContextVar("abawkit.ops.shared_batch", default=None)
_failure: ContextVar[BaseException | None] = ContextVar("abawkit.ops.failed_sum", default=None)


@contextmanager
def share_batch(shared: SharedBatch) -> Iterator[None]:
    """Within the block, batch norms in training take the statistics of the rows of all processes.

    Both passes must run in it, and all processes must run the same layers. Gradients of parameters are those of a
    process's own rows. `torch.compile` does not see it.
    """
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)


def find_shared_batch() -> SharedBatch | None:
    """The processes of `share_batch`; None for statistics of this process alone."""
    return None if torch.compiler.is_dynamo_compiling() else _shared.get()


def call_shared(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a native operator whose batch norms are synchronised; raises what its sums over the processes raised."""
    try:
        return operator(*arguments)
    except RuntimeError:
        failure = _failure.get()
        if failure is None:
            raise
        _failure.set(None)
        raise failure from None


def _add(address: int, count: int) -> int:
    """Adds up `count` doubles, of which the last one is the number of rows; 0 where that succeeded."""
    try:
        shared = _shared.get()
        if shared is None:
            raise RuntimeError("both passes of a synchronised batch norm must run in abawkit.ops.processes.share_batch")
        numbers = (ctypes.c_double * count).from_address(address)
        shared.add(torch.frombuffer(numbers, dtype=torch.float64))
        shared.rows = int(numbers[-1])
    except BaseException as error:  # nothing can pass through the operator
        _failure.set(error)
        return 1
    return 0


ADD: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(_add)
"""What the binary calls between passes; it lives as long as Python."""
