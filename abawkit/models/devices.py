"""Use of a device: numeric precision; on GPUs, deterministic algorithms and copies that the host does not wait for."""

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final, Literal, TypeVar

import torch
from torch import Tensor

from abawkit.choices import InferencePrecision
from abawkit.ops.native import Native
from abawkit.ops.native_library import has_bfloat16_products
from abawkit.ops.precision import use_bfloat16_products
from abawkit.ops.registry import find_request

K = TypeVar("K", bound=Hashable)


def pin_memory(values: Tensor, device: torch.device) -> Tensor:
    """A copy of a CPU tensor in page-locked memory, where `device` is a GPU; else the tensor itself."""
    return values.pin_memory() if device.type == "cuda" else values


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor from `pin_memory` to a device, in the order of the device's work; the host does not wait."""
    return values.to(device, non_blocking=True)


class Download:
    """A copy to the host that is under way."""

    def __init__(self, values: Tensor) -> None:
        """Starts the copy; nothing is copied from a CPU."""
        self._event: torch.cuda.Event | None = None
        self._values = values
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(values.device))

    def wait(self) -> Tensor:
        """Waits for the copy, but not for the device's later work, and returns the values on the host."""
        if self._event:
            self._event.synchronize()
        return self._values


def to_host(tensors: Mapping[K, Tensor], *, copy: bool = False) -> dict[K, Tensor]:
    """Copies tensors of one device to the host, in one copy for each type, so that it waits once.

    Args:
        tensors: The tensors.
        copy: Whether those on a CPU are copied too, so that later changes of them change nothing.

    Returns:
        The tensors themselves where they are on a CPU, unless `copy` is true; else copies, each in memory of its own,
        those from another device contiguous.
    """
    found = {key: value.detach().clone() if copy and value.is_cpu else value.detach() for key, value in tensors.items()}
    away = {key: value for key, value in found.items() if not value.is_cpu}
    under_way = []
    for dtype in dict.fromkeys(value.dtype for value in away.values()):
        keys = [key for key, value in away.items() if value.dtype == dtype]
        block = torch.cat([away[key].flatten() for key in keys])
        under_way.append((keys, Download(block)))
    for keys, download in under_way:
        parts = torch.split(download.wait(), [away[key].numel() for key in keys])
        found |= {key: part.view(away[key].shape).clone() for key, part in zip(keys, parts, strict=True)}
    return found


Precision = Literal["float32", "bfloat16", "float64"]
RequestedPrecision = Literal["auto", "float32", "bfloat16", "float64"]

WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable that makes cuBLAS sum in a fixed order, if it is set before its first call.

Source: https://docs.nvidia.com/cuda/cublas/#results-reproducibility.
"""


class _ProcessSettings:
    """Settings of the whole process, set while any thread is in a block.

    The first block that is entered sets them and the last one that is left puts them back: of two blocks that overlap
    in two threads, each by itself would put back what the other had set.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        """Sets nothing yet; `change` makes a context manager that sets them on entry and puts them back on exit."""
        self._change = change
        self._lock = threading.Lock()
        self._blocks = 0
        self._changed: AbstractContextManager[None] = nullcontext()

    @contextmanager
    def hold(self) -> Iterator[None]:
        with self._lock:
            if not self._blocks:
                self._changed = self._change()
                self._changed.__enter__()
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    self._changed.__exit__(None, None, None)


def use_exact_float32() -> AbstractContextManager[None]:
    """Within the block, float32 convolutions and matrix products on a GPU are computed in float32.

    By default cuDNN takes TF32, with 10 bits of a number's 23, and no result would agree with a CPU's. It holds for all
    threads, until the last one has left its block.
    """
    return _EXACT_FLOAT32.hold()


@contextmanager
def _set_exact_float32() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [setting.fp32_precision for setting in settings]
    older = None  # torch keeps an older setting too, and refuses to read it where both were set and differ
    with suppress(RuntimeError):
        older = cudnn.allow_tf32
    try:
        if older is not None:
            cudnn.allow_tf32 = False
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        if older is not None:
            cudnn.allow_tf32 = older
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


_EXACT_FLOAT32: Final = _ProcessSettings(_set_exact_float32)


def use_deterministic_algorithms(device: str) -> AbstractContextManager[None]:
    """Within the block, a GPU computes the same bits from the same input, or torch raises an error; CPUs do anyway.

    All operators of abawkit's training steps have a deterministic form in torch; one of a plug-in may have none, and
    torch names it. Enter the block before cuBLAS is first called: where it may have been, and the environment does not
    hold `WORKSPACE`, torch warns instead of raising an error. It holds for all threads, until the last one has left its
    block.

    Args:
        device: The name of one; ``auto`` is a GPU where there is one.

    Raises:
        RuntimeError: Within the block, from an operator that has no deterministic form.
    """
    if not (device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())):
        return nullcontext()
    return _DETERMINISTIC_ALGORITHMS.hold()


@contextmanager
def _set_deterministic_algorithms() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before = cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory
    workspace = os.environ.get(WORKSPACE)
    try:
        if workspace is None:
            os.environ[WORKSPACE] = ":4096:8"
        late = workspace is None and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        torch.use_deterministic_algorithms(True, warn_only=late)
        cudnn.deterministic, cudnn.benchmark = True, False
        memory.fill_uninitialized_memory = False  # it costs a launch for each tensor, all of which are written first
        yield
    finally:
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = before
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


_DETERMINISTIC_ALGORITHMS: Final = _ProcessSettings(_set_deterministic_algorithms)


def choose_training_precision(requested: RequestedPrecision, device: torch.device) -> Precision:
    """The precision of training; ``auto`` is bfloat16 on GPUs that compute in it, else float32."""
    if requested != "auto":
        return requested
    gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if gpu else "float32"


def describe_precision(training: Precision | None = None, evaluation: InferencePrecision = "float32") -> dict[str, str]:
    """The precision that a manifest records; `training` is None where nothing was trained."""
    found = "float64" if training == "float64" else evaluation
    return {**({"training": training} if training else {}), "evaluation": found, "tf32": "off"}


def use_bfloat16(device: torch.device) -> AbstractContextManager[None]:
    """Within the block, networks compute in bfloat16 what a device computes faster in it.

    On GPUs that is autocast. On CPUs mixed blocks round the factors of their large products, and everything else is
    float32: autocast is slower there, and less exact.
    """
    if device.type == "cpu":
        return use_bfloat16_products()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def explain_slow_bfloat16(device: torch.device) -> str:
    """Why `use_bfloat16` gains nothing on a device, for a warning; empty where it does."""
    if has_bfloat16(device):
        return ""
    where = "this GPU" if device.type == "cuda" else "what computes mixed blocks on this processor"
    return f"{where} has no instructions for it, so it is slower than float32 and no more exact; leave it out"


def has_bfloat16(device: torch.device) -> bool:
    """Whether `use_bfloat16` is faster than float32 on a device: it has instructions for it, and they are used."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    request = find_request()
    return has_bfloat16_products() and (request is None or request.name == Native.name)
