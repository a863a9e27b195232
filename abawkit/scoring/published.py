"""Results that others published, to show beside a user's own."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class PublishedResult:
    """One published figure.

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


PUBLISHED: Final = (
    PublishedResult("Netease Fuxi (1st)", 1.5286, "test"),
    PublishedResult("HSEmotion (2nd)", 1.2472, "test"),
    PublishedResult("HFUT-MAC1 (3rd)", 1.1777, "test"),
    PublishedResult("SCU-ACers (4th)", 1.1640, "test"),
    PublishedResult("DDAMFN, arXiv 2407.12390 (5th)", 1.1145, "test", (0.3710, 0.2772, 0.4643)),
    PublishedResult("SML", 0.8692, "test"),
    PublishedResult("baseline", 0.3400, "test", (0.1193, 0.1007, 0.1200)),
)
"""Source: results of the 7th ABAW competition, multi-task track, https://arxiv.org/abs/2407.03835 and its site."""
