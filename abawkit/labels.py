"""What the challenge annotates: the three tasks, their labels, order, ranges and marks for missing values.

Source: the label order and the missing values are those of the s-Aff-Wild2 release, https://arxiv.org/abs/2407.03835
(section 3), and of the submissions that the organisers accept.
"""

from typing import Final, Literal

Task = Literal["va", "expression", "au"]

Answer = Literal["va", "expression", "au", "compound"]
"""What a submission can hold: a task's decisions, or the compound expressions that are derived from those of one."""

TASKS: Final[tuple[Task, ...]] = ("va", "expression", "au")
"""Valence and arousal, expression, action units: the order in which tasks are always listed."""

DIMENSIONS: Final = ("valence", "arousal")
"""The two columns of every VA array, in order."""

EXPRESSIONS: Final = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
"""Expression names by class index. AffectNet orders its eight classes otherwise: map, never assume."""

ACTION_UNITS: Final = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU15", "AU23", "AU24", "AU25", "AU26")
"""Action units by column of every AU array."""

COMPOUND_EXPRESSIONS: Final = {
    "Fearfully_Surprised": ("Fear", "Surprise"),
    "Happily_Surprised": ("Happiness", "Surprise"),
    "Sadly_Surprised": ("Sadness", "Surprise"),
    "Disgustedly_Surprised": ("Disgust", "Surprise"),
    "Angrily_Surprised": ("Anger", "Surprise"),
    "Sadly_Fearful": ("Sadness", "Fear"),
    "Sadly_Angry": ("Sadness", "Anger"),
}
"""The compound expressions of ABAW7's second track by class index, and the two expressions that each is made of."""

VA_MIN: Final = -1.0
VA_MAX: Final = 1.0

MISSING_VA: Final = -5.0
"""Valence or arousal that was not annotated. Exists in files only: past the readers, missing is a mask."""

MISSING_EXPRESSION: Final = -1
MISSING_AU: Final = -1

FIELDS: Final = ("image", *DIMENSIONS, "expression", *ACTION_UNITS)
"""The 16 columns of an annotation row and of a submission row."""

OFFICIAL_HEADER: Final = ",".join([*FIELDS[:4], "aus"])
"""The header of the multi-task track's files: ``aus`` means the twelve action units."""
