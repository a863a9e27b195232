"""A folder with a text file for each video, whose line k + 1 is frame k: the container of the third edition.

The file of a video is named ``VIDEO.txt``, has a header in line 1 and a line for every frame, from 1 to the last. Lists
are sparse, so a frame between those listed takes the answer of its nearest neighbour: see
`abawkit.formats.frame_lines.assign_rows`.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, DataWarning, Problem, ProblemsError, format_count
from abawkit.formats.base import Column, Container
from abawkit.formats.frame_counts import find_frame_count
from abawkit.formats.frame_lines import assign_rows, find_frame_problems, list_video_frames
from abawkit.formats.label_columns import (
    HEADER_NAMES,
    format_label_cells,
    make_annotations,
    make_columns,
    make_fields,
    make_submission,
)
from abawkit.formats.readers import is_video_list, read_annotations, read_list, read_videos
from abawkit.formats.rows import Rows, make_no_rows, read_rows, shorten
from abawkit.formats.single_file import describe_width_error, find_header_defect
from abawkit.formats.text import read_text
from abawkit.frame_names import find_name_defect, format_frame_name
from abawkit.labels import Answer
from abawkit.tables import Annotations, FrameCount, FrameList, Submission, VideoList

VIDEO_FILE_SUFFIX: Final = ".txt"
_VALUE_START: Final = re.compile(r"[+-]?\.?[0-9]")  # a first line that begins like a value is a row


class _VideoFile(NamedTuple):
    """The file of one video."""

    name: str
    rows: Rows
    lines: int  # how many frames it answers, those with defects too
    first: int  # line of frame 1: 2, or 1 in a file without a header


class FolderOfVideos:
    """A folder of files with a header over lines that hold one task's answers and no name.

    Attributes:
        frame_counts: How many frames videos have, where that is known: see `with_frame_counts`.
    """

    name: str
    summary: str
    tasks: tuple[Answer, ...]
    container: Container = "folder"
    frame_counts: Mapping[str, FrameCount] | None = None

    @property
    def header(self) -> str:
        """The first line of each file."""
        return ",".join(HEADER_NAMES[self.tasks[0]])

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of a line."""
        return tuple(make_columns(self.tasks))

    def with_frame_counts(self, counts: Mapping[str, FrameCount]) -> Self:
        """This format with what `read_frame_counts` returns: a video then needs a line for each of its frames."""
        counted = copy(self)
        counted.frame_counts = counts
        return counted

    def read_list(self, path: Path) -> FrameList:
        """Reads the frames to answer.

        Args:
            path: A list of videos, a name a line, as the official ones are; a flat list of frames; or a folder of files
                in this format's form, as annotations are released: then each of their lines is a frame, annotated or
                not.

        Returns:
            The frames; of a list of videos a `VideoList`.

        Raises:
            DataError: If it is none of these, or the list of another track.
            ProblemsError: If a name has no frame number, or its video lies in a folder of another.
        """
        if not path.is_dir():
            content = read_text(path, "a list of videos or of frames")
            if is_video_list(content):
                return read_videos(path, content)
            frames = read_list(path, ("image", "image_location"), name=self.name, tasks=self.tasks)
            if problems := find_frame_problems(frames):
                raise ProblemsError(path, problems, f"{self.name} can't answer such frames; give another list")
            return frames
        videos, problems = self._videos(path, missing=True)
        if problems:
            raise ProblemsError(path, problems, "give a list, or the folder of annotations as it was released")
        lines = [np.arange(video.lines, dtype=np.int64) + 2 for video in videos]
        return FrameList(images=_name_frames(videos), lines=np.concatenate(lines))

    def encode(self, submission: Submission) -> dict[str, bytes]:
        """The file of each video, by name: a line for each frame from 1 to the last one listed, or to the video's last.

        Raises:
            DataError: If the submission does not hold this task, if a name is not ``VIDEO/00001.jpg``, or if the number
                of frames of a video is not known though it is of others.
        """
        cells = np.array(format_label_cells(submission, self.tasks, self.name), dtype=object)
        rows = FrameList(images=submission.images, lines=np.arange(len(submission), dtype=np.int64) + 1)
        if problems := find_frame_problems(rows):
            raise DataError(f"{self.name}: row {problems[0].line:,}: {problems[0].message}; nothing was written")
        known = {}
        if self.frame_counts is not None:
            if problems := self.count_problems(rows):
                raise DataError(f"{self.name}: {problems[0].file}: {problems[0].message}; nothing was written")
            found = {video: find_frame_count(self.frame_counts, video) for video in list_video_frames(rows)}
            known = {video: count.frames for video, count in found.items() if count}
        return {
            f"{video}{VIDEO_FILE_SUFFIX}": "\n".join([self.header, *cells[answers], ""]).encode()
            for video, answers in assign_rows(submission.images, known).items()
        }

    def count_problems(self, frames: FrameList) -> list[Problem]:
        """Where a list contradicts the frame counts, by the files of its videos; empty without such counts.

        Raises:
            DataError: If the list has a name that is not ``VIDEO/00001.jpg``.
        """
        problems: list[Problem] = []
        if self.frame_counts is None:
            return problems
        for video, numbers in list_video_frames(frames).items():
            count = find_frame_count(self.frame_counts, video)
            file = f"{video}{VIDEO_FILE_SUFFIX}"
            if not count:
                problems.append(Problem(0, "", "the frame counts do not have its video", file))
            elif count.exact and numbers[-1] > count.frames:
                what = f"its video is listed up to frame {numbers[-1]:,}, its frame count is {count.frames:,}"
                problems.append(Problem(0, "", what, file))
        return problems

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every way in which the folder differs from what the organisers' script reads.

        A video needs a line for each of its frames where their number is known; else for each up to the last one
        listed, and more lines are a defect only where the list names every frame of the video: a sparse list does not
        say where a video ends. Of a list of videos, each needs a file.

        Raises:
            DataError: If `path` is no folder, or the list has a name that is not ``VIDEO/00001.jpg``.
        """
        videos, problems = self._videos(path, missing=False)
        answered = {video.name: video for video in videos}
        unread = {problem.file for problem in problems} - {f"{video}{VIDEO_FILE_SUFFIX}" for video in answered}
        wanted = list_video_frames(frames)
        if (
            answered
            and not answered.keys() & wanted.keys()
            and not unread & {f"{video}{VIDEO_FILE_SUFFIX}" for video in wanted}
        ):
            problems.append(_describe_unlisted_files(answered, wanted))
            return sorted(problems, key=lambda problem: (problem.file, problem))
        problems += self.count_problems(frames)
        for video, listed in wanted.items():
            last, file = int(listed[-1]), f"{video}{VIDEO_FILE_SUFFIX}"
            count = find_frame_count(self.frame_counts or {}, video)
            if video not in answered:
                if file not in unread:
                    where = "" if isinstance(frames, VideoList) else f" up to frame {last:,}"
                    problems.append(Problem(0, "", f"file missing: its video is listed{where}", file))
                continue
            _, _, lines, first = answered.pop(video)
            if count:
                problems += _find_length_problems(lines, first, count, file)
            elif isinstance(frames, VideoList):
                continue
            elif 0 < lines < last:
                what = f"got lines for {format_count(lines, 'frame')}, expected {last:,}: line k + 1 is frame k"
                problems.append(Problem(lines + first, "", what, file))
            elif lines > last == len(listed):
                what = f"got lines for {format_count(lines, 'frame')}, the list has {last:,} of this video"
                problems.append(Problem(last + first, "", what, file))
        problems += [
            Problem(0, "", "the list has no frame of this video", f"{video}{VIDEO_FILE_SUFFIX}") for video in answered
        ]
        return sorted(problems, key=lambda problem: (problem.file, problem))

    def read(self, path: Path) -> Submission:
        """Reads a submission; its rows are named by file and line, with five digits, in the order of file names.

        Raises:
            ProblemsError: If a file is not one of a video, or if a header or any cell is not what it must be.
        """
        videos, problems = self._videos(path, missing=False)
        if problems:
            raise ProblemsError(path, problems, describe_width_error(path, self.name))
        return make_submission(_name_frames(videos), _concatenate_rows(videos), self.tasks)

    def read_truth(self, path: Path) -> Annotations:
        """Reads what a submission is scored against.

        Args:
            path: A folder of files in this format's form, as annotations are released, in which -5 (valence, arousal)
                and -1 mark what is not annotated; or an annotation file of sixteen columns.

        Raises:
            DataError: If it is neither.
            ProblemsError: If a header or any cell is not what it must be.
        """
        if not path.is_dir():
            return read_annotations(path)
        videos, problems = self._videos(path, missing=True)
        if problems:
            raise ProblemsError(path, problems, "give the annotations as they were released")
        return make_annotations(_name_frames(videos), _concatenate_rows(videos), self.tasks)

    def _videos(self, path: Path, *, missing: bool) -> tuple[list[_VideoFile], list[Problem]]:
        """The files of a folder that can be read, in the order of their names, and every problem of the folder."""
        expected = f"a folder with a text file for each video, whose header is '{self.header}'"
        if not path.is_dir():
            raise DataError(f"{path}: {'is a file' if path.exists() else 'no such folder'}; expected {expected}")
        videos: list[_VideoFile] = []
        problems: list[Problem] = []
        for file in sorted(path.iterdir()):
            line, defect = 0, _find_file_defect(file)
            if not defect:
                try:
                    video, found = self._video(file, missing)
                except DataError as error:
                    line, defect = _split_message(str(error), file)
                else:
                    videos.append(video)
                    problems += found
                    continue
            problems.append(Problem(line, "", defect, file.name))
        if not videos and not problems:
            raise DataError(f"{path}: is an empty folder; expected {expected}")
        return videos, problems

    def _video(self, file: Path, missing: bool) -> tuple[_VideoFile, list[Problem]]:
        content = read_text(file, f"text with the header '{self.header}'")
        first = content[: content.index(b"\n")].decode()
        headed = not _VALUE_START.match(first)
        problems: list[Problem] = []
        fields, lines = make_fields(self.tasks), content.count(b"\n") - headed
        defect = find_header_defect(first if headed else "", self)
        if defect:
            problems.append(Problem(1, "", defect.message, file.name))
        if defect and defect.other_track:
            rows = make_no_rows(len(fields))
        else:
            rows, found = read_rows(content, fields, skip_lines=headed, missing=missing, named=False)
            problems += [replace(problem, file=file.name) for problem in found]
            if not lines:
                problems.append(Problem(2, "", "holds a header and no lines", file.name))
        return _VideoFile(file.name.removesuffix(VIDEO_FILE_SUFFIX), rows, lines, 1 + headed), problems


def _find_length_problems(lines: int, first: int, count: FrameCount, file: str) -> list[Problem]:
    """What is wrong with the number of lines in a file, where its video's number of frames is known."""
    if lines == 0 or lines == count.frames:
        return []
    if lines > count.frames and not count.exact:
        what = f"has lines for {lines:,} frames, the last crop is of frame {count.frames:,}"
        warnings.warn(f"{file}: {what}; whether its video has as many is unknown", DataWarning, stacklevel=3)
        return []
    what = f"got lines for {lines:,} frames, its video has {count.frames:,}: a header and a line for each frame"
    return [Problem(min(lines, count.frames) + first, "", what, file)]


