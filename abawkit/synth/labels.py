"""The label model: expressions, action units, valence and arousal of every row, and missing labels.

Source: the positions of the expressions in the plane of valence and arousal follow Russell and Mehrabian, "Evidence for
a three-factor theory of emotions", Journal of Research in Personality 11 (1977); happiness is (0.81, 0.51) there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from abawkit.labels import ACTION_UNITS, EXPRESSIONS, MISSING_AU, MISSING_EXPRESSION, MISSING_VA, VA_MAX, VA_MIN
from abawkit.synth.action_units import (
    ANNOTATOR_NOISE,
    LABELLED,
    PRESENT_ABOVE,
    UNITS,
    perform_expression,
    sample_latent,
    sample_presence,
)
from abawkit.synth.rates import RATES, SYNTH_SPLITS, SplitRates, SynthSplit, apportion
from abawkit.synth.videos import MEAN_GAP, Video

_EXPRESSION_VA: Final = np.array(
    [(0, 0), (-0.51, 0.59), (-0.60, 0.35), (-0.64, 0.60), (0.81, 0.51), (-0.63, -0.27), (0.40, 0.67), (0.02, 0.25)]
)
_UNIT_VALENCE: Final = {"AU12": 0.12, "AU6": 0.04, "AU4": -0.06, "AU15": -0.10, "AU9": -0.06}
_UNIT_AROUSAL: Final = {"AU5": 0.08, "AU25": 0.04, "AU26": 0.08, "AU1": 0.03, "AU43": -0.10}
_CLASSES_PER_VIDEO = 3
_ALL_CLASSES_IN = 4800.0  # frames of a video that shows `_CLASSES_PER_VIDEO` expressions
_EPISODE, _EPISODE_SHAPE = 600.0, 2.0  # frames that an expression lasts: mean and shape of a gamma distribution
_SAMPLES = 16
_FLIPPED = 0.12
_CONFUSED = (("Neutral", "Other"), ("Anger", "Disgust"), ("Fear", "Surprise"))
_COPIED_REPEATS = 0.3
_VIDEO_OFFSET, _ROW_NOISE = 0.10, 0.08


@dataclass(frozen=True)
class SplitLabels:
    """Labels of a split's rows, in the order of its list, with missing values as the files write them.

    Attributes:
        va: Valence and arousal, -1..1 or -5, to three decimals; float64, shape (rows, 2).
        expression: Class index or -1; int64, shape (rows,).
        units: 0, 1 or -1; int64, shape (rows, 12).
        intensity: Rendered intensity of each of the 17 `UNITS`, 0..1; float64, shape (rows, 17).
        shown: Index of the class that is rendered, which `expression` confuses in some rows; int64, shape (rows,).
    """

    va: NDArray[np.float64]
    expression: NDArray[np.int64]
    units: NDArray[np.int64]
    intensity: NDArray[np.float64]
    shown: NDArray[np.int64]


def _choose_class_numbers(lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """How many expressions each video shows, 1 to `_CLASSES_PER_VIDEO`: the longer the more. Shape (videos,)."""
    further = np.minimum(1.0, lengths * MEAN_GAP / _ALL_CLASSES_IN)
    numbers = 1 + rng.binomial(_CLASSES_PER_VIDEO - 1, further)
    longest = np.argsort(-lengths, kind="stable")
    for video in np.tile(longest, _CLASSES_PER_VIDEO):  # every class must find a video that shows another as well
        if numbers[numbers > 1].sum() >= len(EXPRESSIONS):
            break
        numbers[video] = min(numbers[video] + 1, _CLASSES_PER_VIDEO)
    return np.asarray(numbers, dtype=np.int64)


def _choose_classes(
    lengths: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which classes each video shows, shape (videos, 8): each is shown by a video that shows others as well.

    Videos of one class, the longest first, take one that lacks at least their rows; the others level the totals.
    """
    numbers = _choose_class_numbers(lengths, rng)
    shows = np.zeros((len(lengths), len(shares)), dtype=bool)
    lacking = shares * lengths.sum()
    for video in np.argsort(-lengths, kind="stable"):
        if numbers[video] == 1:
            weights = np.where(lacking >= lengths[video], lacking, 0.0)
            chosen = rng.choice(len(shares), p=weights / weights.sum()) if weights.any() else int(lacking.argmax())
            shows[video, chosen] = True
            lacking[chosen] -= lengths[video]
    places = [v for turn in range(_CLASSES_PER_VIDEO) for v in np.flatnonzero(numbers > np.maximum(turn, 1))]
    for video, shown in zip(places, rng.permutation(len(shares)), strict=False):
        shows[video, shown] = True
    for row, number in zip(shows, numbers, strict=True):
        lacks = int(number) - int(row.sum())
        if lacks > 0:
            weights = np.where(row, 0.0, shares**0.75)
            row[rng.choice(len(shares), lacks, replace=False, p=weights / weights.sum())] = True
    return shows


