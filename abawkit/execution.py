"""Where and how networks run, as options ask for it: operator, device, CPU threads; checked without torch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points

from abawkit.errors import ConfigError, OpUnavailableError, printable
from abawkit.system.files import count_processors
from abawkit.system.memory import keep_freed_memory

OPERATOR_GROUP = "abawkit.ops"
"""Entry points of implementations of the attention; those of other operators are in groups below it."""


def list_registered(group: str) -> list[str]:
    """Names that installed packages register in a group of entry points, sorted; none of them is imported."""
    return sorted({entry.name for entry in entry_points(group=group)})


def list_operator_names() -> list[str]:
    """Names of the implementations of any operator that installed packages register, sorted."""
    groups = [group for group in entry_points().groups if f"{group}.".startswith(f"{OPERATOR_GROUP}.")]
    return sorted({name for group in groups for name in list_registered(group)})


def refuse_operator(name: str | None) -> None:
    """Refuses an implementation of operators that no package registers, before torch is imported.

    Raises:
        OpUnavailableError: If there is none of this name.
    """
    names = list_operator_names()
    if name is not None and name not in names:
        raise OpUnavailableError(
            f"--ops {printable(name)}: no installed package offers this implementation; give one of "
            f"{printable(', '.join(names))}, or none for the best available"
        )


def refuse_device(name: str) -> None:
    """Refuses what can be no device, before torch is imported; whether it is here, torch says.

    Raises:
        ConfigError: If it is neither ``auto``, ``cpu`` nor ``cuda`` with or without a number.
    """
    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", name):
        raise ConfigError(f"device '{printable(name)}' can't be used here; give cpu, cuda, cuda:1 or auto")


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Has torch use a number of CPU threads for the length of the block, but never more than there are processors.

    Freed memory is kept from then on (`abawkit.system.memory.keep_freed_memory`).

    Args:
        threads: How many; None for torch's own number, which ``OMP_NUM_THREADS`` can have raised.
    """
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(min(threads or before, count_processors()))
    try:
        yield
    finally:
        torch.set_num_threads(before)
