"""Detects the format of a submission; if none fits, what the file seems to be."""

import warnings
from pathlib import Path
from typing import NamedTuple

from abawkit.errors import ConfigError, DataError, DataWarning, ProblemsError
from abawkit.formats.base import SubmissionFormat, get_format, list_format_names
from abawkit.formats.column_names import OTHER_TRACK
from abawkit.formats.readers import is_video_list, read_annotations
from abawkit.formats.text import read_text
from abawkit.tables import Submission


class Recognised(NamedTuple):
    """A file or folder as the installed formats read it.

    Attributes:
        submission: Its content, if a format reads it.
        plugins: The formats that do; several can have the same form.
        defects: If none does, the shortest list of defects, by the names of the formats that report it.
        refusals: Reasons why it is no submission, or why a format can't be loaded, by the names of formats.
    """

    submission: Submission | None
    plugins: list[SubmissionFormat]
    defects: dict[str, ProblemsError]
    refusals: dict[str, str]


def recognise_format(path: Path, named: str | None = None) -> Recognised:
    """Reads a file or a folder in every installed format of that container.

    Args:
        path: What to read.
        named: The format that it should be in; if no format reads it, only this one's reasons are returned.
    """
    submission: Submission | None = None
    plugins: list[SubmissionFormat] = []
    defects: dict[str, ProblemsError] = {}
    refusals: dict[str, str] = {}
    container = "folder" if path.is_dir() else "file"
    for name in list_format_names():
        try:
            plugin = get_format(name)
            if plugin.container != container:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # of a file that may be meant for another format
                read = plugin.read(path)
        except ProblemsError as error:
            defects[name] = error
        except (DataError, ConfigError) as error:
            refusals[name] = str(error).splitlines()[0]
        else:
            submission = submission or read
            plugins.append(plugin)
    if named in defects or named in refusals:
        defects = {name: error for name, error in defects.items() if name == named}
        refusals = {name: reason for name, reason in refusals.items() if name == named}
    return Recognised(submission, plugins, _select_least(defects), _group_reasons(refusals))


def _select_least(defects: dict[str, ProblemsError]) -> dict[str, ProblemsError]:
    """The shortest list of defects, under the names of all formats that report it.

    A format that finds the header of another one reports nothing else; it comes last.
    """
    if not defects:
        return {}
    least = min(defects.values(), key=lambda error: (_is_of_another_track(error), len(error.problems)))
    return {", ".join(name for name, error in defects.items() if error.problems == least.problems): least}


def _is_of_another_track(error: ProblemsError) -> bool:
    """Whether a format read only the header, which is that of another one."""
    return any(OTHER_TRACK in problem.message for problem in error.problems)


def _group_reasons(reasons: dict[str, str]) -> dict[str, str]:
    """Each reason once, under the names of all formats that gave it."""
    return {
        ", ".join(name for name, other in reasons.items() if other == reason): reason for reason in reasons.values()
    }


def describe_resemblance(path: Path) -> str:
    """What a text file without a format seems to be; empty if unknown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            read_annotations(path)
        except DataError:
            pass
        else:
            return "an annotation file; `abawkit curate` reads it, `abawkit score` takes it as --truth"
        try:
            lines = read_text(path, "text").decode().split("\n")[:-1]
        except DataError:
            return ""
    if len(lines) > 1 and is_video_list("".join(f"{line}\n" for line in lines).encode()):
        return "a list of videos, it seems; `abawkit predict` and `check` take it as --list of the formats abaw3-..."
    names = [line.rstrip(",") for line in lines[1:]]
    if lines[0].startswith("image") and names and not any("," in name for name in names):
        return "a list of frames; `abawkit predict` takes it as --list"
    return ""
