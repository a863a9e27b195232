"""ABAW11, multi-task track: the file of ABAW7; rows of its list end without a comma.

Source: the rules of the 11th ABAW competition (2026), which runs the track of the 7th again on the same data.
"""

from abawkit.formats.abaw7 import ABAW7


class ABAW11(ABAW7):
    """The file of ABAW7; the list is read with and without commas."""

    name = "abaw11"
    summary = "ABAW11 multi-task: the file of abaw7"
