"""What becomes of listed frames that can't be had: a refusal, or the answer for the nearest frame of the video."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from abawkit.errors import DataError, printable
from abawkit.frame_names import find_video, parse_frame_number
from abawkit.frames.hints import describe_failures
from abawkit.frames.paths import FramesRoot
from abawkit.frames.reader import FrameFailure
from abawkit.tables import Array

if TYPE_CHECKING:  # a list, and what is wrong with it, are read without torch
    from abawkit.models.inference import Probabilities


def refuse_missing(failures: Sequence[FrameFailure], rows: int | None = None, root: FramesRoot | None = None) -> None:
    """Refuses frames that can't be had.

    Args:
        failures: What can't be had.
        rows: Rows of the list, where all of them were looked at.
        root: Where they were looked for; None for packed frames.

    Raises:
        DataError: If there is any; it names the first ten, and where they are if that can be told.
    """
    if not failures:
        return
    shown = [printable(f"row {f.row + 1:,}: {f.image}: {f.reason} ({f.message})") for f in failures[:10]]
    more = [f"... and {len(failures) - 10:,} more"] if len(failures) > 10 else []
    advice = (
        "copy the frames anew or give the right --frames; --missing neighbour answers with the nearest frame's values"
    )
    found = "frames of the list can't be read:"
    if len(failures) == rows:
        found = (
            f"none of the {rows:,} frames of the list can be read; this is another folder, or the list of other videos:"
        )
    hints = describe_failures(root, failures, rows) if root else []
    raise DataError("\n".join([found, *shown, *more, *hints, advice]))


def fill_from_neighbours(probabilities: "Probabilities", seen: Array, images: Sequence[str]) -> dict[int, int]:
    """Gives each row without a frame the answer for the row of the same video whose frame number is nearest.

    Args:
        probabilities: Filled in place.
        seen: Rows that have an answer, (n,).
        images: Image names ``VIDEO/00001.jpg``, n of them.

    Returns:
        For each row that was filled the row that it was filled from; of two equally near, the earlier frame.

    Raises:
        DataError: If a video has no row with an answer, or a frame has no number.
    """
    wanted = np.flatnonzero(~seen).tolist()
    videos = {find_video(images[row]) for row in wanted}
    known: dict[str, list[tuple[int, int]]] = {video: [] for video in videos}
    for row in np.flatnonzero(seen).tolist():
        video = find_video(images[row])
        if video in videos:
            known[video].append((_frame_number(images[row]), row))
    filled: dict[int, int] = {}
    for row in wanted:
        candidates = known[find_video(images[row])]
        if not candidates:
            raise DataError(
                f"{printable(images[row])}: no frame of its video can be read; there is no neighbour to ask"
            )
        number = _frame_number(images[row])
        source = min(candidates, key=lambda c: (abs(c[0] - number), c[0], c[1]))[1]
        for column in probabilities:
            column[row] = column[source]
        filled[row] = source
    return filled


def _frame_number(image: str) -> int:
    number = parse_frame_number(image)
    if number is None:
        raise DataError(f"{printable(image)}: has no frame number, so its nearest frame is not known")
    return number
