"""The calibration of one task by itself, as a search fits it many times: fit, decide, score."""

from collections.abc import Callable
from typing import Any

import numpy as np

from abawkit.labels import EXPRESSIONS, Task
from abawkit.metrics import ccc, f1_per_class, f1_per_unit
from abawkit.postprocessing.biases import class_rows, fit_bias
from abawkit.postprocessing.calibration import HALF
from abawkit.postprocessing.floors import enough, rows_by_video
from abawkit.postprocessing.stretches import fit_va
from abawkit.postprocessing.thresholds import fit_thresholds
from abawkit.tables import Array


def fit_knobs(task: Task, truth: Array, columns: Array, videos: Array) -> Any:
    """Fits what `abawkit.postprocessing.fitting.fit_calibration` does for one task.

    Args:
        task: The task.
        truth: Annotated rows, shape (n, 2), (n,) or (n, 12).
        columns: Their values or probabilities, shape (n, 2), (n, 8) or (n, 12).
        videos: A number for each row's video, integers from 0, shape (n,).

    Returns:
        Scale and shift, the biases, or the thresholds.
    """
    fits: dict[Task, Callable[[Array, Array, Array], Any]]
    fits = {"va": fit_va, "expression": fit_bias, "au": fit_thresholds}
    return fits[task](truth, columns, videos)


def decide(task: Task, columns: Array, knobs: Any = None) -> Array:
    """The decisions of one task, as `abawkit.tables.Predictions.decide` makes them of calibrated predictions.

    Args:
        task: The task.
        columns: Values or probabilities, shape (n, 2), (n, 8) or (n, 12).
        knobs: What `fit_knobs` gave; None for none.

    Returns:
        Values, classes, or 0 and 1; shape (n, 2), (n,) or (n, 12).
    """
    if task == "va":
        scale, shift = (1.0, 0.0) if knobs is None else knobs
        return np.clip(columns * scale + shift, -1, 1)
    if task == "expression":
        return np.asarray((columns if knobs is None else columns * np.exp(knobs)).argmax(axis=1))
    return np.asarray(columns >= (HALF if knobs is None else knobs))


def part_score(task: Task, truth: Array, decisions: Array) -> float:
    """The task's part of P on these rows: see `abawkit.scoring.score.score`."""
    if task == "va":
        return float(np.mean([ccc(truth[:, i], decisions[:, i]) for i in range(2)]))
    if task == "expression":
        return float(f1_per_class(truth, decisions, len(EXPRESSIONS)).mean())
    return float(f1_per_unit(truth, decisions).mean())


def crossfitted_gain(task: Task, truth: Array, columns: Array, videos: Array, folds: Array) -> float:
    """What calibrating a task gains on rows that it was not fitted on: its part of P, cross-fitted, less the plain one.

    Args:
        task: The task.
        truth: Annotated rows, shape (n, 2), (n,) or (n, 12).
        columns: Their values or probabilities, shape (n, 2), (n, 8) or (n, 12).
        videos: A number for each row's video, integers from 0, shape (n,).
        folds: A fold for each row, from 0, whole videos each, shape (n,).
    """
    decisions = np.zeros(truth.shape, dtype=np.float64 if task == "va" else np.int8)
    for fold in range(int(folds.max()) + 1):
        others = folds != fold
        knobs = fit_knobs(task, truth[others], columns[others], videos[others])
        decisions[~others] = decide(task, columns[~others], knobs)
    return part_score(task, truth, decisions) - part_score(task, truth, decide(task, columns))


def tunable(task: Task, truth: Array, videos: Array) -> bool:
    """Whether enough is annotated to turn any knob of a task: one label, or the values, reach both floors.

    Args:
        task: The task.
        truth: Annotated rows, shape (n, 2), (n,) or (n, 12).
        videos: A number for each row's video, integers from 0, shape (n,).
    """
    if task == "expression":
        return bool(enough(class_rows(truth, videos)).any())
    positive = np.ones((len(truth), 1), dtype=bool) if task == "va" else truth == 1
    return bool(enough(rows_by_video(positive, videos)).any())
