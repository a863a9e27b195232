"""Lists of frames to answer, one image name a row, as MTL.txt has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.rows import plain_names, shortened
from abawkit.names import image_defect
from abawkit.tables import FrameList

LIST = "a list of frames, one image name a row (MTL.txt)"


def read_list(path: Path, firsts: Sequence[str]) -> FrameList:
    """Reads a list; rows may end in nothing, in a comma or in dummy values.

    Args:
        path: The list.
        firsts: Names of the header's first field that give no warning.

    Raises:
        DataError: If the file is no list.
        ProblemsError: If an image name is not what it must be.
    """
    content = read_text(path, LIST)
    frames = first_fields(content, header_lines(path, content, LIST, firsts))
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
    """What stands before the first comma of every line.

    Args:
        content: Text from `read_text`.
        skip_lines: Lines before the first row.
    """
    names = [line.partition(",")[0] for line in content.decode().split("\n")[skip_lines:-1]]
    lines = np.arange(len(names), dtype=np.int64) + skip_lines + 1
    return FrameList(images=pa.array(names, pa.string()), lines=lines)
