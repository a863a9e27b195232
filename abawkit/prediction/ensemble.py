"""What several networks say of frames, chunk by chunk: memory grows with the outputs alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS
from abawkit.models.inference import Probabilities, infer
from abawkit.prediction.members import Member
from abawkit.prediction.sources import PixelChunk
from abawkit.tables import Array


def mean_probabilities(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    total: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Probabilities, Array]:
    """Averages what the members say, for each task over the members that were trained for it.

    Args:
        members: At least one.
        chunks: Frames, in any order, each row at most once.
        total: Rows of the list.
        device: Where the members are.
        progress: Called with the rows done and the rows in all.

    Returns:
        The means, float32, with zeros for rows that were in no chunk and for tasks that no member knows; and a mask of
        the rows that were in one, (total,).
    """
    result = zeros(total)
    seen = np.zeros(total, dtype=bool)
    for rows, answers in _answers(members, chunks, seen, device, progress):
        for i, task in enumerate(TASKS):
            heard = [answer[i] for answer, member in zip(answers, members, strict=True) if task in member.tasks]
            if heard:
                # sorted, so that the order of the members changes no bit of the mean
                result[i][rows] = np.mean(np.sort(np.stack(heard), axis=0), axis=0, dtype=np.float64)
    return result, seen


def each_probabilities(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    total: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Probabilities], Array]:
    """Keeps what each member says: 88 bytes a row and member.

    Returns:
        What each says, float32, of all tasks, with zeros for rows that were in no chunk; and a mask of the rows that
        were in one, (total,). Arguments are those of `mean_probabilities`.
    """
    results = [zeros(total) for _ in members]
    seen = np.zeros(total, dtype=bool)
    for rows, answers in _answers(members, chunks, seen, device, progress):
        for result, answer in zip(results, answers, strict=True):
            for column, values in zip(result, answer, strict=True):
                column[rows] = values
    return results, seen


def _answers(
    members: Sequence[Member],
    chunks: Iterable[PixelChunk],
    seen: Array,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Array, list[Probabilities]]]:
    """The rows of each chunk and what each member says of them; marks them as seen."""
    for rows, pixels in chunks:
        yield rows, [infer(member.network, pixels, device) for member in members]
        seen[rows] = True
        if progress:
            progress(int(seen.sum()), len(seen))


def zeros(total: int) -> Probabilities:
    """Arrays to fill."""
    widths = (len(DIMENSIONS), len(EXPRESSIONS), len(ACTION_UNITS))
    return Probabilities(*(np.zeros((total, width), dtype=np.float32) for width in widths))
