"""Running statistics of batch norms: copied before a step, and put back where the step is not to count."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import Tensor, nn


class RunningStatistics:
    """A network's buffers, and one copy of them in memory that is allocated once.

    Buffers of one type share one block of memory, so that a GPU copies or chooses all of them in a few launches.
    """

    def __init__(self, network: nn.Module) -> None:
        """Finds the buffers; they must stay the same tensors from now on."""
        by_type = sorted(network.buffers(), key=lambda buffer: str(buffer.dtype))
        self._groups = [_Group(list(buffers)) for _, buffers in groupby(by_type, key=lambda buffer: buffer.dtype)]

    @torch.no_grad()
    def keep(self) -> None:
        """Copies the buffers."""
        for group in self._groups:
            torch._foreach_copy_(group.copies, group.buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Gives the buffers the values that `keep` found."""
        for group in self._groups:
            torch._foreach_copy_(group.buffers, group.copies)

    @torch.no_grad()
    def put_back_unless(self, counts: Tensor) -> None:
        """As `put_back` where `counts` is false, else nothing; the host does not learn which.

        Args:
            counts: bool (), on the buffers' device.
        """
        for group in self._groups:
            now = torch.cat([buffer.flatten() for buffer in group.buffers])
            chosen = torch.where(counts, now, group.block)
            torch._foreach_copy_(group.buffers, group.views_of(chosen))


class _Group:
    """Buffers of one type."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self.buffers = buffers
        self.block = buffers[0].new_empty(sum(buffer.numel() for buffer in buffers))
        self.copies = self.views_of(self.block)

    def views_of(self, block: Tensor) -> list[Tensor]:
        """Parts of a block in the shapes of the buffers."""
        parts = torch.split(block, [buffer.numel() for buffer in self.buffers])
        return [part.view(buffer.shape) for part, buffer in zip(parts, self.buffers, strict=True)]


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Running statistics of batch norms stay as they are within the block: SAM's second pass must not count twice."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
