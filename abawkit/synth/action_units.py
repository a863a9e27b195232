"""Action units over time: how likely each is in each expression, and how strong it is from frame to frame."""

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from abawkit.labels import ACTION_UNITS, EXPRESSIONS

UNITS: Final = (*ACTION_UNITS, "AU5", "AU9", "AU17", "AU20", "AU43")
"""All action units of a face: the labelled ones, then those that are rendered but never labelled."""

LABELLED: Final = len(ACTION_UNITS)

PRESENT_ABOVE: Final = 0.26
"""Intensity above which an annotator marks an action unit as present."""

ANNOTATOR_NOISE: Final = 0.06
"""Standard deviation of an annotator's reading of an intensity."""

_ON_FLOOR, _TRACE_SHARE, _TRACE_CEILING = 0.30, 0.25, 0.22
_SHARED = 0.35  # share of the variance that all units of a face have in common: how expressive the moment is
_MEMORY = np.array([400.0] + [100.0] * len(UNITS))  # frames after which the correlation of a state has fallen to 1/e

_GIVEN_EXPRESSION: Final = np.array(
    [  # AU1 AU2 AU4 AU6 AU7 AU10 AU12 AU15 AU23 AU24 AU25 AU26 | AU5 AU9 AU17 AU20 AU43
        [0.04, 0.02, 0.03, 0.07, 0.15, 0.07, 0.03, 0.01, 0.01, 0.02, 0.54, 0.03, 0.02, 0.01, 0.02, 0.01, 0.03],
        [0.09, 0.04, 0.83, 0.17, 0.85, 0.33, 0.08, 0.02, 0.12, 0.25, 0.54, 0.08, 0.25, 0.10, 0.15, 0.03, 0.02],
        [0.09, 0.04, 0.30, 0.38, 0.61, 0.93, 0.08, 0.02, 0.03, 0.08, 0.59, 0.08, 0.02, 0.55, 0.15, 0.03, 0.05],
        [0.80, 0.30, 0.55, 0.17, 0.41, 0.16, 0.08, 0.02, 0.03, 0.04, 0.92, 0.23, 0.45, 0.03, 0.03, 0.35, 0.02],
        [0.09, 0.04, 0.07, 0.81, 0.61, 0.63, 0.90, 0.02, 0.03, 0.04, 0.90, 0.08, 0.02, 0.02, 0.02, 0.03, 0.04],
        [0.52, 0.04, 0.61, 0.38, 0.31, 0.16, 0.08, 0.15, 0.03, 0.04, 0.23, 0.08, 0.01, 0.03, 0.35, 0.03, 0.08],
        [0.87, 0.74, 0.07, 0.17, 0.12, 0.16, 0.08, 0.02, 0.03, 0.04, 0.95, 0.58, 0.60, 0.01, 0.01, 0.03, 0.01],
        [0.09, 0.04, 0.18, 0.17, 0.46, 0.54, 0.18, 0.02, 0.02, 0.04, 0.76, 0.10, 0.05, 0.05, 0.08, 0.05, 0.04],
    ]
)
"""Probability of each unit in each expression, before the offsets that `sample_presence` adds, shape (8, 17)."""

_TYPICAL: Final = 0.4
_ABOVE_NEUTRAL: Final = 0.2


def _normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0))), dtype=np.float64)


@cache
def _tabulate_beta() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distribution function of Beta(1.6, 1.8) at 2,001 points: (probability, value)."""
    value = np.linspace(0.0, 1.0, 2001)
    density = value**0.6 * (1.0 - value) ** 0.8
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return area / area[-1], value


@cache
def _compute_mark_rates() -> tuple[float, float]:
    """Probability that a unit is marked as present, given that it is on, and given that it is off."""
    quantile = (np.arange(4000) + 0.5) / 4000
    on, off = (_compute_intensity(quantile, np.full_like(quantile, off_share)) for off_share in (0.0, 1.0))
    marked = [float(_normal_cdf((x - PRESENT_ABOVE) / ANNOTATOR_NOISE).mean()) for x in (on, off)]
    return marked[0], marked[1]


def _compute_intensity(level: NDArray[np.float64], off_share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensity of a unit that is on in the upper `1 - off_share` of uniform `level`, else off or a trace."""
    probability, value = _tabulate_beta()
    within = np.clip((level - off_share) / np.maximum(1.0 - off_share, 1e-12), 0.0, 1.0)
    on = _ON_FLOOR + (1.0 - _ON_FLOOR) * np.interp(within, probability, value)
    below = level / np.maximum(off_share, 1e-12)
    trace = _TRACE_CEILING * np.clip((below - 1.0 + _TRACE_SHARE) / _TRACE_SHARE, 0.0, 1.0)
    return np.where(level >= off_share, on, trace)


