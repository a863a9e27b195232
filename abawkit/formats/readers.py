"""Readers of lists of frames, of lists of videos, and of the annotation files of the multi-task track.

Source of the lists of videos (one name per line, no header): the files ``*_Challenge_test_set_release.txt`` that
participants' public code reads.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, DataWarning, Problem, ProblemsError, format_count
from abawkit.formats.base import find_formats
from abawkit.formats.column_names import find_other_track, find_track, order_columns, refuse_other_track
from abawkit.formats.label_columns import make_annotations, make_fields
from abawkit.formats.rows import find_name_problems, read_rows, shorten
from abawkit.formats.text import IMAGE_HEADERS, count_header_lines, read_text
from abawkit.frame_names import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_name_defect, format_frame_name
from abawkit.labels import FIELDS, OFFICIAL_HEADER, TASKS, Answer
from abawkit.tables import Annotations, FrameList, VideoList

_EXPECTED_LIST = "a list of frames, one image name a row (MTL.txt)"


def read_list(
    path: Path, image_column_names: Sequence[str], *, name: str = "", tasks: Sequence[Answer] = (), header: str = ""
) -> FrameList:
    r"""Reads a list; rows may end in nothing, in a comma or in dummy values.

    Args:
        path: The list.
        image_column_names: Names of the header's first field that give no warning.
        name: The format that the list is read for, for messages.
        tasks: The answers of that format: a header that names others is refused. Without any, it is not checked.
        header: The official header of the format, which is always accepted.

    Raises:
        DataError: If the file is no list, or one of another track.
        ProblemsError: If an image name is not what it must be.

    Example:
        >>> path = Path("MTL.txt")
        >>> _ = path.write_text("image,valence,arousal,expression,aus\nv/00001.jpg,\nv/00007.jpg,\n")
        >>> read_list(path, ["image"]).images.to_pylist()
        ['v/00001.jpg', 'v/00007.jpg']
    """
    content = read_text(path, _EXPECTED_LIST)
    if is_video_list(content):
        raise DataError(
            f"{path}:1: got a list of videos, expected {_EXPECTED_LIST}; {name or 'this format'} answers frames: "
            "give a list of frames, or a --format of one file per video (abaw3-va, abaw3-expr, abaw3-au)"
        )
    skip_lines = count_header_lines(path, content, _EXPECTED_LIST, image_column_names)
    if skip_lines and tasks:
        _refuse_other_track(path, content[: content.index(b"\n")].decode(), name, tasks, header)
    frames = read_first_fields(content, skip_lines)
    if problems := find_name_problems(frames.images, frames.lines):
        raise ProblemsError(path, problems, "give the list as the organisers released it")
    return frames


def read_first_fields(content: bytes, skip_lines: int) -> FrameList:
    """The text before the first comma of every line behind the first `skip_lines`, and the text behind it."""
    rows = [line.partition(",") for line in content.decode().split("\n")[skip_lines:-1]]
    lines = np.arange(len(rows), dtype=np.int64) + skip_lines + 1
    names = pa.array([name for name, _, _ in rows], pa.string())
    return FrameList(images=names, lines=lines, examples=pa.array([rest for _, _, rest in rows], pa.string()))


def holds_names_alone(frames: FrameList) -> bool:
    """Whether nothing follows the names in a file: then it is a list, not annotations or a submission."""
    return frames.examples is not None and not any(text.strip(", ") for text in frames.examples.to_pylist())


def _refuse_other_track(path: Path, header: str, name: str, tasks: Sequence[Answer], official: str) -> None:
    """Raises DataError for the header of a list that is not one of this format's track."""
    if header == official:
        return
    try:
        refuse_other_track(header, tasks)
    except ValueError as error:
        other = find_track(header)
        whose = f"; this is a list of {' or '.join(find_formats(other))}" if other and other != tuple(tasks) else ""
        raise DataError(
            f"{path}:1: {error}{whose}\ngive the list of {name}: lists of other tracks name other videos; if this is "
            "it, keep only the first name of its header"
        ) from error


_FILE_SUFFIXES: Final = (*VIDEO_SUFFIXES, ".txt")


def is_video_list(content: bytes) -> bool:
    r"""Whether text is a list of videos: no header, and no line with a comma, a slash, a blank or the name of an image.

    Example:
        >>> is_video_list(b"10-60-1280x720\n24-30-1920x1080_left\n"), is_video_list(b"image\nv/00001.jpg\n")
        (True, False)
    """
    names = _split_video_names(content)
    if names[0] in IMAGE_HEADERS or b"," in content.replace(b",\n", b"\n") or b"/" in content:
        return False
    return not any(" " in name.strip() or name.lower().endswith(IMAGE_SUFFIXES) for name in names)