def _find_file_defect(file: Path) -> str | None:
    """Why an entry of the folder can't be the file of a video; None where it can."""
    name = file.name
    if not name.endswith(VIDEO_FILE_SUFFIX) or not file.is_file():
        return f"is no video's file, expected files named VIDEO{VIDEO_FILE_SUFFIX} and nothing else"
    if name != name.encode(errors="replace").decode():
        return "has a name that is not UTF-8"
    defect = find_name_defect(format_frame_name(name.removesuffix(VIDEO_FILE_SUFFIX), 1))
    return defect and "has a name that no video can have"


def _describe_unlisted_files(answered: Iterable[str], wanted: Iterable[str]) -> Problem:
    files, videos = sorted(answered), list(wanted)
    what = f"none of its {format_count(len(files), 'file')} is of one of the {len(videos):,} listed videos"
    begins = f"its first is '{shorten(files[0])}{VIDEO_FILE_SUFFIX}', the first listed video is '{shorten(videos[0])}'"
    return Problem(0, "", f"{what}: {begins}; this is the list of another track or split, or files are named otherwise")


def _split_message(message: str, file: Path) -> tuple[int, str]:
    """The line, 0 without one, and the text of a message that begins with the file."""
    _, line, text = re.split(r"^(?::([0-9]+))?: ", message.removeprefix(str(file)), maxsplit=1)
    return int(line or 0), text


def _name_frames(videos: list[_VideoFile]) -> pa.StringArray:
    return pa.array([format_frame_name(v.name, k) for v in videos for k in range(1, v.lines + 1)], pa.string())


def _concatenate_rows(videos: list[_VideoFile]) -> Rows:
    """The lines of all files, one after the other."""
    return Rows(
        images=pa.array([], pa.string()),
        lines=np.concatenate([video.rows.lines for video in videos]),
        values=np.concatenate([video.rows.values for video in videos]),
        present=np.concatenate([video.rows.present for video in videos]),
    )
