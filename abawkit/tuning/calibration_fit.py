"""Fits a calibration: thresholds, biases, scale and shift; and reports which were not fitted, and why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.calibration import HALF, Calibration
from abawkit.scoring.metrics import ccc, f1_per_class, f1_per_unit
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning.expression_biases import count_class_rows, fit_bias
from abawkit.tuning.support import NotFitted, explain_scarcity, is_supported, rows_by_video
from abawkit.tuning.thresholds import count_active_rows, count_by_threshold, find_best_thresholds, fit_thresholds
from abawkit.tuning.va_scaling import fit_scaling, fit_va


@dataclass(frozen=True)
class CalibrationFit:
    """What was fitted.

    Attributes:
        calibration: The parameters.
        not_fitted: Those that were not fitted, and why: in the order of tasks and columns.
    """

    calibration: Calibration
    not_fitted: tuple[NotFitted, ...]


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
        tasks: Those whose parameters are fitted; the others' are neutral, and are not listed in `not_fitted`.

    Raises:
        ValueError: If the rows are not the same: a bug of the caller.
    """
    if not predictions.images.equals(truth.images):
        raise ValueError("the rows of the predictions are not those of the annotations")
    parameters: dict[str, Array] = {}
    not_fitted: list[NotFitted] = []
    for task in TASKS:
        if task in tasks:
            rows = np.flatnonzero(masks[task])
            given = getattr(truth, task)[rows], getattr(predictions, task)[rows], videos[rows]
            found, scarce = {"va": _va, "expression": _expression, "au": _au}[task](*given)
            parameters |= found
            not_fitted += scarce
    return CalibrationFit(Calibration(**parameters), tuple(not_fitted))


def _va(truth: Array, va: Array, videos: Array) -> tuple[dict[str, Array], list[NotFitted]]:
    found = [fit_scaling(truth[:, i], va[:, i], videos) for i in range(len(DIMENSIONS))]
    pairs = zip(DIMENSIONS, found, strict=True)
    not_fitted = [NotFitted(f"scale and shift of {name}", fit.reason) for name, fit in pairs if fit.reason]
    return {
        "scale": np.array([fit.scale for fit in found]),
        "shift": np.array([fit.shift for fit in found]),
    }, not_fitted


def _expression(truth: Array, probabilities: Array, videos: Array) -> tuple[dict[str, Array], list[NotFitted]]:
    not_fitted = _find_scarce(count_class_rows(truth, videos), [f"bias of {name}" for name in EXPRESSIONS], "annotated")
    return {"bias": fit_bias(truth, probabilities, videos)}, not_fitted


def _au(truth: Array, probabilities: Array, videos: Array) -> tuple[dict[str, Array], list[NotFitted]]:
    counts = count_by_threshold(truth, probabilities, videos, int(videos.max(initial=-1)) + 1)
    not_fitted = _find_scarce(count_active_rows(counts), [f"threshold of {name}" for name in ACTION_UNITS], "active")
    return {"threshold": find_best_thresholds(counts)}, not_fitted


def _find_scarce(rows: Array, names: Sequence[str], what: str) -> list[NotFitted]:
    few = np.flatnonzero(~is_supported(rows))
    return [NotFitted(names[column], explain_scarcity(rows[:, column], what)) for column in few.tolist()]


def fit_parameters(task: Task, truth: Array, columns: Array, videos: Array) -> Any:
    """Fits one task, as `fit_calibration` does.

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


def decide_task(task: Task, columns: Array, parameters: Any = None) -> Array:
    """The decisions of one task, as `abawkit.tables.Predictions.decide` makes them of calibrated predictions.

    Args:
        task: The task.
        columns: Values or probabilities, shape (n, 2), (n, 8) or (n, 12).
        parameters: What `fit_parameters` gave; None for none.

    Returns:
        Values, classes, or 0 and 1; shape (n, 2), (n,) or (n, 12).
    """
    if task == "va":
        scale, shift = (1.0, 0.0) if parameters is None else parameters
        return np.clip(columns * scale + shift, -1, 1)
    if task == "expression":
        return np.asarray((columns if parameters is None else columns * np.exp(parameters)).argmax(axis=1))
    return np.asarray(columns >= (HALF if parameters is None else parameters))


def score_part(task: Task, truth: Array, decisions: Array) -> float:
    """The task's part of P on these rows: see `abawkit.scoring.score.score`."""
    if task == "va":
        return float(np.mean([ccc(truth[:, i], decisions[:, i]) for i in range(2)]))
    if task == "expression":
        return float(f1_per_class(truth, decisions, len(EXPRESSIONS)).mean())
    return float(f1_per_unit(truth, decisions).mean())


def measure_gain(task: Task, truth: Array, columns: Array, videos: Array, folds: Array) -> float:
    """What calibrating a task gains on rows that it was not fitted on: its part of P, cross-fitted, less that without.

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
        parameters = fit_parameters(task, truth[others], columns[others], videos[others])
        decisions[~others] = decide_task(task, columns[~others], parameters)
    return score_part(task, truth, decisions) - score_part(task, truth, decide_task(task, columns))


def is_tunable(task: Task, truth: Array, videos: Array) -> bool:
    """Whether enough is annotated to fit anything for a task: one label, or the values, reach both minimums.

    Args:
        task: The task.
        truth: Annotated rows, shape (n, 2), (n,) or (n, 12).
        videos: A number for each row's video, integers from 0, shape (n,).
    """
    if task == "expression":
        return bool(is_supported(count_class_rows(truth, videos)).any())
    positive = np.ones((len(truth), 1), dtype=bool) if task == "va" else truth == 1
    return bool(is_supported(rows_by_video(positive, videos)).any())
