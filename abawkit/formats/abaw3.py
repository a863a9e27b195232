"""ABAW3, its three single-task tracks: a folder with a text file for each video, line k + 1 for frame k.

Source: the data and submission forms of the 3rd ABAW competition, https://arxiv.org/abs/2202.10659; the annotations of
Aff-Wild2 are released in the same form. Its text prints a blank in the expressions' header, participants' published
files have none: headers are written without, and read with and without.
"""

from abawkit.formats.folder import FolderOfVideos
from abawkit.labels import Answer


class ABAW3VA(FolderOfVideos):
    """Valence and arousal."""

    name = "abaw3-va"
    summary = "ABAW3 valence and arousal: a folder with a file a video, a line a frame"
    holds: tuple[Answer, ...] = ("va",)


class ABAW3Expression(FolderOfVideos):
    """One of eight expressions."""

    name = "abaw3-expr"
    summary = "ABAW3 expression, 0..7: a folder with a file a video, a line a frame"
    holds: tuple[Answer, ...] = ("expression",)


class ABAW3ActionUnits(FolderOfVideos):
    """Twelve action units."""

    name = "abaw3-au"
    summary = "ABAW3 action units, 12 a line: a folder with a file a video, a line a frame"
    holds: tuple[Answer, ...] = ("au",)
