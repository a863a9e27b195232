"""Checking a submission: every defect, and what explains many of them said once."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from abawkit.errors import DataError, DataWarning, Problem
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.layout import Deviation, normalise_layout
from abawkit.formats.lines import read_text
from abawkit.tables import FrameList


def find_problems(path: Path, frames: FrameList, plugin: SubmissionFormat) -> list[Problem]:
    """Every defect of a submission.

    A layout that is not the official one throughout, such as semicolons between cells or a folder before every name, is
    one defect: those that follow from it are not named beside it.

    Args:
        path: The submission.
        frames: The list that it answers.
        plugin: Its format.

    Raises:
        DataError: If it can't be read as text at all, or a folder not as a folder.
    """
    refused: DataError | None = None
    try:
        problems = plugin.check(path, frames)
    except DataError as error:
        problems, refused = [], error
    if refused or problems:
        content, deviations = _normalise(path, frames, plugin)
        if deviations:
            return [*deviations, *check_content(path, content, frames, plugin)]
    if refused:
        raise refused
    return problems


def check_content(
    path: Path, content: bytes | dict[str, bytes], frames: FrameList, plugin: SubmissionFormat
) -> list[Problem]:
    """Every defect of what is to stand in a submission's place.

    Args:
        path: The submission; it is not read.
        content: A file, or the files of a folder by name.
        frames: The list that it answers.
        plugin: Its format.

    Raises:
        DataError: If the content can't be read as a submission at all.
    """
    with tempfile.TemporaryDirectory(prefix="abawkit-check-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the file as it was, they would name one that is gone
        copy = Path(folder) / (path.name.removesuffix(".gz") or "submission")
        if isinstance(content, bytes):
            copy.write_bytes(content)
        else:
            copy.mkdir()
            for name, text in content.items():
                (copy / name).write_bytes(text)
        try:
            return plugin.check(copy, frames)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), str(path))) from error


def _normalise(
    path: Path, frames: FrameList, plugin: SubmissionFormat
) -> tuple[bytes | dict[str, bytes], list[Problem]]:
    """A submission in the official layout, with a problem for each way in which it is not; no problem where it is."""
    columns = getattr(plugin, "columns", None)
    if not columns:
        return b"", []
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    images = () if path.is_dir() else frames.images.to_pylist()
    content: dict[str, bytes] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            text = read_text(file, "a submission")
        except DataError:
            return b"", []  # the format says what is wrong with it
        lines, deviations = normalise_layout(text.decode().split("\n")[:-1], columns, images)
        content[file.name] = "".join(f"{line}\n" for line in lines).encode()
        problems += [replace(_problem(deviation), file=file.name if path.is_dir() else "") for deviation in deviations]
    return (content if path.is_dir() else content[path.name]), problems


def _problem(deviation: Deviation) -> Problem:
    return Problem(deviation.rows[0] + 1, "", f"{deviation.problem}; --repair OUT corrects it")
