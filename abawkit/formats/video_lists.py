"""Lists of videos, a name a line and no header, as the official ones of ABAW3 and of later editions are.

Source: the files ``*_Challenge_test_set_release.txt`` that participants' public code reads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.lines import IMAGE_HEADERS
from abawkit.formats.rows import shortened
from abawkit.formats.timeline import frame_name
from abawkit.formats.video_files import SUFFIXES
from abawkit.names import IMAGE_SUFFIXES, image_defect
from abawkit.tables import VideoList

_FILES: Final = (*SUFFIXES, ".txt")


def is_video_list(content: bytes) -> bool:
    """Whether text is a list of videos: no header, and no line with a comma, a slash, a blank or the name of an image.

    Args:
        content: Text from `abawkit.formats.lines.read_text`.
    """
    names = _names(content)
    if names[0] in IMAGE_HEADERS or b"," in content.replace(b",\n", b"\n") or b"/" in content:
        return False
    return not any(" " in name.strip() or name.lower().endswith(IMAGE_SUFFIXES) for name in names)


def read_videos(path: Path, content: bytes) -> VideoList:
    """Reads a list of videos.

    Args:
        path: The list, for messages.
        content: Its text, for which `is_video_list` holds.

    Raises:
        ProblemsError: If a name can't be that of a video, or stands twice.
    """
    names = _names(content)
    problems = [
        Problem(line, "video", f"{defect}: '{shortened(name)}'")
        for line, name in enumerate(names, start=1)
        if (defect := _defect(name, names[: line - 1]))
    ]
    if problems:
        raise ProblemsError(path, problems, "give the list as the organisers released it: a video a line")
    images = pa.array([frame_name(name, 1) for name in names], pa.string())
    return VideoList(images=images, lines=np.arange(len(names), dtype=np.int64) + 1)


def _names(content: bytes) -> list[str]:
    return [line.rstrip(",") for line in content.decode().split("\n")[:-1]]


def _defect(name: str, before: Sequence[str]) -> str:
    if name in before:
        return "got a video that is listed before"
    if name.lower().endswith(_FILES):
        return "got the name of a file, expected that of a video, without an ending"
    if not name or image_defect(frame_name(name, 1)):
        return "got a name that no video can have"
    return ""
