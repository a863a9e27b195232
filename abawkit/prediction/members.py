"""The networks of an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from abawkit.errors import ConfigError, DataError
from abawkit.labels import TASKS, Task
from abawkit.models.inference import place
from abawkit.models.network import DDAMFN
from abawkit.models.weight_files import find_weights
from abawkit.models.weights import load_weights, state_digest


@dataclass(frozen=True)
class Member:
    """One network of an ensemble.

    Attributes:
        path: Its file of weights.
        digest: Digest of its weights: two members of one digest are one network twice.
        tasks: The tasks that it was trained for; it has no say in others.
        network: The network, on its device.
    """

    path: Path
    digest: str
    tasks: tuple[Task, ...]
    network: DDAMFN


def load_members(sources: Sequence[Path], device: torch.device, tasks: Sequence[Task] = TASKS) -> list[Member]:
    """Loads the networks of an ensemble.

    Args:
        sources: Run folders, whose best epoch is taken, or files of weights.
        device: Where the networks will run.
        tasks: The tasks that must have a member each.

    Raises:
        ConfigError: If there is none.
        DataError: If one can't be loaded or has no heads, two are the same network, or one of `tasks` has no member.
    """
    if not sources:
        raise ConfigError("no checkpoint was given; give run folders or files of weights")
    members = [_load(source, device) for source in sources]
    by_digest: dict[str, Path] = {}
    for member in members:
        if member.digest in by_digest:
            raise DataError(
                f"{member.path}: the same network as {by_digest[member.digest]} (digest {member.digest[:12]}); "
                "it would count twice: give each member once"
            )
        by_digest[member.digest] = member.path
    absent = [task for task in tasks if not any(task in member.tasks for member in members)]
    if absent:
        raise DataError(f"no checkpoint was trained for {', '.join(absent)}; add one that was")
    return members


def _load(source: Path, device: torch.device) -> Member:
    path = find_weights(source) if source.is_dir() else source
    weights = load_weights(path)
    network = DDAMFN(weights.config)
    network.load_state_dict(weights.state)
    place(network, device)
    named = weights.metadata.get("tasks", ",".join(TASKS)).split(",")
    return Member(path, state_digest(weights.state), tuple(task for task in TASKS if task in named), network.eval())
