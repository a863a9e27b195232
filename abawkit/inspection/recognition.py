"""Which format a text file is in; where none fits, what the file looks like instead."""

import warnings
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from abawkit.errors import ConfigError, DataError, DataWarning, ProblemsError
from abawkit.formats.annotations import read_annotations
from abawkit.formats.base import GROUP, SubmissionFormat, get_format
from abawkit.formats.lines import read_text
from abawkit.tables import Submission


class Recognised(NamedTuple):
    """What the installed formats say of a file.

    Attributes:
        submission: Its content, where a format reads it.
        plugins: The formats that do.
        defects: Of each format that sees a submission with defects: what they are.
        refusals: Of each format that does not see a submission, or can't be loaded: why.
    """

    submission: Submission | None
    plugins: list[SubmissionFormat]
    defects: dict[str, ProblemsError]
    refusals: dict[str, str]


def recognise(path: Path) -> Recognised:
    """Reads a file in every installed format."""
    found = Recognised(None, [], {}, {})
    for name in sorted({entry.name for entry in entry_points(group=GROUP)}):
        try:
            plugin = get_format(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # of a file that may be meant for another format
                submission = plugin.read(path)
        except ProblemsError as error:
            found.defects[name] = error
        except (DataError, ConfigError) as error:
            found.refusals[name] = str(error).splitlines()[0]
        else:
            found = found._replace(submission=found.submission or submission)
            found.plugins.append(plugin)
    return found


def resemblance(path: Path) -> str:
    """What a text file without a format is, where that can be told; else the empty string."""
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
    names = [line.rstrip(",") for line in lines[1:]]
    if lines[0].startswith("image") and names and not any("," in name for name in names):
        return "a list of frames; `abawkit predict` takes it as --list"
    return ""
