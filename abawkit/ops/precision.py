"""The type in which an operator is called, and whether its products are in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_bfloat16_products: ContextVar[bool] = ContextVar("abawkit.ops.bfloat16_products", default=False)


@contextmanager
def use_bfloat16_products() -> Iterator[None]:
    """Within the block, mixed blocks on float32 round the factors of their large products to bfloat16.

    These are the products with the weights of expansion and projection, in the forward and in the backward pass,
    wherever the latter runs. Sums, results, gradients and everything else stay float32. The results are the same on
    every processor, to the order of sums; with instructions for bfloat16 they take less time than in float32. Under
    `torch.compile` nothing is rounded.
    """
    token = _bfloat16_products.set(True)
    try:
        yield
    finally:
        _bfloat16_products.reset(token)


def are_products_rounded(x: Tensor) -> bool:
    """Whether a mixed block of a tensor is to round factors: in `use_bfloat16_products`, for a call in float32."""
    # dynamo can't read the variable, and would keep what it was when the call was traced
    wanted = not torch.compiler.is_dynamo_compiling() and _bfloat16_products.get()
    return wanted and choose_call_dtype(x) == torch.float32


def choose_call_dtype(x: Tensor) -> torch.dtype:
    """The type of a tensor, or autocast's where that is on; autocast keeps float64 as it is."""
    kind = "cpu" if x.is_cpu else x.device.type  # the latter makes a text anew each time
    available = kind == "cpu" or torch.amp.is_autocast_available(kind)
    if available and torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return x.dtype
