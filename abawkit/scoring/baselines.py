"""Scores to compare with: those of a constant answer, and published results."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.tables import Annotations, Submission


def make_constant_answer(train: Annotations, images: pa.StringArray) -> Submission:
    """The same answer for every frame: mean V and A, the commonest expression, every action unit active.

    Its CCC is 0. Of all constant answers for an action unit, only "active" has an F1 above 0.

    Args:
        train: Annotations that the means and the commonest class are taken from.
        images: The frames to answer.
    """
    count = len(images)
    means = train.va[train.va_valid].mean(axis=0) if train.va_valid.any() else np.zeros(2)
    commonest = np.bincount(train.expression[train.expression_valid], minlength=1).argmax()
    return Submission(
        images=images,
        va=np.tile(np.round(means, 6), (count, 1)),
        expression=np.full(count, commonest, dtype=np.int8),
        au=np.ones((count, train.au.shape[1]), dtype=np.int8),
    )


@dataclass(frozen=True)
class PublishedResult:
    """One published score.

    Attributes:
        name: Team or system.
        score: P.
        split: ``test`` or ``validation``.
        parts: CCC_VA, mean F1 of expressions, mean F1 of action units, where they were published.
    """

    name: str
    score: float
    split: str
    parts: tuple[float, float, float] | None = None


PUBLISHED_RESULTS: Final = (
    PublishedResult("Netease Fuxi (1st)", 1.5286, "test"),
    PublishedResult("HSEmotion (2nd)", 1.2472, "test"),
    PublishedResult("HFUT-MAC1 (3rd)", 1.1777, "test"),
    PublishedResult("SCU-ACers (4th)", 1.1640, "test"),
    PublishedResult("DDAMFN, arXiv 2407.12390 (5th)", 1.1145, "test", (0.3710, 0.2772, 0.4643)),
    PublishedResult("SML", 0.8692, "test"),
    PublishedResult("baseline", 0.3400, "test", (0.1193, 0.1007, 0.1200)),
)
"""Source: results of the 7th ABAW competition, multi-task track, https://arxiv.org/abs/2407.03835 and its site."""
