"""Calibration of the probabilities of a network, or of several, before decisions are made."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, VA_MAX, VA_MIN, Task
from abawkit.tables import Array, Predictions

LOWEST = 0.02
"""Lowest threshold of an action unit; the highest is 1 - `LOWEST`."""

HALF = np.float32(0.5)
"""Probability from which an action unit is active where nothing was tuned."""

_BELOW_HALF = np.nextafter(HALF, np.float32(0))


@dataclass(frozen=True, eq=False)
class Calibration:
    """A scale and a shift for valence and arousal, a bias for each expression, a threshold for each action unit.

    Attributes:
        scale: Valence and arousal are multiplied by it, float64, shape (2,).
        shift: Then it is added, float64, shape (2,).
        bias: Added to the log-probability of each expression, float64, shape (8,).
        threshold: Probability from which an action unit is active, in [0.02, 0.98], float64, shape (12,).
    """

    scale: Array = field(default_factory=lambda: np.ones(len(DIMENSIONS)))
    shift: Array = field(default_factory=lambda: np.zeros(len(DIMENSIONS)))
    bias: Array = field(default_factory=lambda: np.zeros(len(EXPRESSIONS)))
    threshold: Array = field(default_factory=lambda: np.full(len(ACTION_UNITS), 0.5))


def list_calibrated(calibration: Calibration) -> dict[Task, dict[str, Any]]:
    """What a calibration changes, by task.

    Returns:
        ``scale`` and ``shift`` of a dimension, the bias of an expression, the threshold of an action unit, by its name;
        only those that differ from doing nothing, as biases do that are not all the same.
    """
    va: dict[str, dict[str, float]] = {}
    for key, values, plain in (("scale", calibration.scale, 1.0), ("shift", calibration.shift, 0.0)):
        for name, value in zip(DIMENSIONS, values.tolist(), strict=True):
            if value != plain:
                va.setdefault(name, {})[key] = value
    biases = zip(EXPRESSIONS, calibration.bias.tolist(), strict=True)
    differ = np.ptp(calibration.bias) > 0  # one bias for all classes changes no decision
    thresholds = zip(ACTION_UNITS, calibration.threshold.tolist(), strict=True)
    changed: dict[Task, dict[str, Any]] = {
        "va": va,
        "expression": {name: bias for name, bias in biases if bias and differ},
        "au": {name: threshold for name, threshold in thresholds if threshold != HALF},
    }
    return {task: values for task, values in changed.items() if values}


def apply_calibration(predictions: Predictions, calibration: Calibration) -> Predictions:
    """Calibrated probabilities: the decisions that score best without tuning are then the calibrated ones.

    Valence and arousal become ``scale * x + shift``, cut to [-1, 1]; the probability of expression c becomes
    proportional to ``p_c * exp(bias_c)``, with the sum that its row had; the odds of an action unit are multiplied by
    ``(1 - t) / t``, so that its threshold t comes to lie at 0.5, and it is active where ``p >= t``, exactly. What has
    nothing done to it keeps its bits.

    Returns:
        What `Predictions.decide` makes decisions of.
    """
    columns = (
        _scale_and_shift(predictions.va, calibration.scale, calibration.shift),
        _add_biases(predictions.expression, calibration.bias),
        _move_odds(predictions.au, calibration.threshold),
    )
    return Predictions(predictions.images, *columns)


def _scale_and_shift(va: Array, scale: Array, shift: Array) -> Array:
    if np.all(scale == 1) and not np.any(shift):
        return va
    moved = va * np.asarray(scale, dtype=np.float64) + shift
    return np.asarray(np.clip(moved, VA_MIN, VA_MAX), dtype=np.float32)


def _add_biases(expression: Array, bias: Array) -> Array:
    if np.ptp(bias) == 0:  # only differences count
        return expression
    before = expression.astype(np.float64)
    after = before * np.exp(bias - bias.max())
    after *= before.sum(axis=1, keepdims=True) / after.sum(axis=1, keepdims=True)
    return np.asarray(after, dtype=np.float32)


def _move_odds(au: Array, threshold: Array) -> Array:
    if np.all(threshold == HALF):
        return au
    before = au.astype(np.float64)
    on, off = before * (1 - threshold), (1 - before) * threshold
    after = (on / (on + off)).astype(np.float32)
    # Rounding to float32 would make an active unit of a probability just below its threshold.
    return np.asarray(np.where(before >= threshold, np.maximum(after, HALF), np.minimum(after, _BELOW_HALF)))
