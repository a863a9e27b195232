"""Training steps as CUDA graphs: the host launches a whole step, not each of its thousand kernels."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.errors import OpWarning, printable
from abawkit.models.devices import upload
from abawkit.training.batches import HostBatch

WARM_UP: Final = 3
"""Steps of each size before one is recorded, in which libraries choose kernels and allocate."""

Compute = Callable[[Tensor, Tensor, int, int], tuple[tuple[str, ...], Tensor]]
"""A step: frames, numbers, rows of the batch and of this process -> names of losses, and their values on the device."""


class _Recorded(NamedTuple):
    """A graph, what it reads, and what it writes."""

    graph: torch.cuda.CUDAGraph
    frames: Tensor
    numbers: Tensor
    names: tuple[str, ...]
    values: Tensor


class GraphedStep:
    """Takes steps on a GPU; from the fourth of each size on, by replaying a recorded one.

    Kernels are the same either way, and so are the bits. Steps that can't be recorded, as where an operator waits for
    the device, run as before, after a warning.
    """

    def __init__(self, compute: Compute, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        """Records nothing yet.

        Args:
            compute: A step. Besides its arguments it reads only tensors that stay at their addresses.
            optimizer: The fused optimiser that it uses.
            device: A GPU.
        """
        self._compute, self._optimizer, self._device = compute, optimizer, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._recorded: dict[tuple[int, int], _Recorded] = {}
        self._taken: Counter[tuple[int, int]] = Counter()
        self.refused = False

    def __call__(self, batch: HostBatch) -> tuple[tuple[str, ...], Tensor]:
        """Takes one step; returns the names of the losses, and their values on the device until the next step."""
        size = len(batch.rows), len(batch.part)
        if size not in self._recorded and self._taken[size] >= WARM_UP and not self.refused:
            self._record(size, batch)
        if recorded := self._recorded.get(size):
            recorded.frames.copy_(batch.frames, non_blocking=True)
            recorded.numbers.copy_(batch.numbers, non_blocking=True)
            recorded.graph.replay()
            return recorded.names, recorded.values
        self._taken[size] += 1
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):  # the one that is recorded: libraries keep memory for each stream
            found = self._compute(upload(batch.frames, self._device), upload(batch.numbers, self._device), *size)
        current.wait_stream(self._stream)
        return found

    def _record(self, size: tuple[int, int], batch: HostBatch) -> None:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        frames, numbers = (upload(part, self._device) for part in (batch.frames, batch.numbers))
        recording = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )  # of this thread: another one allocates page-locked memory meanwhile
        try:
            with _capturable(self._optimizer), recording:
                names, values = self._compute(frames, numbers, *size)
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # torch leaves the recording's where its end fails as well
            self.refused = True
            reason = printable(str(error).splitlines()[0])
            warnings.warn(f"steps are not recorded as a CUDA graph, and take longer: {reason}", OpWarning, stacklevel=2)
            return
        self._recorded[size] = _Recorded(graph, frames, numbers, names, values)


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Marks the optimiser as capturable while it is recorded; torch warns of one that is marked and not recorded."""
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in optimizer.param_groups:
            group["capturable"] = False
