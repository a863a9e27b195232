"""Torch's own kernels, computed on the host: what a GPU would do for every operator but those of abawkit.

Under the stand-in runtime a kernel of torch's does nothing. Within `HostKernels` each operator is called twice: as it
is, so that the runtime counts what it asks of a GPU, and on CPU tensors that share the memory of the CUDA tensors, so
that the numbers are there. While a stream is being captured, the second call becomes part of the graph. Numbers are
then those of torch's CPU kernels, and show nothing about its CUDA kernels.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from tests.gpu_standin.runtime_calls import queue_host_function

ATEN: Final = torch.ops.aten
CUDA: Final = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)

NATIVE_ALONE: Final = frozenset(
    {
        "aten::_local_scalar_dense",
        "aten::detach",
        "aten::empty",
        "aten::empty_like",
        "aten::empty_strided",
        "aten::is_pinned",
        "aten::_pin_memory",
        "aten::lift_fresh",
        "aten::new_empty",
        "aten::new_empty_strided",
        "aten::record_stream",
        "aten::resize_",
        "aten::set_",
    }
)
"""Operators that need no kernel of torch's."""

HOST_ALONE: Final = frozenset({"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::repeat_interleave"})
"""Operators that read sizes back from the device: on numbers that no kernel wrote they would fail."""


def host_tensor(tensor: Tensor) -> Tensor:
    """A CPU tensor on the memory of a CUDA tensor; others are returned as they are."""
    if tensor.device.type != "cuda":
        return tensor
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.element_size()
    if count == 0:
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    memory = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    flat = torch.frombuffer(memory, dtype=tensor.dtype, count=count)
    return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _to_host(value: Any) -> Any:
    if isinstance(value, Tensor):
        return host_tensor(value)
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, torch.Generator) and value.device.type == "cuda":
        return None
    return value


def _is_cuda(value: Any) -> bool:
    return isinstance(value, Tensor | torch.device) and (
        value.is_cuda if isinstance(value, Tensor) else value.type == "cuda"
    )


def _wide(tensor: Tensor | None) -> Tensor | None:
    """In the type in which GPUs keep sums."""
    return tensor.float() if tensor is not None and tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Sequence[Tensor]:
    running = [_wide(mean), _wide(variance)]
    y, *saved = ATEN.native_batch_norm(_wide(x), _wide(weight), _wide(bias), *running, training, momentum, eps)
    for tensor, moved in zip((mean, variance), running, strict=True):
        if tensor is not None and moved is not None and moved is not tensor:
            tensor.copy_(moved)
    return (y.to(x.dtype), *saved)


def _batch_norm_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    saved_mean: Tensor | None,
    saved_inverse: Tensor | None,
    training: bool,
    eps: float,
    wanted: list[bool],
) -> Sequence[Tensor | None]:
    tensors = [_wide(t) for t in (gradient, x, weight, mean, variance, saved_mean, saved_inverse)]
    found = ATEN.native_batch_norm_backward(*tensors, training, eps, wanted)
    types = [x.dtype] + 2 * [weight.dtype if weight is not None else torch.float32]
    return [g.to(dtype) if g is not None else None for g, dtype in zip(found, types, strict=True)]


def _cudnn_batch_norm(*arguments: Any) -> Sequence[Tensor]:
    return (*_batch_norm(*arguments), torch.empty(0, dtype=torch.uint8))


def _cudnn_batch_norm_backward(
    x: Tensor,
    gradient: Tensor,
    weight: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    saved_mean: Tensor | None,
    saved_inverse: Tensor | None,
    eps: float,
    _: Tensor,
) -> Sequence[Tensor | None]:
    statistics = (mean, variance, saved_mean, saved_inverse)
    return _batch_norm_backward(gradient, x, weight, *statistics, True, eps, [True, True, True])


EQUIVALENTS: Final[dict[str, Callable[..., Any]]] = {
    "aten::native_batch_norm": _batch_norm,
    "aten::native_batch_norm_backward": _batch_norm_backward,
    "aten::cudnn_batch_norm": _cudnn_batch_norm,
    "aten::cudnn_batch_norm_backward": _cudnn_batch_norm_backward,
}
"""Operators that are for GPUs alone, or whose kernels for CPUs keep sums in another type."""


class HostKernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this block, operators of torch on CUDA tensors have the numbers that their CPU kernels give."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls an operator on the device for the counts, and on the host for the numbers."""
        kwargs, name = kwargs or {}, func._schema.name
        if types:  # torch's own kinds of tensors, such as those that are traced, have no numbers
            return func(*args, **kwargs)
        given, _ = pytree.tree_flatten((args, kwargs))
        if func.namespace == "abawkit" and any(map(_is_cuda, given)):
            with self:  # what the operator calls of torch, such as a copy of features with other strides, needs it too
                return func.redispatch(CUDA, *args, **kwargs)
        if func.is_view:  # or a copy where a view won't do, as for contiguous(): that is an operator by itself
            with self:
                found = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if found is NotImplemented else found
        if name in NATIVE_ALONE or not any(map(_is_cuda, given)):
            return func(*args, **kwargs)
        inputs, outside = pytree.tree_map(_to_host, (args, kwargs))
        compute = EQUIVALENTS.get(name, func)
        if name in HOST_ALONE:
            return pytree.tree_map(_on_device, compute(*inputs, **outside))
        found = func(*args, **kwargs)
        if isinstance(found, bool | int | float):  # read back from the device
            return compute(*inputs, **outside)
        outputs = [(i, t) for i, t in enumerate(pytree.tree_leaves(found)) if not any(t is value for value in given)]

        def run() -> None:
            try:
                expected = pytree.tree_leaves(compute(*inputs, **outside))
            except RuntimeError as error:
                raise RuntimeError(f"{name} on the host: {error}") from error
            for i, output in outputs:
                if isinstance(output, Tensor):
                    _write(output, expected[i], name)

        if torch.cuda.is_current_stream_capturing():
            queue_host_function(torch.cuda.current_stream().cuda_stream, _without_modes(run))
        else:
            run()
        return found


@contextmanager
def host_kernels_in_all_threads(mode: HostKernels | None = None) -> Iterator[None]:
    """`HostKernels` in this thread and in those that are started within the block: a mode is of its thread alone.

    Args:
        mode: What this thread is to have instead of a plain `HostKernels`.
    """
    plain = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with HostKernels():
            plain(thread)

    with mock.patch.object(threading.Thread, "run", run), mode or HostKernels():
        yield


def _without_modes(run: Callable[[], None]) -> Callable[[], None]:
    """A function that a replayed graph calls, whatever holds where it is replayed."""

    def call() -> None:
        with torch.no_grad(), _disable_current_modes():
            run()

    return call


def _write(to: Tensor, values: Tensor, name: str) -> None:
    if "batch_norm" in name and values.numel() == 0:  # what a kernel for GPUs alone keeps for its backward pass
        return
    if to.shape != values.shape or to.dtype != values.dtype:
        raise RuntimeError(f"{name}: {to.dtype} {tuple(to.shape)} on the device, on the host {tuple(values.shape)}")
    host_tensor(to).copy_(values)


def _on_device(values: Any) -> Any:
    if not isinstance(values, Tensor):
        return values
    found = torch.empty_strided(values.size(), values.stride(), dtype=values.dtype, device="cuda")
    host_tensor(found).copy_(values)
    return found
