"""Fitting a calibration to annotations, knob by knob, and saying which knobs were left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.biases import class_rows, fit_bias
from abawkit.postprocessing.calibration import Calibration
from abawkit.postprocessing.floors import LeftAlone, enough, scarcity
from abawkit.postprocessing.stretches import fit_stretch
from abawkit.postprocessing.thresholds import active_rows, best_thresholds, threshold_counts
from abawkit.tables import Annotations, Array, Predictions


@dataclass(frozen=True)
class CalibrationFit:
    """What was fitted.

    Attributes:
        calibration: The knobs.
        left: Those that were not turned, and why: in the order of tasks and columns.
    """

    calibration: Calibration
    left: tuple[LeftAlone, ...]


def fit_calibration(
    predictions: Predictions,
    truth: Annotations,
    masks: Mapping[Task, Array],
    videos: Array,
    tasks: Sequence[Task] = TASKS,
) -> CalibrationFit:
    """Fits a scale and a shift for valence and arousal, a bias for each expression, a threshold for each action unit.

    Args:
        predictions: Smoothed, if they are to be smoothed: n rows.
        truth: The annotations of these rows.
        masks: For each task the rows to learn from, all annotated for it, shape (n,) each.
        videos: A number for each row's video, integers from 0, shape (n,).
        tasks: Those whose knobs are fitted; the others' are neutral, and none of them is in `left`.

    Raises:
        ValueError: If the rows are not the same: a bug of the caller.
    """
    if not predictions.images.equals(truth.images):
        raise ValueError("the rows of the predictions are not those of the annotations")
    knobs: dict[str, Array] = {}
    left: list[LeftAlone] = []
    for task in TASKS:
        if task in tasks:
            rows = np.flatnonzero(masks[task])
            given = getattr(truth, task)[rows], getattr(predictions, task)[rows], videos[rows]
            found, kept = {"va": _va, "expression": _expression, "au": _au}[task](*given)
            knobs |= found
            left += kept
    return CalibrationFit(Calibration(**knobs), tuple(left))


def _va(truth: Array, va: Array, videos: Array) -> tuple[dict[str, Array], list[LeftAlone]]:
    found = [fit_stretch(truth[:, i], va[:, i], videos) for i in range(len(DIMENSIONS))]
    pairs = zip(DIMENSIONS, found, strict=True)
    left = [LeftAlone(f"scale and shift of {name}", fit.reason) for name, fit in pairs if fit.reason]
    return {"scale": np.array([fit.scale for fit in found]), "shift": np.array([fit.shift for fit in found])}, left


def _expression(truth: Array, probabilities: Array, videos: Array) -> tuple[dict[str, Array], list[LeftAlone]]:
    left = _scarce(class_rows(truth, videos), [f"bias of {name}" for name in EXPRESSIONS], "annotated")
    return {"bias": fit_bias(truth, probabilities, videos)}, left


def _au(truth: Array, probabilities: Array, videos: Array) -> tuple[dict[str, Array], list[LeftAlone]]:
    counts = threshold_counts(truth, probabilities, videos, int(videos.max(initial=-1)) + 1)
    left = _scarce(active_rows(counts), [f"threshold of {name}" for name in ACTION_UNITS], "active")
    return {"threshold": best_thresholds(counts)}, left


def _scarce(rows: Array, names: Sequence[str], what: str) -> list[LeftAlone]:
    few = np.flatnonzero(~enough(rows))
    return [LeftAlone(names[column], scarcity(rows[:, column], what)) for column in few.tolist()]
