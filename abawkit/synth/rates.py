"""Published rates that a synthetic release follows: classes, action units, missing tasks, repeated rows.

Source: counts of the seventh ABAW competition's multi-task release, https://arxiv.org/abs/2407.03835, and of the
paper whose system this package reproduces, https://arxiv.org/abs/2407.12390 (section 4.1).
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

SynthSplit = Literal["train", "validation", "test"]

SYNTH_SPLITS: Final[tuple[SynthSplit, ...]] = ("train", "validation", "test")

PUBLIC_ROWS: Final = {"train": 142_382, "validation": 26_876, "test": 51_159}
"""Rows of the three official lists."""

Annotated = tuple[bool, bool, bool]
"""Whether a video is annotated for valence and arousal, for the expression, and for the action units."""

PUBLIC_EXPRESSIONS: Final = {
    "train": (23_976, 4_555, 3_168, 3_122, 18_135, 7_609, 5_228, 24_852),
    "validation": (1_886, 487, 565, 1_254, 3_751, 1_893, 1_003, 4_601),
}
"""Rows of each expression in the official lists."""

PUBLIC_UNITS: Final = {
    "train": (18_713, 8_745, 20_342, 30_605, 41_337, 38_286, 26_783, 2_460, 2_980, 5_003, 70_584, 10_756),
    "validation": (5_531, 2_554, 5_442, 8_818, 13_224, 11_421, 8_319, 782, 757, 808, 20_427, 2_934),
}
"""Rows with each action unit present, of those that are annotated with all."""


@dataclass(frozen=True)
class SplitRates:
    """Rates of one split's annotations, as in the official split of that name.

    Attributes:
        classes: Share of each expression, shape (8,), adding up to 1.
        units: Share of rows in which each action unit is present, shape (12,).
        annotated: Share of rows in videos with each combination of annotated tasks, adding up to 1.
        repeated: Share of rows that repeat the image of the row before.
        half_va: Share of rows in which one of valence and arousal is missing.
        partial_units: Share of rows in which some action units are missing.
        unlabelled: Share of rows without any label.
    """

    classes: NDArray[np.float64]
    units: NDArray[np.float64]
    annotated: dict[Annotated, float]
    repeated: float
    half_va: float = 0.0
    partial_units: float = 0.0
    unlabelled: float = 0.0


def _normalise_counts(counts: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(counts, dtype=np.float64) / sum(counts)


def _normalise_annotated(rows: dict[Annotated, int]) -> dict[Annotated, float]:
    return {tasks: n / sum(rows.values()) for tasks, n in rows.items()}


_TRAIN = SplitRates(
    classes=_normalise_counts(PUBLIC_EXPRESSIONS["train"]),
    units=np.asarray(PUBLIC_UNITS["train"], dtype=np.float64) / 103_316,
    annotated=_normalise_annotated(
        {
            (True, True, True): 52_154,
            (True, False, True): 30_000,
            (False, True, False): 16_591,
            (True, True, False): 11_015,
            (False, False, True): 10_938,
            (True, False, False): 10_313,
            (False, True, True): 9_820,
        }
    ),
    repeated=951 / 142_382,
    half_va=762 / 142_382,
    partial_units=749 / 142_382,
    unlabelled=49 / 142_382,
)

_VALIDATION = SplitRates(
    classes=_normalise_counts(PUBLIC_EXPRESSIONS["validation"]),
    units=np.asarray(PUBLIC_UNITS["validation"], dtype=np.float64) / 26_876,
    annotated=_normalise_annotated({(True, True, True): 15_440, (True, False, True): 11_436}),
    repeated=210 / 26_876,
)

_TEST = SplitRates(
    classes=(_TRAIN.classes + _VALIDATION.classes) / 2,
    units=(_TRAIN.units + _VALIDATION.units) / 2,
    annotated={(True, True, True): 1.0},
    repeated=718 / 51_159,
)

RATES: Final[dict[SynthSplit, SplitRates]] = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}
"""Rates by split. The official test labels are not public: the test split's rates lie half way between the others'."""


def apportion(total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Splits a whole number in proportion to weights, by largest remainders.

    Args:
        total: What to split, not negative.
        weights: Not negative, with a positive sum; shape (n,).

    Returns:
        Whole numbers that add up to `total`, shape (n,); ties go to the earlier index.
    """
    exact = total * weights / weights.sum()
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    short = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    return counts
