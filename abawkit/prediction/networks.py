"""The networks of an ensemble and their probabilities, chunk by chunk: memory grows with the outputs alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from abawkit.choices import InferencePrecision
from abawkit.errors import ConfigError, DataError
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.models.inference import Probabilities, infer, place_network
from abawkit.models.network import DDAMFN
from abawkit.models.sequence import SequenceNetwork, build_network
from abawkit.models.weight_files import find_weights
from abawkit.models.weights import digest_state, load_any_weights
from abawkit.prediction.sources import PixelChunk
from abawkit.tables import Array


@dataclass(frozen=True)
class Member:
    """One network of an ensemble.

    Attributes:
        path: Its file of weights.
        digest: Digest of its weights, by which a network that is given twice is found.
        tasks: The tasks that it was trained for; for others it is not used.
        network: The network, on its device.
        precision: What it computes with; sequence networks always float32.
        answers: Probabilities of all rows, of a sequence network; None before `answer_from_features`.
    """

    path: Path
    digest: str
    tasks: tuple[Task, ...]
    network: DDAMFN | SequenceNetwork
    precision: InferencePrecision = "float32"
    answers: Probabilities | None = None

    def predict(self, rows: Array, pixels: Array, device: torch.device) -> Probabilities:
        """The probabilities of rows, int64 (n,), with frames (n, 112, 112, 3) uint8, which sequence networks ignore."""
        if self.answers:
            return Probabilities(*(column[rows] for column in self.answers))
        if isinstance(self.network, SequenceNetwork):
            raise RuntimeError("answer_from_features comes first")
        return infer(self.network, pixels, device, self.precision)


def load_members(
    sources: Sequence[Path],
    device: torch.device,
    tasks: Sequence[Task] = TASKS,
    precision: InferencePrecision = "float32",
) -> list[Member]:
    """Loads the networks of an ensemble.

    Args:
        sources: Run folders, whose best epoch is taken, or files of weights.
        device: Where the networks will run.
        tasks: The tasks for each of which a member is required.
        precision: What they compute with.

    Raises:
        ConfigError: If there is none.
        DataError: If one can't be loaded or has no heads, two are the same network, or one of `tasks` has no member.
    """
    if not sources:
        raise ConfigError("no checkpoint was given; give run folders or files of weights")
    members = [_load_member(source, device, precision) for source in sources]
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


def _load_member(source: Path, device: torch.device, precision: InferencePrecision) -> Member:
    path = find_weights(source) if source.is_dir() else source
    weights = load_any_weights(path)
    network = build_network(weights.config)
    network.load_state_dict(weights.state)
    place_network(network, device)
    named = weights.metadata.get("tasks", ",".join(TASKS)).split(",")
    tasks = tuple(task for task in TASKS if task in named)
    used: InferencePrecision = "float32" if isinstance(network, SequenceNetwork) else precision
    return Member(path, digest_state(weights.state), tasks, network.eval(), used)


def predict_mean(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    total: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Probabilities, Array]:
    """Averages the members' probabilities, for each task over the members that were trained for it.

    Args:
        members: At least one.
        chunks: Frames, in any order, each row at most once.
        total: Rows of the list.
        device: Where the members are.
        progress: Called with the number of rows done and of all rows.

    Returns:
        The means, float32, with zeros for rows that were in no chunk and for tasks without a member; and a mask of the
        rows that were in one, (total,).
    """
    result = make_zeros(total)
    seen = np.zeros(total, dtype=bool)
    for rows, found in _infer_chunks(members, chunks, seen, device, progress):
        for i, task in enumerate(TASKS):
            columns = [each[i] for each, member in zip(found, members, strict=True) if task in member.tasks]
            if columns:
                # sorted, so that the order of the members changes no bit of the mean
                result[i][rows] = np.mean(np.sort(np.stack(columns), axis=0), axis=0, dtype=np.float64)
    return result, seen


def predict_each(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    total: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Probabilities], Array]:
    """Keeps the probabilities of each member: 88 bytes per row and member.

    Returns:
        Those of each member, float32, for all tasks, with zeros for rows that were in no chunk; and a mask of the rows
        that were in one, (total,). Arguments are those of `predict_mean`.
    """
    results = [make_zeros(total) for _ in members]
    seen = np.zeros(total, dtype=bool)
    for rows, found in _infer_chunks(members, chunks, seen, device, progress):
        for result, each in zip(results, found, strict=True):
            for column, values in zip(result, each, strict=True):
                column[rows] = values
    return results, seen


def _infer_chunks(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    seen: Array,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Array, list[Probabilities]]]:
    """The rows of each chunk and each member's probabilities of them; sets `seen` for these rows."""
    for rows, pixels in chunks:
        yield rows, [member.predict(rows, pixels, device) for member in members]
        seen[rows] = True
        if progress:
            progress(int(seen.sum()), len(seen))


def make_zeros(total: int) -> Probabilities:
    """Probabilities of `total` rows, all of them 0."""
    widths = (len(DIMENSIONS), len(EXPRESSIONS), len(ACTION_UNITS))
    return Probabilities(*(np.zeros((total, width), dtype=np.float32) for width in widths))
