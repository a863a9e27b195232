"""Copies between the host and a GPU that the host does not wait for; on CPUs there is nothing to copy."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

K = TypeVar("K", bound=Hashable)


def stage(values: Tensor, device: torch.device) -> Tensor:
    """Brings a tensor of the host to where `upload` can take it without waiting.

    Args:
        values: On the CPU.
        device: Where it is to go.

    Returns:
        A copy in page-locked memory for a GPU, else the tensor itself.
    """
    return values.pin_memory() if device.type == "cuda" else values


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copies what `stage` returned to its device, in the order of the device's work; the host goes on."""
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