def _count_class_rows(
    lengths: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of each class in each video, shape (videos, 8): of `_SAMPLES`, the one whose totals are nearest the shares.

    Iterative proportional fitting on a random support; its rows are exact, its columns as near as the support lets.
    """
    samples = []
    for _ in range(_SAMPLES):
        support = _choose_classes(lengths, shares, rng)
        weights = support * shares * np.exp(0.5 * rng.standard_normal(support.shape))
        for _ in range(200):
            weights *= shares * lengths.sum() / np.maximum(weights.sum(axis=0), 1e-9)
            weights *= (lengths / weights.sum(axis=1))[:, None]
        samples.append(weights)
    nearest = min(samples, key=lambda weights: float(np.abs(weights.sum(axis=0) - shares * lengths.sum()).max()))
    return np.stack([apportion(int(n), w) for n, w in zip(lengths, nearest, strict=True)])


def _order_episodes(rows: NDArray[np.int64], frames: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Orders the rows of each class in episodes, measured in frames; two of one class meet only at need."""
    left = rows.copy()
    order = np.empty(len(frames), dtype=np.int64)
    row, shown = 0, -1
    while row < len(order):
        others = np.where(np.arange(len(left)) == shown, 0, left)
        weights = others if others.any() else left
        shown = int(rng.choice(len(left), p=weights / weights.sum()))
        lasts = rng.gamma(_EPISODE_SHAPE, _EPISODE / _EPISODE_SHAPE)
        until = int(np.searchsorted(frames, frames[row] + lasts))
        end = min(max(until, row + 1), row + int(left[shown]))
        order[row:end] = shown
        left[shown] -= end - row
        row = end
    return order


def _sample_expressions(videos: list[Video], rates: SplitRates, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The expression shown at each row of each video; rows with and without its label have the same shares."""
    sampled: dict[int, NDArray[np.int64]] = {}
    for labelled in (True, False):
        group = [v for v in videos if v.annotated[1] is labelled]
        if group:
            counts = _count_class_rows(np.array([len(v.frames) for v in group]), rates.classes, rng)
            sampled |= {v.index: _order_episodes(n, v.frames, rng) for v, n in zip(group, counts, strict=True)}
    shown = [sampled[v.index] for v in videos]
    for video, expression in zip(videos, shown, strict=True):
        for row in np.flatnonzero(video.repeats):
            expression[row] = expression[row - 1]
    return shown


def flip_labels(expression: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Exchanges labels between classes that annotators confuse, as many one way as the other.

    Args:
        expression: Class indices, shape (rows,).
        rng: Source of the choice.

    Returns:
        Labels of which 12 % (less where the confused classes are rare) differ, with as many of each class as before.
    """
    flipped = expression.copy()
    rows = [[np.flatnonzero(expression == EXPRESSIONS.index(name)) for name in pair] for pair in _CONFUSED]
    smaller = np.array([min(len(a), len(b)) for a, b in rows], dtype=np.float64)
    if not smaller.any():
        return flipped
    for (first, second), n in zip(rows, apportion(round(_FLIPPED * len(expression) / 2), smaller), strict=True):
        count = min(int(n), len(first), len(second))
        if count:
            a, b = rng.choice(first, count, replace=False), rng.choice(second, count, replace=False)
            flipped[a], flipped[b] = expression[b], expression[a]
    return flipped


def _make_unit_weights(terms: dict[str, float]) -> NDArray[np.float64]:
    return np.array([terms.get(unit, 0.0) for unit in UNITS])


def _blank_labels(
    va: NDArray[np.float64],
    expression: NDArray[np.int64],
    units: NDArray[np.int64],
    videos: list[Video],
    rates: SplitRates,
    rng: np.random.Generator,
) -> None:
    """Blanks, in place, the labels of tasks in whole videos, and those of a few incomplete rows."""
    annotated = np.repeat([v.annotated for v in videos], [len(v.frames) for v in videos], axis=0)
    counts = [max(2, round(share * len(va))) if share else 0 for share in (rates.half_va, rates.partial_units)]
    order = rng.permutation(len(va))
    half = [row for row in order if annotated[row, 0]][: counts[0]]
    chosen = set(half)
    partial = [row for row in order if annotated[row, 2] and row not in chosen][: counts[1]]
    chosen |= set(partial)
    blank = [row for row in order if row not in chosen][: max(1, round(rates.unlabelled * len(va)))]
    for position, row in enumerate(half):
        va[row, (position + 1) % 2] = MISSING_VA
    for position, row in enumerate(partial):
        known = 3 if position % 2 == 0 else int(rng.integers(1, LABELLED))
        units[row, known:] = MISSING_AU
    if rates.unlabelled:
        annotated[blank] = False
    va[~annotated[:, 0]] = MISSING_VA
    expression[~annotated[:, 1]] = MISSING_EXPRESSION
    units[~annotated[:, 2]] = MISSING_AU


def sample_labels(split: SynthSplit, videos: list[Video], seed: int) -> SplitLabels:
    """Samples the labels of a split's videos, and the intensities that its frames are rendered from.

    Args:
        split: Whose rates to follow.
        videos: The split's videos.
        seed: Seed of the release; the same seed gives the same labels.

    Returns:
        Labels of all rows, in the order of the videos.
    """
    rates = RATES[split]
    rng = np.random.default_rng([seed, SYNTH_SPLITS.index(split), 2])
    on = sample_presence(rates.classes, rates.units)
    truth = np.concatenate(_sample_expressions(videos, rates, rng))
    strength, intensity = perform_expression(np.concatenate([sample_latent(v.frames, rng) for v in videos]), truth, on)
    lengths = [len(v.frames) for v in videos]
    va = _EXPRESSION_VA[truth] * (0.35 + 0.65 * strength[:, None])
    va += intensity @ np.stack([_make_unit_weights(_UNIT_VALENCE), _make_unit_weights(_UNIT_AROUSAL)], axis=1)
    va += np.repeat(_VIDEO_OFFSET * rng.standard_normal((len(videos), 2)), lengths, axis=0)
    va += _ROW_NOISE * rng.standard_normal(va.shape)
    va = np.clip(va, VA_MIN, VA_MAX).round(3)
    reading = intensity[:, :LABELLED] + ANNOTATOR_NOISE * rng.standard_normal((len(truth), len(ACTION_UNITS)))
    units = (reading > PRESENT_ABOVE).astype(np.int64)
    has_expression = np.repeat([v.annotated[1] for v in videos], lengths)
    expression = truth.copy()
    expression[has_expression] = flip_labels(truth[has_expression], rng)
    copied = np.concatenate([v.repeats for v in videos]) & (rng.random(len(truth)) < _COPIED_REPEATS)
    for row in np.flatnonzero(copied):
        va[row], expression[row], units[row] = va[row - 1], expression[row - 1], units[row - 1]
    _blank_labels(va, expression, units, videos, rates, rng)
    return SplitLabels(va=va, expression=expression, units=units, intensity=intensity, shown=truth)
