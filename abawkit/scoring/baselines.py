"""Scores to compare with: those of a constant answer, and published results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from abawkit.choices import Protocol
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


PublishedSplit = Literal["validation", "test"]

OFFICIAL_ROWS: Final[dict[PublishedSplit, int]] = {"validation": 26_876, "test": 51_159}
"""Rows of the annotation files of the 7th and the 11th ABAW competition's multi-task track."""


@dataclass(frozen=True)
class PublishedResult:
    """One published score.

    Attributes:
        name: Team or system.
        score: P.
        split: Where it was reached.
        source: Where it was published.
        parts: CCC_VA, mean F1 of expressions, mean F1 of action units, where they were published.
        protocol: The rows that count.
    """

    name: str
    score: float
    split: PublishedSplit
    source: str
    parts: tuple[float, float, float] | None = None
    protocol: Protocol = "official"


_SITE: Final = "https://arxiv.org/abs/2407.03835"
_PAPER: Final = "https://arxiv.org/abs/2407.12390"

PUBLISHED_RESULTS: Final = (
    PublishedResult("Netease Fuxi, ABAW7 (1st)", 1.5286, "test", _SITE),
    PublishedResult("HSEmotion, ABAW7 (2nd)", 1.2472, "test", _SITE),
    PublishedResult("HFUT-MAC1, ABAW7 (3rd)", 1.1777, "test", _SITE),
    PublishedResult("SCU-ACers, ABAW7 (4th)", 1.1640, "test", _SITE),
    PublishedResult("DDAMFN, ABAW7 (5th)", 1.1145, "test", _PAPER, (0.3710, 0.2772, 0.4643)),
    PublishedResult("SML, ABAW7", 0.8692, "test", _SITE),
    PublishedResult("baseline, ABAW7", 0.3400, "test", _SITE, (0.1193, 0.1007, 0.1200)),
    PublishedResult("backbones with LoRA, BiGRU heads", 1.7259, "validation", "https://arxiv.org/abs/2607.16290"),
    PublishedResult("the same, another assembly", 1.6949, "validation", "https://arxiv.org/abs/2607.16290"),
    PublishedResult("frozen DINOv2-L and DINOv3", 1.6341, "validation", "https://arxiv.org/abs/2607.13986"),
    PublishedResult("frozen DDAMFN and EfficientNet", 1.5562, "validation", "https://arxiv.org/abs/2607.12774"),
    PublishedResult("DDAMFN, single tasks, thresholds", 1.393, "validation", _PAPER, (0.577, 0.287, 0.529), "strict"),
    PublishedResult("DDAMFN, single tasks", 1.354, "validation", _PAPER, (0.577, 0.287, 0.490), "strict"),
    PublishedResult("DDAMFN, multi-task, thresholds", 1.327, "validation", _PAPER, None, "strict"),
    PublishedResult("DDAMFN, multi-task", 1.287, "validation", _PAPER, None, "strict"),
    PublishedResult("DDAMFN, multi-task, frozen", 1.283, "validation", _PAPER, None, "strict"),
    PublishedResult("DDAMFN, single tasks, frozen", 1.263, "validation", _PAPER, (0.533, 0.243, 0.487), "strict"),
    PublishedResult("baseline, ABAW11", 0.45, "validation", "https://arxiv.org/abs/2607.12774"),
    PublishedResult("baseline, ABAW7", 0.32, "validation", _SITE),
)
"""Sources: the results of the competitions; tables 3 and 4 of the paper of DDAMFN (validation, strict protocol); papers
of the 11th competition, which had the same files. Scores of one split can't be compared with those of the other. Parts
are left out where, as printed, they don't add up to P."""


def find_official_split(truth: Path) -> tuple[PublishedSplit | None, str]:
    """Which official file a truth is, by its number of rows: its content is licensed, and nothing here can know it.

    Args:
        truth: The file of annotations, or the folder of a curated set.

    Returns:
        The split, or None; and where it is None, why.

    Raises:
        OSError: If the file can't be read.
    """
    expected = " and ".join(f"{count:,} ({split})" for split, count in OFFICIAL_ROWS.items())
    if truth.is_dir():
        return None, "no published result beside it: the truth is a curated set, and no official annotation file"
    rows = sum(bool(line.strip()) for line in truth.read_bytes().splitlines()) - 1  # the header
    for split, count in OFFICIAL_ROWS.items():
        if rows == count:
            return split, ""
    return None, f"no published result beside it: the truth has {rows:,} rows, the official files have {expected}"
