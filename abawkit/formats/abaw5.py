"""ABAW5 and ABAW6, their three single-task tracks: one file, one row for each row of the list.

Source: the submission forms of the 5th ABAW competition, https://arxiv.org/abs/2303.01498, as participants' published
files show them: the header names the eight expressions, and a row has one index.
"""

from abawkit.formats.flat import FlatFile, single_task_header
from abawkit.labels import Answer


class ABAW5VA(FlatFile):
    """Valence and arousal."""

    name = "abaw5-va"
    summary = "ABAW5 and 6 valence and arousal: image_location,valence,arousal, a row a listed frame"
    holds: tuple[Answer, ...] = ("va",)
    header = single_task_header("va")


class ABAW5Expression(FlatFile):
    """One of eight expressions."""

    name = "abaw5-expr"
    summary = "ABAW5 and 6 expression: image_location and one index 0..7, a row a listed frame"
    holds: tuple[Answer, ...] = ("expression",)
    header = single_task_header("expression")


class ABAW5ActionUnits(FlatFile):
    """Twelve action units."""

    name = "abaw5-au"
    summary = "ABAW5 and 6 action units: image_location and 12 action units, a row a listed frame"
    holds: tuple[Answer, ...] = ("au",)
    header = single_task_header("au")
