"""ABAW4, multi-task track: the file of ABAW7; rows of its list end without a comma.

Source: the submission form of the 4th ABAW competition, https://arxiv.org/abs/2207.01138.
"""

from abawkit.formats.abaw7 import ABAW7


class ABAW4(ABAW7):
    """The file of ABAW7; the list is read with and without commas."""

    name = "abaw4"
    summary = "ABAW4 multi-task: the file of abaw7"
