"""The formats of the ABAW editions, one class each: what a submission is and which tasks it answers.

Sources:

* ABAW7, multi-task track, and its second track of seven compound expressions: https://arxiv.org/abs/2407.03835, as
  participants' published files show them. The multi-task file has a header of five names over rows of sixteen fields.
  No annotations of compound expressions were released: they are derived from the eight expressions
  (`abawkit.tables.Predictions.decide`), and a submission is scored against a file of its own form.
* ABAW3, three single-task tracks, a folder with a text file for each video: https://arxiv.org/abs/2202.10659. Its text
  prints a blank in the header of expressions, participants' files have none: headers are written without, and read with
  and without.
* ABAW4, multi-task track: https://arxiv.org/abs/2207.01138.
* ABAW11 (2026) runs the multi-task track of ABAW7 again on the same data.
* ABAW5 and ABAW6, three single-task tracks, one file each: https://arxiv.org/abs/2303.01498.
"""

from abawkit.formats.per_video import FolderOfVideos
from abawkit.formats.single_file import FlatFile
from abawkit.labels import OFFICIAL_HEADER, TASKS, Answer


class ABAW7(FlatFile):
    """Flat file of the multi-task track."""

    name = "abaw7"
    summary = "ABAW7 multi-task: image,valence,arousal,expression and 12 action units, a row a listed frame"
    tasks: tuple[Answer, ...] = TASKS
    header = OFFICIAL_HEADER
    image_column_names = ("image",)
    strict_header = True


class ABAW7Compound(FlatFile):
    """One of seven compound expressions."""

    name = "abaw7-ce"
    summary = "ABAW7 compound expression: image_location and one index 0..6, a row a listed frame"
    tasks: tuple[Answer, ...] = ("compound",)


class ABAW3VA(FolderOfVideos):
    """Valence and arousal."""

    name = "abaw3-va"
    summary = "ABAW3 valence and arousal: a folder with a file a video, a line a frame"
    tasks: tuple[Answer, ...] = ("va",)


class ABAW3Expression(FolderOfVideos):
    """One of eight expressions."""

    name = "abaw3-expr"
    summary = "ABAW3 expression, 0..7: a folder with a file a video, a line a frame"
    tasks: tuple[Answer, ...] = ("expression",)


class ABAW3ActionUnits(FolderOfVideos):
    """Twelve action units."""

    name = "abaw3-au"
    summary = "ABAW3 action units, 12 a line: a folder with a file a video, a line a frame"
    tasks: tuple[Answer, ...] = ("au",)


class ABAW4(ABAW7):
    """The file of ABAW7; the list is read with and without commas."""

    name = "abaw4"
    summary = "ABAW4 multi-task: the file of abaw7"


class ABAW5VA(FlatFile):
    """Valence and arousal."""

    name = "abaw5-va"
    summary = "ABAW5 and 6 valence and arousal: image_location,valence,arousal, a row a listed frame"
    tasks: tuple[Answer, ...] = ("va",)


class ABAW5Expression(FlatFile):
    """One of eight expressions."""

    name = "abaw5-expr"
    summary = "ABAW5 and 6 expression: image_location and one index 0..7, a row a listed frame"
    tasks: tuple[Answer, ...] = ("expression",)


class ABAW5ActionUnits(FlatFile):
    """Twelve action units."""

    name = "abaw5-au"
    summary = "ABAW5 and 6 action units: image_location and 12 action units, a row a listed frame"
    tasks: tuple[Answer, ...] = ("au",)


class ABAW11(ABAW7):
    """The file of ABAW7; the list is read with and without commas."""

    name = "abaw11"
    summary = "ABAW11 multi-task: the file of abaw7"
