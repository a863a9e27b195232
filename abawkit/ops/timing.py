"""How work is timed: interleaved rounds, inputs that no cache of a GPU still holds, and the time of kernels alone."""

import statistics
from collections.abc import Callable, Mapping
from itertools import cycle
from time import perf_counter
from typing import Final

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

SHORTEST: Final = 1e-3
"""Seconds that one reading of the clock covers at least, by repeating what is shorter."""

MOST_REPEATS: Final = 50
"""Calls that the profiler records of each piece of work at most: it keeps every kernel."""

_Run = Callable[[], object]


def read_cache_bytes(device: torch.device) -> int:
    """Bytes of a GPU's second-level cache; 0 on a CPU, where one input is used again and again."""
    return int(torch.cuda.get_device_properties(device).L2_cache_size) if device.type == "cuda" else 0


class Rotation:
    """Copies of a tensor, taken in turn: together they are twice as large as the cache that they must not be found in.

    Where there is no such cache it is the tensor itself, each time.
    """

    def __init__(self, tensor: Tensor, cache: int) -> None:
        """Makes the copies.

        Args:
            tensor: Of any shape and type; copies have its strides, and are leaves that require gradients if it does.
            cache: Bytes of the cache; 0 for no copy.
        """
        copies = -(-2 * cache // max(tensor.nbytes, 1)) if tensor.numel() else 0
        own = tensor.detach()
        self.tensors = [tensor, *(own.clone().requires_grad_(tensor.requires_grad) for _ in range(copies - 1))]
        self._turn = cycle(self.tensors)

    def __call__(self) -> Tensor:
        """The next copy."""
        return next(self._turn)


def time_wall(work: Mapping[str, _Run], rounds: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each piece of work, in rounds that do them one after another.

    What is shorter than `SHORTEST` is repeated; the device has finished when the clock is read.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    repeats = {}
    for name, f in work.items():
        f()  # the first time is no measure: it folds, compiles, or asks for memory
        repeats[name] = max(1, int(SHORTEST / _seconds(f, 1, device)))
    for _ in range(rounds):
        for name, f in work.items():
            times[name].append(1000 * _seconds(f, repeats[name], device) / repeats[name])
    return {name: statistics.median(values) for name, values in times.items()}


def time_kernels(work: Mapping[str, _Run], rounds: int, device: torch.device) -> dict[str, float]:
    """Milliseconds that a GPU works for each piece of work: the sum of its kernels and copies, a mean over calls.

    Returns:
        By name; without those for which the profiler saw nothing, and empty on a CPU.
    """
    if device.type != "cuda":
        return {}
    repeats = min(MOST_REPEATS, 5 * rounds)
    found = {name: sum(read_kernel_times(f, repeats, device).values()) / 1000 for name, f in work.items()}
    return {name: milliseconds for name, milliseconds in found.items() if milliseconds}


def read_kernel_times(f: _Run, repeats: int, device: torch.device) -> dict[str, float]:
    """Microseconds that a GPU works in each kernel during one call, by the kernel's name: means over calls.

    Args:
        f: What to call; it was called before.
        repeats: How often.
        device: The GPU.
    """
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(repeats):
            f()
        torch.cuda.synchronize(device)
    found: dict[str, float] = {}
    for event in seen.events() or ():
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            found[event.name] = found.get(event.name, 0.0) + event.time_range.elapsed_us() / repeats
    return found


def _seconds(f: _Run, repeats: int, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = perf_counter()
    for _ in range(repeats):
        f()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return max(perf_counter() - start, 1e-9)
