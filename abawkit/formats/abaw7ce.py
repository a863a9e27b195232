"""ABAW7, second track: one of seven compound expressions for each row of the list.

Networks here are trained on the eight expressions, not on compound ones: these are derived, as
`abawkit.tables.Predictions.decide` says. No annotations of them were released; a submission is scored against a file of
its own form.

Source: the submission form of the 7th ABAW competition, https://arxiv.org/abs/2407.03835: the header names the seven
classes, and a row has one index.
"""

from abawkit.formats.flat import FlatFile, single_task_header
from abawkit.labels import Answer


class ABAW7Compound(FlatFile):
    """One of seven compound expressions."""

    name = "abaw7-ce"
    summary = "ABAW7 compound expression: image_location and one index 0..6, a row a listed frame"
    holds: tuple[Answer, ...] = ("compound",)
    header = single_task_header("compound")
