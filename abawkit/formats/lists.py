"""Lists of frames to answer, one image name a row, as MTL.txt has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, Problem, ProblemsError
from abawkit.formats.base import find_formats
from abawkit.formats.column_names import find_track, refuse_other_track
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.rows import plain_names, shortened
from abawkit.formats.video_lists import is_video_list
from abawkit.labels import Answer
from abawkit.names import image_defect
from abawkit.tables import FrameList

LIST = "a list of frames, one image name a row (MTL.txt)"


def read_list(
    path: Path, firsts: Sequence[str], *, name: str = "", holds: Sequence[Answer] = (), header: str = ""
) -> FrameList:
    """Reads a list; rows may end in nothing, in a comma or in dummy values.

    Args:
        path: The list.
        firsts: Names of the header's first field that give no warning.
        name: The format that the list is read for, for messages.
        holds: The answers of that format: a header that names others is that of another track's list. Without any, what
            a header names is not looked at.
        header: The official header of the format, which is always accepted.

    Raises:
        DataError: If the file is no list, or one of another track.
        ProblemsError: If an image name is not what it must be.
    """
    content = read_text(path, LIST)
    if is_video_list(content):
        raise DataError(
            f"{path}:1: got a list of videos, expected {LIST}; {name or 'this format'} answers frames: give their "
            "list, or a --format of one file per video (abaw3-va, abaw3-expr, abaw3-au)"
        )
    skip_lines = header_lines(path, content, LIST, firsts)
    if skip_lines and holds:
        _refuse_other_track(path, content[: content.index(b"\n")].decode(), name, holds, header)
    frames = first_fields(content, skip_lines)
    if not plain_names(frames.images):
        problems = [
            Problem(int(line), "image", f"{defect}: '{shortened(name)}'")
            for line, name in zip(frames.lines, frames.images.to_pylist(), strict=True)
            if (defect := image_defect(name))
        ]
        if problems:
            raise ProblemsError(path, problems, "give the list as the organisers released it")
    return frames


def first_fields(content: bytes, skip_lines: int) -> FrameList:
    """What stands before the first comma of every line, and behind it.

    Args:
        content: Text from `read_text`.
        skip_lines: Lines before the first row.
    """
    rows = [line.partition(",") for line in content.decode().split("\n")[skip_lines:-1]]
    lines = np.arange(len(rows), dtype=np.int64) + skip_lines + 1
    names = pa.array([name for name, _, _ in rows], pa.string())
    return FrameList(images=names, lines=lines, examples=pa.array([rest for _, _, rest in rows], pa.string()))


def holds_names_alone(frames: FrameList) -> bool:
    """Whether nothing stands behind the names of a file: it is a list then, whatever it was given as."""
    return frames.examples is not None and not any(text.strip(", ") for text in frames.examples.to_pylist())


def _refuse_other_track(path: Path, header: str, name: str, holds: Sequence[Answer], official: str) -> None:
    """Raises DataError for the header of a list that is not one of this format's track."""
    if header == official:
        return
    try:
        refuse_other_track(header, holds)
    except ValueError as error:
        other = find_track(header)
        whose = f"; this is a list of {' or '.join(find_formats(other))}" if other and other != tuple(holds) else ""
        raise DataError(
            f"{path}:1: {error}{whose}\ngive the list of {name}: lists of other tracks name other videos; if this is "
            "it, keep only the first name of its header"
        ) from error