def read_videos(path: Path, content: bytes) -> VideoList:
    """Reads a list of videos from its text, for which `is_video_list` is true; `path` is for messages.

    Raises:
        ProblemsError: If a name can't be that of a video, or is repeated.
    """
    names = _split_video_names(content)
    problems = [
        Problem(line, "video", f"{defect}: '{shorten(name)}'")
        for line, name in enumerate(names, start=1)
        if (defect := _find_video_defect(name, names[: line - 1]))
    ]
    if problems:
        raise ProblemsError(path, problems, "give the list as the organisers released it: a video a line")
    images = pa.array([format_frame_name(name, 1) for name in names], pa.string())
    return VideoList(images=images, lines=np.arange(len(names), dtype=np.int64) + 1)


def _split_video_names(content: bytes) -> list[str]:
    return [line.rstrip(",") for line in content.decode().split("\n")[:-1]]


def _find_video_defect(name: str, before: Sequence[str]) -> str:
    if name in before:
        return "got a video that is listed before"
    if name.lower().endswith(_FILE_SUFFIXES):
        return "got the name of a file, expected that of a video, without an ending"
    if not name or find_name_defect(format_frame_name(name, 1)):
        return "got a name that no video can have"
    return ""


_EXPECTED_ANNOTATIONS = "an annotation file of 16 fields a row (image,valence,arousal,expression and 12 action units)"


def read_annotations(path: Path) -> Annotations:
    r"""Reads an annotation file and checks every cell of it.

    Columns are read by the names in the header, in any order. A header may name fewer columns than rows have, or
    ``aus`` for all units, as the official one does. A pair of valence and arousal of which one is missing is missing;
    so is a row of action units of which some are.

    Args:
        path: Comma-separated text; missing values are -5 (valence, arousal) and -1 (expression, action units).

    Returns:
        The annotations in the order of the file, repeats kept.

    Raises:
        DataError: If the file can't be read as annotations at all.
        ProblemsError: If the header names other columns, or any row is invalid; it has every problem of the file.

    Example:
        Arousal is not annotated, so valence alone is no label; the expression is happiness.

        >>> path = Path("annotations.txt")
        >>> units = ",".join(["0"] * 11 + ["1"])
        >>> _ = path.write_text(f"image,valence,arousal,expression,aus\nv/00001.jpg,0.5,-5,4,{units}\n")
        >>> found = read_annotations(path)
        >>> found.va_valid.tolist(), found.expression.tolist(), found.au[0, -1]
        ([False], [4], np.int8(1))
    """
    content = read_text(path, _EXPECTED_ANNOTATIONS)
    skip_lines = count_header_lines(path, content, _EXPECTED_ANNOTATIONS)
    columns = _find_column_order(path, content) if skip_lines else FIELDS[1:]
    fields = {field.name: field for field in make_fields(TASKS)}
    rows, problems = read_rows(content, [fields[name] for name in columns], skip_lines=skip_lines, missing=True)
    if problems and skip_lines and (other := find_other_track(_first_line(content), TASKS)):
        what = f"the header is that of {' or '.join(find_formats(other))}, expected {_EXPECTED_ANNOTATIONS}"
        raise ProblemsError(path, [Problem(1, "", what)], "give the annotations of the multi-task track")
    if problems and holds_names_alone(frames := read_first_fields(content, skip_lines)):
        what = f"its {len(frames):,} rows hold names alone: this is a list of frames, expected {_EXPECTED_ANNOTATIONS}"
        raise ProblemsError(path, [Problem(0, "", what)], "give the annotations")
    if problems:
        raise ProblemsError(path, problems, _describe_advice(problems))
    if columns != FIELDS[1:]:
        order = [columns.index(name) for name in FIELDS[1:]]
        rows = replace(rows, values=rows.values[:, order], present=rows.present[:, order])
    return make_annotations(rows.images, rows, TASKS)


def _find_column_order(path: Path, content: bytes) -> tuple[str, ...]:
    """The columns of a file behind that of the images, as its header names them."""
    try:
        order = order_columns(_first_line(content))
    except ValueError as error:
        advice = f"correct line 1; the header of columns in the official order is '{OFFICIAL_HEADER}'"
        raise ProblemsError(path, [Problem(1, "", str(error))], advice) from error
    if order.remark:
        warnings.warn(f"{path}: {order.remark}", DataWarning, stacklevel=3)
    return order.columns


def _first_line(content: bytes) -> str:
    return content[: content.index(b"\n")].decode()


def _describe_advice(problems: list[Problem]) -> str:
    count = format_count(len(problems), "problem")
    return f"{count} found; correct these lines, or download the file again, and retry"