def sample_presence(classes: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that each unit is on in each expression, so that marked units have the wanted rates.

    The table of probabilities is moved by one offset in log-odds for each labelled unit.

    Args:
        classes: Share of each expression, shape (8,).
        units: Wanted share of rows in which each labelled unit is marked as present, shape (12,).

    Returns:
        Probabilities, shape (8, 17); AU25 and AU26 are those of a moment in which AU24 is off.
    """
    hit, false_alarm = _compute_mark_rates()
    log_odds = np.log(_GIVEN_EXPRESSION / (1.0 - _GIVEN_EXPRESSION))
    solved = _GIVEN_EXPRESSION.copy()
    pressed = ACTION_UNITS.index("AU24")
    for unit in range(LABELLED):
        free = 1.0 - solved[:, pressed] if unit > pressed else np.ones(len(EXPRESSIONS))
        low, high = -8.0, 8.0
        for _ in range(60):
            middle = (low + high) / 2
            on = 1.0 / (1.0 + np.exp(-(log_odds[:, unit] + middle)))
            rate = float(classes @ (free * (false_alarm + (hit - false_alarm) * on)))
            low, high = (middle, high) if rate < units[unit] else (low, middle)
        solved[:, unit] = 1.0 / (1.0 + np.exp(-(log_odds[:, unit] + (low + high) / 2)))
    return solved


def sample_latent(frames: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Samples first-order autoregressive processes for one video.

    Args:
        frames: Frame number of each row, ascending; equal numbers get equal states. Shape (rows,).
        rng: Source of the processes.

    Returns:
        States, each standard normal: how expressive the moment is, then one for each unit; shape (rows, 18).
    """
    keep = np.exp(-np.diff(frames, prepend=frames[0])[:, None] / _MEMORY)
    shocks = rng.standard_normal((len(frames), 1 + len(UNITS)))
    state = np.empty_like(shocks)
    state[0] = shocks[0]
    for row in range(1, len(frames)):
        state[row] = keep[row] * state[row - 1] + np.sqrt(1.0 - keep[row] ** 2) * shocks[row]
    state[:, 1:] = math.sqrt(_SHARED) * state[:, :1] + math.sqrt(1.0 - _SHARED) * state[:, 1:]
    return state


def perform_expression(
    states: NDArray[np.float64], expressions: NDArray[np.int64], on: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turns the states of a split's rows into strengths, by rank: so the split has the wanted rates, whatever its size.

    Args:
        states: Results of `sample_latent` for all videos of the split, joined; shape (rows, 18).
        expressions: Expression at each row, shape (rows,).
        on: Result of `sample_presence`.

    Returns:
        Strength of the expression in 0..1, shape (rows,), and intensity of each unit in 0..1, shape (rows, 17).
    """
    level = np.empty_like(states)
    for column in range(states.shape[1]):
        ordered = np.sort(states[:, column])
        ranks = [np.searchsorted(ordered, states[:, column], side=side) for side in ("left", "right")]
        level[:, column] = (ranks[0] + ranks[1]) / (2 * len(ordered))
    intensity = _compute_intensity(level[:, 1:], 1.0 - on[expressions])
    pressed = intensity[:, UNITS.index("AU24")] >= _ON_FLOOR
    for unit in ("AU25", "AU26"):
        intensity[pressed, UNITS.index(unit)] = 0.0
    return level[:, 0], intensity


def make_prototype(expression: int, strength: float = 0.85) -> NDArray[np.float64]:
    """Intensities of a textbook example of an expression: units likely in it, and more so than in Neutral, are on.

    Args:
        expression: Class index, 0..7.
        strength: Intensity of the units shown, 0..1.

    Returns:
        Intensities, shape (17,).
    """
    likely, neutral = _GIVEN_EXPRESSION[expression], _GIVEN_EXPRESSION[0]
    return np.where((likely > _TYPICAL) & (likely > neutral + _ABOVE_NEUTRAL), strength, 0.0)
