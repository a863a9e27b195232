"""How a GPU is used: numeric precision, deterministic algorithms, and copies that the host does not wait for."""

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, TypeVar

import torch
from torch import Tensor

K = TypeVar("K", bound=Hashable)


def pin_memory(values: Tensor, device: torch.device) -> Tensor:
    """Brings a tensor of the host to where `upload` can take it without waiting.

    Args:
        values: On the CPU.
        device: Where it is to go.

    Returns:
        A copy in page-locked memory for a GPU, else the tensor itself.
    """
    return values.pin_memory() if device.type == "cuda" else values


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copies what `pin_memory` returned to its device, in the order of the device's work; the host goes on."""
    return values.to(device, non_blocking=True)


class Download:
    """A copy to the host that is under way."""

    def __init__(self, values: Tensor) -> None:
        """Starts it.

        Args:
            values: On any device; on a CPU nothing is copied.
        """
        self._event: torch.cuda.Event | None = None
        self._values = values
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(values.device))

    def wait(self) -> Tensor:
        """The values on the host, when they have come; what the device was given after them goes on."""
        if self._event:
            self._event.synchronize()
        return self._values


def to_host(tensors: Mapping[K, Tensor]) -> dict[K, Tensor]:
    """Brings many tensors to the host in one copy for each type, so that it waits once and not for each tensor.

    Args:
        tensors: All on one device, of any types and shapes.

    Returns:
        The tensors themselves where they are on a CPU; else copies, contiguous, each in memory of its own.
    """
    found = {key: value.detach() for key, value in tensors.items()}
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
Requested = Literal["auto", "float32", "bfloat16", "float64"]

WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS must find in the environment when it is first called, to repeat its sums in the same order.

Source: https://docs.nvidia.com/cuda/cublas/#results-reproducibility.
"""


@contextmanager
def use_exact_float32() -> Iterator[None]:
    """Within the block, float32 convolutions and matrix products on a GPU are computed in float32.

    By default cuDNN takes TF32, with 10 bits of a number's 23, and no result would agree with a CPU's.
    """
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


@contextmanager
def use_deterministic_algorithms(device: str) -> Iterator[None]:
    """Within the block, a GPU computes the same bits from the same input, or torch raises an error.

    On CPUs nothing is to be set. Every operator of abawkit's own steps has a deterministic form in torch; one that a
    plugged-in implementation uses may have none, and torch names it. Enter the block before cuBLAS is first called:
    where it may have been, and the environment does not hold `WORKSPACE`, torch warns instead of raising an error.

    Args:
        device: The name of one; ``auto`` is a GPU where there is one.

    Raises:
        RuntimeError: Within the block, from an operator that has no deterministic form.
    """
    if not (device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())):
        yield
        return
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
        memory.fill_uninitialized_memory = (
            False  # a launch for each tensor, and nothing here reads one before it is set
        )
        yield
    finally:
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = before
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


def use_training_precision(requested: Requested, device: torch.device) -> Precision:
    """What a recipe's ``precision`` means on a device.

    Args:
        requested: Of the recipe; ``auto`` is bfloat16 on GPUs that compute in it, else float32.
        device: Where it is to be computed.
    """
    if requested != "auto":
        return requested
    gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if gpu else "float32"


def describe_precision(training: Precision | None = None) -> dict[str, str]:
    """What a manifest says of the numbers that were computed with.

    Args:
        training: From `use_training_precision`; None where nothing was trained.
    """
    evaluation = "float64" if training == "float64" else "float32"
    return {**({"training": training} if training else {}), "evaluation": evaluation, "tf32": "off"}
