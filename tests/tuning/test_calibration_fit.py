"""A whole calibration: made of the fits of its knobs, none turned below the floors, those left alone named."""

import numpy as np
import pyarrow as pa
import pytest

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, Task
from abawkit.postprocessing.calibration import Calibration, apply_calibration
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning import expression_biases as biases
from abawkit.tuning import thresholds
from abawkit.tuning.calibration_fit import fit_calibration
from abawkit.tuning.support import MIN_POSITIVES, MIN_VIDEOS, is_supported, prefer_simplest, rows_by_video
from abawkit.tuning.va_scaling import fit_va
from tests.tuning.random_rows import expressions, units


@pytest.mark.parametrize(
    ("rows", "videos", "reached"),
    [(MIN_POSITIVES, MIN_VIDEOS, True), (MIN_POSITIVES - 1, MIN_VIDEOS, False), (500, MIN_VIDEOS - 1, False)],
)
def test_no_knob_is_turned_below_the_floors(rows: int, videos: int, reached: bool) -> None:
    n = 600
    groups = np.arange(n) % 12
    chosen = np.flatnonzero(groups < videos)[:rows] if videos < MIN_VIDEOS else np.arange(rows)
    if videos == MIN_VIDEOS:
        groups[chosen] = np.arange(len(chosen)) % videos
    positive = np.zeros(n, dtype=bool)
    positive[chosen] = True
    assert is_supported(rows_by_video(positive[:, None], groups)).tolist() == [reached]

    au = np.repeat(positive[:, None], 12, axis=1).astype(np.int8)
    low = np.where(au == 1, 0.3, 0.05).astype(np.float32)  # a lower threshold is right beyond doubt
    assert (thresholds.fit_thresholds(au, low, groups)[0] < 0.5) == reached

    expression = np.where(positive, 0, 1 + np.arange(n) % 2)
    p = np.full((n, 8), 0.02)
    p[np.arange(n), np.maximum(expression, 1)] = 0.6
    p[positive, 0] = 0.3  # class 0 comes second wherever it is the truth
    assert (biases.fit_bias(expression, p, groups)[0] > 0) == reached


def table(n: int, rng: np.random.Generator) -> tuple[Predictions, Annotations, Array]:
    truth_au, au = units(rng, n)
    truth_expression, expression = expressions(rng, n)
    va = rng.uniform(-0.9, 0.9, (n, 2))
    images = pa.array([f"v{k % 10}/{k:05d}.jpg" for k in range(n)])
    everywhere, nowhere = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    annotations = Annotations(
        images=images,
        lines=np.arange(n),
        va=va,
        expression=truth_expression,
        au=truth_au,
        va_valid=everywhere,
        expression_valid=everywhere,
        au_valid=everywhere,
        va_partial=nowhere,
        au_partial=nowhere,
    )
    return Predictions(images, (0.5 * va).astype(np.float32), expression, au), annotations, np.arange(n) % 10


def test_a_whole_calibration_is_made_of_the_fits_of_each_knob_on_the_rows_of_its_task() -> None:
    predictions, truth, videos = table(800, np.random.default_rng(0))
    masks: dict[Task, Array] = {"va": videos < 6, "expression": videos < 8, "au": videos > 2}
    fit = fit_calibration(predictions, truth, masks, videos)
    va, expression, au = (masks[task] for task in ("va", "expression", "au"))
    scale, shift = fit_va(truth.va[va], predictions.va[va], videos[va])
    assert np.array_equal(fit.calibration.scale, scale)
    assert np.array_equal(fit.calibration.shift, shift)
    bias = biases.fit_bias(truth.expression[expression], predictions.expression[expression], videos[expression])
    assert np.array_equal(fit.calibration.bias, bias)
    assert np.array_equal(
        fit.calibration.threshold, thresholds.fit_thresholds(truth.au[au], predictions.au[au], videos[au])
    )
    assert fit.not_fitted == ()
    decided = apply_calibration(predictions, fit.calibration).decide()
    assert np.array_equal(decided.au, predictions.au >= fit.calibration.threshold)


def test_every_knob_that_is_left_alone_is_named_with_the_reason() -> None:
    predictions, truth, videos = table(400, np.random.default_rng(0))
    few = np.arange(400) < 20
    fit = fit_calibration(predictions, truth, {"va": few, "expression": few, "au": few}, videos)
    neutral = Calibration()
    assert all(np.array_equal(value, getattr(neutral, name)) for name, value in vars(fit.calibration).items())
    knobs = [left.parameter for left in fit.not_fitted]
    assert knobs == [
        *(f"scale and shift of {name}" for name in DIMENSIONS),
        *(f"bias of {name}" for name in EXPRESSIONS),
        *(f"threshold of {name}" for name in ACTION_UNITS),
    ]
    assert str(fit.not_fitted[0]) == (
        "scale and shift of valence: kept as is, annotated in 20 rows of 10 videos, fewer than 25 rows of 3 videos"
    )


def test_only_the_tasks_that_are_asked_for_are_fitted() -> None:
    predictions, truth, videos = table(400, np.random.default_rng(0))
    fit = fit_calibration(predictions, truth, {"au": np.ones(400, dtype=bool)}, videos, tasks=["au"])
    assert not np.array_equal(fit.calibration.threshold, np.full(12, 0.5))
    assert fit.calibration.scale.tolist() == [1, 1]
    assert not fit.calibration.bias.any()
    assert fit.not_fitted == ()


def test_no_row_at_all_leaves_every_knob_alone() -> None:
    predictions, truth, videos = table(10, np.random.default_rng(0))
    nothing = np.zeros(10, dtype=bool)
    fit = fit_calibration(predictions, truth, {"va": nothing, "expression": nothing, "au": nothing}, videos)
    assert len(fit.not_fitted) == 2 + 8 + 12


def test_of_equal_gains_the_nearest_is_preferred_and_of_equally_near_ones_the_first() -> None:
    gain = np.array([[1.0, 2.0, 2.0 - 1e-15, 0.0], [3.0, 3.0, 0.0, 3.0]])
    assert prefer_simplest(gain, np.array([2.0, 3.0, 1.0, 2.0])).tolist() == [2, 0]
