"""Training of one network by several processes: collectives, and losses of the whole batch.

``torchrun`` or ``srun`` starts the processes; torch's DistributedDataParallel averages gradients. Losses are those of
the whole batch, so that the number of processes changes only the speed.
"""

import hashlib
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from abawkit.errors import AbawkitError, ConfigError, DataWarning
from abawkit.system.launcher import read_launch
from abawkit.tables import Array
from abawkit.training.stragglers import OwnTime, find_slowness

TIMEOUT: Final = timedelta(minutes=10)
"""How long a process waits for another one before all end, at least; a process that dies is noticed at once."""


class LostProcessError(AbawkitError):
    """Another process of the run is gone, or does not answer."""


@dataclass(frozen=True)
class Distributed:
    """This process among those of a run; by default the only one.

    Attributes:
        rank: Its number, from 0; process 0 writes files and messages.
        world_size: Number of processes.
        restarts: How often all of them were started again after a failure.
        launcher: Identifies the program that started them, over restarts; empty for one process.
        own_time: What this process takes from one meeting to the next.
    """

    rank: int = 0
    world_size: int = 1
    restarts: int = 0
    launcher: str = ""
    own_time: OwnTime = field(default_factory=OwnTime, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def sizes(self, rows: int) -> list[int]:
        """The number of rows that each process takes of a batch; they differ by one at most."""
        return [len(part) for part in np.array_split(np.arange(rows), self.world_size)]

    def part(self, batch: Array) -> Array:
        """The rows of a batch that this process takes, in their order."""
        return np.array_split(batch, self.world_size)[self.rank]

    def all_gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """The rows of all processes in their order; gradients flow to this process's rows only.

        The gradients of a loss over all rows therefore add up, over the processes, to the whole gradient.

        Args:
            own: Rows of this process, (sizes[rank], ...).
            sizes: Rows of each process.
        """
        if self.world_size == 1:
            return own
        self.own_time.arrive()
        padded = own.new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([own if r == self.rank else parts[r][:n] for r, n in enumerate(sizes)])

    def add(self, tensor: Tensor) -> None:
        """Adds a small tensor up over all processes, in place; all of them must call, in the same order.

        Each adds all parts in the order of ranks: one exchange, where a reduction of gloo takes two in turn.
        """
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with self.own_time.wait():
            dist.all_gather(parts, tensor)
        torch.sum(torch.stack(parts), dim=0, out=tensor)

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all of them must call."""
        return bool(self.find_largest(flag))

    def find_largest(self, number: int) -> int:
        """The largest number among those of all processes; all of them must call."""
        if self.world_size == 1:
            return number
        votes = torch.tensor([float(number)], device=_choose_device())
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        largest = int(votes.item())
        self.own_time.leave()
        return largest

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copies the tensors of the first process to all others, in place."""
        if self.world_size > 1:
            with self.own_time.wait():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def broadcast_numbers(self, numbers: Sequence[int]) -> list[int]:
        """The numbers of the first process; all of them must call, with as many numbers."""
        if self.world_size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.int64, device=_choose_device())
        dist.broadcast(tensor, 0)
        received: list[int] = tensor.tolist()
        return received

    def wait_for_all(self) -> None:
        """Returns when all processes have called it."""
        self.find_largest(0)

    def refuse_differences(self, described: object, what: str) -> None:
        """Refuses processes that were started with different commands, as the tasks of ``srun`` can be.

        Args:
            described: What must be the same in all of them: anything whose ``repr`` says all of it.
            what: What differs, for the message: "recipes, inputs or --out".

        Raises:
            ConfigError: In all of them, if it differs between one and the first.
        """
        own = int.from_bytes(hashlib.sha256(repr(described).encode()).digest()[:7])
        if self.any_rank(self.broadcast_numbers([own]) != [own]):
            raise ConfigError(
                f"{self.world_size} processes were started together, and their {what} differ; give all the same "
                "command, or start each in a job of its own (with srun: --ntasks 1)"
            )

    def warn_if_slow(self, epoch: int) -> None:
        """Warns in a process that took much longer for its part of an epoch than the others; all of them must call.

        Warns:
            DataWarning: If it did, with its rank and its host.
        """
        if self.world_size == 1:
            return
        own = torch.tensor([self.own_time.take()], dtype=torch.float64, device=_choose_device())
        seconds = self.all_gather(own, [1] * self.world_size).tolist()
        if ratio := find_slowness(seconds, self.rank):
            text = (
                f"process {self.rank} of {self.world_size} on {socket.gethostname()} is slow, and the others wait for "
                f"it: its own part of epoch {epoch} took {seconds[self.rank]:.0f} s, {ratio:.1f} times their median"
            )
            warnings.warn(text, DataWarning, stacklevel=2)


ALONE: Final = Distributed()
"""One process."""

_joined: ContextVar[Distributed | None] = ContextVar("abawkit.processes", default=None)


@contextmanager
def join_processes(device: str, hang_timeout: float | None = None) -> Iterator[Distributed]:
    """Joins the other processes of this run, where several were started; leaves them at the end of the block.

    Within such a block, another one changes nothing. NCCL connects GPUs, one for each process of a machine; gloo
    connects CPUs.

    Args:
        device: The recipe's device.
        hang_timeout: Seconds after which a process notices that it hangs: it waits longer for others then, so that it
            is the one that notices.

    Raises:
        ConfigError: If there are fewer GPUs than processes on this machine.
        LostProcessError: If another process ends, or does not answer for `TIMEOUT` and twice `hang_timeout`.
    """
    if joined := _joined.get():
        yield joined
        return
    launch = read_launch()
    count, rank = launch.world_size, launch.rank
    patience = max(TIMEOUT, timedelta(seconds=2 * (hang_timeout or 0)))
    if count < 2:
        yield ALONE
        return
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if gpu:
        if torch.device(device if device != "auto" else "cuda").index is not None:
            raise ConfigError(f"device = '{device}' is one GPU for {count} processes; set cuda: each takes its own")
        here = torch.cuda.device_count()
        own = 0 if launch.job and here == 1 else launch.local_rank  # srun --gpus-per-task hides the others' GPUs
        if own >= here:
            raise ConfigError(
                f"{own + 1} processes or more and {here} GPUs; give torchrun --nproc-per-node {here}, or "
                f"srun --ntasks-per-node {here}"
            )
        torch.cuda.set_device(own)
    try:
        store, *_ = next(rendezvous(launch.rendezvous, rank, count, timeout=patience))
        # torchrun keeps its store over restarts: a process could find the address of one that is gone
        store = PrefixStore(f"restart {launch.restarts}", store)
        backend = "nccl" if gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
        launcher = launch.job or f"process {os.getppid()} on {socket.gethostname()}"
        token = _joined.set(Distributed(rank, count, launch.restarts, launcher))
        try:
            yield _joined.get() or ALONE
        finally:
            _joined.reset(token)
        dist.destroy_process_group()
    except (dist.DistError, RuntimeError) as error:
        if not _is_about_processes(error):
            raise
        first = str(error).strip().splitlines()[0]
        raise LostProcessError(
            f"process {rank} of {count}: another process is gone or does not answer ({first})\n"
            "its own message is above or in its log; continue with --resume"
        ) from error
    finally:
        # NCCL would wait for processes that may be waiting for this one: it ends with the process
        if dist.is_initialized() and dist.get_backend() == "gloo":
            dist.destroy_process_group()


def _is_about_processes(error: Exception) -> bool:
    words = ("[gloo", "gloo ", "nccl", "connection closed", "connection reset", "connection refused", "timed out")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)


def _choose_device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
