"""Which process of a run this one is, as ``torchrun`` or Slurm's ``srun`` say in environment variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from abawkit.errors import ConfigError

_FIRST_PORT, _PORTS = 12_000, 20_000
"""Ports below 32,768, where Linux begins to give them to outgoing connections."""


@dataclass(frozen=True)
class Launch:
    """This process among those that were started together; by default the only one.

    Attributes:
        rank: Its number among all, from 0.
        world_size: Number of processes.
        local_rank: Its number on this machine, from 0.
        restarts: How often all of them were started again after a failure or a requeue.
        job: What started them, over restarts, where the launcher has a name for it; else empty.
        rendezvous: Where they meet, as ``torch.distributed`` takes it; empty for one process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    restarts: int = 0
    job: str = ""
    rendezvous: str = ""

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def command(self) -> str:
        """What starts as many processes, in front of ``abawkit``; empty for one."""
        if self.world_size == 1:
            return ""
        return f"srun --ntasks {self.world_size} " if self.job else f"torchrun --nproc-per-node {self.world_size} -m "


def read_launch(variables: Mapping[str, str] | None = None) -> Launch:
    """Reads the variables of ``torchrun``, else those of a step that ``srun`` started with several tasks.

    A batch script itself and a shell of ``salloc`` are no such step, whatever number of tasks the job has.

    Args:
        variables: Instead of the environment.

    Raises:
        ConfigError: If a variable is not a number, or the list of nodes can't be read.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables and
        https://slurm.schedmd.com/srun.html, section "OUTPUT ENVIRONMENT VARIABLES".
    """
    given = os.environ if variables is None else variables
    if "WORLD_SIZE" in given:
        rank, count = _read_number(given, "RANK", 0), _read_number(given, "WORLD_SIZE", 1)
        restarts = _read_number(given, "TORCHELASTIC_RESTART_COUNT", 0)
        local = _read_number(given, "LOCAL_RANK", rank)
        return Launch(rank, count, local, restarts, "", "env://") if count > 1 else Launch()
    count = _read_number(given, "SLURM_STEP_NUM_TASKS", 1)
    if count < 2:
        return Launch()
    rank, job = _read_number(given, "SLURM_PROCID", 0), _read_number(given, "SLURM_JOB_ID", 0)
    return Launch(
        rank=rank,
        world_size=count,
        local_rank=_read_number(given, "SLURM_LOCALID", rank),
        restarts=_read_number(given, "SLURM_RESTART_COUNT", 0),
        job=f"Slurm job {job}",
        rendezvous=f"tcp://{_find_address(given)}:{_choose_port(given, job)}",
    )


def find_first_node(nodes: str) -> str:
    """The first name of a list of nodes as Slurm writes it: ``gpu[07-09,12],login1`` begins with ``gpu07``.

    Raises:
        ConfigError: If the list has another form.
    """
    found = re.match(r"([^\[\],]+)(?:\[(\d+)[^\]]*\]([^\[\],]*))?(?:,|$)", nodes)
    if not found:
        raise ConfigError(f"SLURM_STEP_NODELIST={nodes}: expected names such as gpu1 or gpu[07-09,12]; set MASTER_ADDR")
    prefix, number, suffix = found.groups()
    return prefix + (number or "") + (suffix or "")


def _find_address(given: Mapping[str, str]) -> str:
    if address := given.get("MASTER_ADDR"):
        return address
    if _read_number(given, "SLURM_STEP_NUM_NODES", 1) == 1:
        return "127.0.0.1"
    return find_first_node(given.get("SLURM_STEP_NODELIST", ""))


def _choose_port(given: Mapping[str, str], job: int) -> int:
    """A port that the steps of one job, and jobs that share a node, choose differently."""
    step = _read_number(given, "SLURM_STEP_ID", 0)
    return _read_number(given, "MASTER_PORT", _FIRST_PORT + (job * 7 + step) % _PORTS)


def _read_number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    if text and not re.fullmatch("[0-9]+", text):
        raise ConfigError(f"{name}={text}: expected a number of the launcher's; unset it to train in one process")
    return int(text) if text else default
