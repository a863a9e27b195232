"""The mean of several networks' probabilities, chunk by chunk: memory grows with the outputs alone."""

from collections.abc import Callable, Iterable, Sequence

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
        members: At least one for each task.
        chunks: Frames, in any order, each row at most once.
        total: Rows of the list.
        device: Where the members are.
        progress: Called with the rows done and the rows in all.

    Returns:
        The means, float32, with zeros for rows that were in no chunk; and a mask of the rows that were, (total,).
    """
    widths = (len(DIMENSIONS), len(EXPRESSIONS), len(ACTION_UNITS))
    result = Probabilities(*(np.zeros((total, width), dtype=np.float32) for width in widths))
    seen = np.zeros(total, dtype=bool)
    for rows, pixels in chunks:
        answers = [infer(member.network, pixels, device) for member in members]
        for i, task in enumerate(TASKS):
            heard = [answer[i] for answer, member in zip(answers, members, strict=True) if task in member.tasks]
            # sorted, so that the order of the members changes no bit of the mean
            result[i][rows] = np.mean(np.sort(np.stack(heard), axis=0), axis=0, dtype=np.float64)
        seen[rows] = True
        if progress:
            progress(int(seen.sum()), total)
    return result, seen
