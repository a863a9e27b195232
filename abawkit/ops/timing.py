"""Timing: interleaved rounds, inputs that are in no cache of a GPU, and the time of GPU kernels alone."""

import math
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
"""Seconds of one measurement at least; shorter work is repeated."""

FEWEST_ROUNDS: Final = 3
"""Rounds that `time_rounds` takes whatever its limit, if as many are requested."""

MOST_REPEATS: Final = 50
"""Calls of each function that the profiler records at most, as it keeps every kernel."""

_Run = Callable[[], object]


def read_cache_bytes(device: torch.device) -> int:
    """Bytes of a GPU's second-level cache; 0 on a CPU, where one input is used again and again."""
    return int(torch.cuda.get_device_properties(device).L2_cache_size) if device.type == "cuda" else 0


class Rotation:
    """Copies of a tensor, used in turn, which together are twice as large as a cache, so that none is found in it.

    Without such a cache it is always the tensor itself.
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
    """Median milliseconds of each function; see `time_rounds`."""
    times = time_rounds(work, rounds, device)
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}


def time_rounds(
    work: Mapping[str, _Run], rounds: int, device: torch.device, limit: float = math.inf
) -> dict[str, list[float]]:
    """Seconds of each function in each of several rounds, which call all functions in turn.

    Work shorter than `SHORTEST` is repeated; the device has finished when the clock is read.

    Args:
        work: Functions by name.
        rounds: How many.
        device: Where they work.
        limit: Seconds after which no round begins, though there are at least `FEWEST_ROUNDS` of those requested.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    repeats = {}
    for name, f in work.items():
        first = _measure_seconds(f, 1, device)  # not counted: it folds, compiles or allocates
        repeats[name] = 1 if first > limit / 10 else max(1, int(SHORTEST / _measure_seconds(f, 1, device)))
    began = perf_counter()
    for count in range(rounds):
        if count >= FEWEST_ROUNDS and perf_counter() - began > limit:
            break
        for name, f in work.items():
            times[name].append(_measure_seconds(f, repeats[name], device) / repeats[name])
    return times


def time_kernels(work: Mapping[str, _Run], rounds: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of GPU kernels and copies of each function, a mean over calls; empty on a CPU.

    Functions for which the profiler saw no kernel are left out.
    """
    if device.type != "cuda":
        return {}
    repeats = min(MOST_REPEATS, 5 * rounds)
    found = {name: sum(read_kernel_times(f, repeats, device).values()) / 1000 for name, f in work.items()}
    return {name: milliseconds for name, milliseconds in found.items() if milliseconds}


def read_kernel_times(f: _Run, repeats: int, device: torch.device) -> dict[str, float]:
    """Microseconds of each GPU kernel in one call of a function, by the kernel's name: means over `repeats` calls."""
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


def _measure_seconds(f: _Run, repeats: int, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = perf_counter()
    for _ in range(repeats):
        f()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return max(perf_counter() - start, 1e-9)
