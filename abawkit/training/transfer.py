"""Copies between the host and a GPU that the host does not wait for; on CPUs there is nothing to copy."""

import torch
from torch import Tensor


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
