"""What loses on videos that it was not fitted on is left alone, by `calibrate`, by `tune` and by fitted weights."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from abawkit.labels import Task
from abawkit.postprocessing.calibration import Calibration
from abawkit.postprocessing.rule import Rule
from abawkit.tuning.calibration_fit import measure_gain
from abawkit.tuning.cross_validation import Tuning
from abawkit.tuning.ensemble import fit_ensemble
from abawkit.tuning.folds import SEARCH_FOLDS, make_video_folds
from abawkit.tuning.tune import calibrate, tune
from tests.tuning.test_tune import ROWS, VIDEOS, drawn, unrelated

Fit = Callable[..., Tuning]

FITS = pytest.mark.parametrize("fit", [calibrate, tune])


def neutral(rule: Rule, task: Task) -> bool:
    """Whether a rule does nothing for a task but take the mean."""
    knobs = {"va": ("scale", "shift"), "expression": ("bias",), "au": ("threshold",)}[task]
    weights = set(rule.weights.get(task, {}).values())
    same_knobs = all(np.array_equal(getattr(rule.calibration, k), getattr(Calibration(), k)) for k in knobs)
    return same_knobs and task not in rule.smoothing and len(weights) <= 1


@FITS
def test_a_task_whose_cross_fitted_part_falls_is_left_alone_and_said_to_be(fit: Fit) -> None:
    """Of a system that sees next to nothing, biases and thresholds fit the noise of ten videos, and may lose on two."""
    fallen, options = 0, {"smoothing": False} if fit is tune else {}
    for seed in range(12):
        truth, one = drawn(noise=4.0, seed=seed)
        found = fit([one], truth, tasks=("expression", "au"), draws=2, **options)
        parts = {"expression": "expression_f1", "au": "au_f1"}
        assert set(found.fallen) == {t for t, part in parts.items() if found.difference[part].value < -1e-12}
        assert all(neutral(found.rule, task) for task in found.fallen)
        said = " ".join(found.notes)
        for task in found.fallen:
            fallen += f"of {task}: kept as is, it loses on videos that it was not fitted on" in said
    assert fallen


def test_a_bias_that_loses_on_other_videos_is_not_taken_within_a_fit_either() -> None:
    """Each fit looks across folds of its own videos: what it leaves alone costs nothing in the figures."""
    losses = []
    for seed in range(6):
        truth, one = drawn(noise=4.0, seed=seed)
        videos = np.repeat(np.arange(VIDEOS), ROWS)
        valid = truth.expression_valid
        folds = make_video_folds(truth.images, SEARCH_FOLDS, scored=valid, least=1)[valid]
        labels, columns = truth.expression[valid], one.predictions.expression[valid]
        gain = measure_gain("expression", labels, columns, videos[valid], folds)
        if gain < 0:
            losses.append(gain)
            found = calibrate([one], truth, tasks=("expression",), draws=2)
            assert not found.rule.calibration.bias.any()
            assert found.difference["expression_f1"].value > gain
    assert losses


@FITS
def test_ten_folds_are_made_where_there_are_videos_for_them(fit: Fit) -> None:
    truth, one = drawn()
    halves = pa.array(
        [f"v{v}{'ab'[row // 15]}/{row:05d}.jpg" for v in range(VIDEOS) for row in range(ROWS)], pa.string()
    )
    predictions = replace(one.predictions, images=halves)
    options = {"tasks": ("va",), "draws": 2}
    found = fit([replace(one, predictions=predictions)], replace(truth, images=halves), **options)
    assert (found.about["videos"], found.about["folds"]) == (24, 10)


def test_weights_of_a_task_that_falls_are_those_of_the_mean() -> None:
    fallen = 0
    for seed in range(6):
        truth, _ = drawn(seed=seed)
        members = [replace(unrelated(truth.images, 10 * seed + i), key=f"m{i}", digest=f"m{i}") for i in range(2)]
        found = fit_ensemble(members, truth, draws=2)
        for task in found.fallen:
            fallen += 1
            assert set(found.rule.weights[task].values()) == {1.0}
            assert f"weights of {task}: kept as is, it loses on videos that it was not fitted on" in found.notes
    assert fallen
