"""ABAW7, multi-task track: one file, one row for each row of the test list, in its order, repeats kept.

Source: the submission instructions of the 7th ABAW competition, https://arxiv.org/abs/2407.03835, as participants'
published files show them: a header of five names over rows of sixteen fields.
"""

from abawkit.formats.flat import FlatFile
from abawkit.labels import TASKS, Answer

HEADER = "image,valence,arousal,expression,aus"


class ABAW7(FlatFile):
    """Flat file of the multi-task track."""

    name = "abaw7"
    summary = "ABAW7 multi-task: image,valence,arousal,expression and 12 action units, a row a listed frame"
    holds: tuple[Answer, ...] = TASKS
    header = HEADER
    firsts = ("image",)
    exact = True
