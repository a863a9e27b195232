"""Fitting and searching with honest figures: what gains is found, what is noise is called so, nothing leaks."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.calibration import Calibration, apply_calibration
from abawkit.postprocessing.rule import Rule, apply_rule, refuse_other_members
from abawkit.postprocessing.smoothing import Smoothing
from abawkit.probabilities.members import StoredMember
from abawkit.scoring.bootstrap import PARTS
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning.calibration_fit import decide_task, fit_parameters, score_part
from abawkit.tuning.cross_validation import Tuning, digest_truth
from abawkit.tuning.folds import FOLDS, SEARCH_FOLDS, make_video_folds
from abawkit.tuning.tune import calibrate, tune

pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")

Fit = Callable[..., Tuning]

VIDEOS, ROWS = 12, 30


def slow(rng: np.random.Generator, columns: int) -> Array:
    """A random walk around 0 in each video, as faces move: neighbours correlate by 0.9; shape (360, columns)."""
    steps = rng.normal(size=(VIDEOS, ROWS, columns))
    for row in range(1, ROWS):
        steps[:, row] = 0.9 * steps[:, row - 1] + np.sqrt(1 - 0.81) * steps[:, row]
    return steps.reshape(-1, columns)


def member(images: pa.StringArray, signal: Array, key: str, tasks: tuple[Task, ...] = TASKS) -> StoredMember:
    """What a network says that sees this signal, shape (n, 22): values, logits of classes, logits of units."""
    odds = np.exp(signal[:, 2:10])
    columns = 0.3 * signal[:, :2].clip(-3, 3), odds / odds.sum(axis=1, keepdims=True), 1 / (1 + np.exp(-signal[:, 10:]))
    predictions = Predictions(images, *(column.astype(np.float32) for column in columns))
    return StoredMember(Path(f"{key}.npz"), predictions, tasks, f"digest of {key}", key)


@cache
def drawn(noise: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[Annotations, StoredMember]:
    """Annotations, and a member that sees them through noise which is new in each frame.

    Args:
        noise: Standard deviation, where that of the signal is 1.
        shift: Added to the logits of action units.
        seed: Of it all.
    """
    rng = np.random.default_rng(seed)
    signal = slow(rng, 22)
    n = len(signal)
    images = pa.array([f"v{v}/{1 + 3 * row:05d}.jpg" for v in range(VIDEOS) for row in range(ROWS)], pa.string())
    valid = {f"{task}_valid": rng.random(n) < 0.9 for task in TASKS}
    truth = Annotations(
        images=images,
        lines=np.arange(n) + 2,
        va=np.where(valid["va_valid"][:, None], 0.3 * signal[:, :2].clip(-3, 3), 0),
        expression=np.where(valid["expression_valid"], signal[:, 2:10].argmax(axis=1), 0).astype(np.int8),
        au=((signal[:, 10:] > 0) & valid["au_valid"][:, None]).astype(np.int8),
        va_partial=np.zeros(n, bool),
        au_partial=np.zeros(n, bool),
        **valid,
    )
    seen = signal + noise * rng.normal(size=signal.shape)
    seen[:, 10:] += shift
    return truth, member(images, seen, f"seen{seed}")


def unrelated(images: pa.StringArray, seed: int = 9) -> StoredMember:
    """A member that says nothing of the frames."""
    return member(images, slow(np.random.default_rng(seed), 22), "unrelated")


def parts(truth: Annotations, predictions: Predictions, protocol: Any = "official") -> list[float]:
    found = score(truth, predictions.decide(), protocol)
    return [getattr(found, part) for part in PARTS]


def same(a: Predictions, b: Predictions, rows: Array) -> bool:
    return all(np.array_equal(getattr(a, task)[rows], getattr(b, task)[rows]) for task in TASKS)


def lying(truth: Annotations, rows: Array) -> Annotations:
    """The truth with all annotations of some rows turned around."""
    return replace(
        truth,
        va=np.where(rows[:, None], -truth.va, truth.va),
        expression=np.where(rows, 7 - truth.expression, truth.expression).astype(np.int8),
        au=np.where(rows[:, None], 1 - truth.au, truth.au).astype(np.int8),
    )


FITS = pytest.mark.parametrize("fit", [calibrate, tune])


def test_smoothing_that_helps_is_found_and_said_to_be_beyond_noise() -> None:
    truth, one = drawn(noise=1.5)
    found = tune([one], truth, calibration=(), draws=500)
    assert {task: how.kind for task, how in found.rule.smoothing.items()} == dict.fromkeys(TASKS, "gaussian")
    for part in PARTS:
        assert found.difference[part].value > 0.03
        assert not found.difference[part].within_noise
    assert found.rule.weights == {task: {one.key: 1.0} for task in TASKS}
    assert np.array_equal(found.rule.calibration.threshold, Calibration().threshold)


def test_thresholds_of_shifted_probabilities_are_found_and_said_to_be_beyond_noise() -> None:
    truth, one = drawn(noise=0.3, shift=-2.0)
    found = calibrate([one], truth, calibration=("au",))
    assert np.abs(found.rule.calibration.threshold - 1 / (1 + np.exp(2))).max() < 0.1
    assert found.difference["au_f1"].low > 0.2
    assert found.difference["ccc_va"].value == found.difference["expression_f1"].value == 0
    assert np.array_equal(found.rule.calibration.bias, np.zeros(8))


def test_a_member_that_says_nothing_loses_its_weight() -> None:
    truth, one = drawn(noise=0.5)
    found = tune([one, unrelated(truth.images)], truth, tasks=("va",), calibration=(), smoothing=False)
    assert found.rule.weights["va"]["unrelated"] < 0.15
    assert found.difference["ccc_va"].low > 0


def test_what_is_noise_is_said_to_be_within_noise() -> None:
    truth, _ = drawn()
    found = tune([unrelated(truth.images), unrelated(truth.images, 10)], truth, tasks=("va",))
    assert found.difference["score"].within_noise
    assert found.in_sample["score"] > found.cross_fitted["score"].value


@FITS
def test_an_action_unit_with_too_few_positives_is_not_tuned(fit: Fit) -> None:
    truth, one = drawn(noise=0.3, shift=-2.0)
    au = truth.au.copy()
    au[np.flatnonzero(au[:, 7])[24:], 7] = 0  # AU15: 24 rows
    au[ROWS * 2 :, 8] = 0  # AU23: two videos
    found = fit([one], replace(truth, au=au), tasks=("au",))
    assert found.rule.calibration.threshold[[7, 8]].tolist() == [0.5, 0.5]
    assert (found.rule.calibration.threshold[[0, 1, 2, 3, 4, 5, 6, 9, 10, 11]] < 0.4).all()
    said = "\n".join(found.notes)
    assert "threshold of AU15: kept as is, active in 24 rows" in said
    assert "threshold of AU23: kept as is, active in" in said
    assert "of 2 videos, fewer than 25 rows of 3 videos" in said


def test_a_task_with_too_few_annotations_is_left_alone_altogether() -> None:
    truth, one = drawn(noise=1.5)
    few = replace(truth, expression_valid=truth.expression_valid & (np.arange(len(truth)) < 2 * ROWS))
    found = tune([one, unrelated(truth.images)], few, tasks=("va", "expression"), calibration=(), draws=50)
    assert set(found.rule.smoothing) == {"va"}
    assert set(found.rule.weights["expression"].values()) == {1.0} != set(found.rule.weights["va"].values())
    assert found.notes == ("all of expression: kept as is, no expression is annotated in 25 rows of 3 videos",)


@FITS
def test_the_truth_of_held_out_videos_has_no_say_in_their_decisions(fit: Fit) -> None:
    truth, one = drawn()
    before = fit([one], truth, draws=2).held_out
    scored = np.logical_or.reduce([truth.va_valid, truth.expression_valid, truth.au_valid])
    held_out = make_video_folds(truth.images, FOLDS, 0, scored=scored) == 2
    after = fit([one], lying(truth, held_out), draws=2).held_out
    assert same(before, after, held_out)
    assert not same(before, after, ~held_out)


@FITS
def test_figures_are_the_scores_of_the_predictions_that_they_are_named_after(fit: Fit) -> None:
    truth, one = drawn()
    found = fit([one], truth, draws=20)
    applied = apply_rule(found.rule, [one])
    assert same(applied, found.found.predictions, np.ones(len(truth), bool))
    for figures, predictions in (
        ([interval.value for interval in found.cross_fitted.values()], found.held_out),
        (list(found.in_sample.values()), applied),
        ([interval.value for interval in found.untuned.values()], one.predictions),
    ):
        assert figures == pytest.approx(parts(truth, predictions), abs=1e-12)
    gains = [found.cross_fitted[part].value - found.untuned[part].value for part in PARTS]
    assert [found.difference[part].value for part in PARTS] == pytest.approx(gains, abs=1e-12)


def test_the_order_of_rows_makes_no_difference() -> None:
    truth, one = drawn(noise=1.5)
    order = np.random.default_rng(3).permutation(len(truth))
    moved = replace(one, predictions=one.predictions.select(order))
    here = tune([one], truth, tasks=("va", "au"), draws=50)
    there = tune([moved], truth.select(order), tasks=("va", "au"), draws=50)
    assert here.rule.smoothing == there.rule.smoothing
    for knob in ("scale", "shift", "threshold"):
        assert getattr(there.rule.calibration, knob) == pytest.approx(getattr(here.rule.calibration, knob), abs=1e-9)
    for part in PARTS:
        a, b = here.difference[part], there.difference[part]
        assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high), abs=1e-9)


def test_the_order_of_members_makes_no_difference() -> None:
    truth, one = drawn()
    members = [one, unrelated(truth.images)]
    here, there = (tune(order, truth, tasks=("va",), draws=20).evidence() for order in (members, members[::-1]))
    here["members"].reverse()
    assert here == there


@FITS
def test_a_fit_repeated_is_the_same(fit: Fit) -> None:
    truth, one = drawn()
    a, b = (fit([one], truth, tasks=("au",), draws=20, seed=4) for _ in range(2))
    assert a.evidence() == b.evidence()
    assert same(a.held_out, b.held_out, np.ones(len(truth), bool))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_tried_is_judged_on_videos_that_it_was_not_fitted_on(task: Task) -> None:
    truth, one = drawn(noise=1.5)
    columns, labels, valid = getattr(one.predictions, task), getattr(truth, task), getattr(truth, f"{task}_valid")
    folds, videos = (
        make_video_folds(truth.images, SEARCH_FOLDS, scored=valid, least=1),
        np.repeat(np.arange(VIDEOS), ROWS),
    )
    decisions = np.zeros(labels.shape)
    for fold in range(SEARCH_FOLDS):
        others, decided = valid & (folds != fold), folds == fold
        knobs = fit_parameters(task, labels[others], columns[others], videos[others])
        decisions[decided] = decide_task(task, columns[decided], knobs)
    plain, fitted = tune([one], truth, tasks=(task,), smoothing=False, draws=2).evidence()["tried"][task]
    assert (plain["calibrated"], fitted["calibrated"]) == (False, True)
    assert fitted["figure"] == pytest.approx(score_part(task, labels[valid], decisions[valid]), abs=1e-12)
    assert plain["figure"] == pytest.approx(
        score_part(task, labels[valid], decide_task(task, columns[valid])), abs=1e-12
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_the_search_decides_as_the_rule_will(task: Task, seed: int) -> None:
    truth, one = drawn(noise=2.0, shift=-1.0, seed=seed)
    columns, labels = getattr(one.predictions, task), getattr(truth, task)
    knobs = fit_parameters(task, labels, columns, np.repeat(np.arange(VIDEOS), ROWS))
    names = {"va": ("scale", "shift"), "expression": ("bias",), "au": ("threshold",)}[task]
    calibration = Calibration(**dict(zip(names, knobs if task == "va" else (knobs,), strict=True)))
    for given, expected in ((knobs, apply_calibration(one.predictions, calibration)), (None, one.predictions)):
        decisions, official = decide_task(task, columns, given), getattr(expected.decide(), task)
        assert np.allclose(decisions, official, rtol=0, atol=1e-6)
        assert score_part(task, labels, decisions) == pytest.approx(score_part(task, labels, official), abs=1e-6)


def test_weights_and_smoothing_of_the_base_are_kept_and_count_as_untuned() -> None:
    truth, one = drawn()
    other = unrelated(truth.images)
    base = Rule({"va": {one.key: 3.0, other.key: 1.0}}, {"va": Smoothing("gaussian", 5, 100.0)})
    found = calibrate([one, other], truth, base=base, draws=20)
    equal = {one.key: 1.0, other.key: 1.0}
    assert found.rule.weights == {**base.weights, "expression": equal, "au": equal}
    assert found.rule.smoothing == base.smoothing
    assert [found.untuned[part].value for part in PARTS] == pytest.approx(parts(truth, apply_rule(base, [one, other])))


@FITS
def test_a_rule_is_for_the_members_that_it_was_fitted_on_and_refused_for_others(fit: Fit) -> None:
    truth, one = drawn()
    rule = fit([one], truth, draws=20).rule
    refuse_other_members(rule, [one], TASKS)
    for others in ([unrelated(truth.images)], [one, unrelated(truth.images)]):
        with pytest.raises(DataError, match="the rule for va has no weight for unrelated"):
            refuse_other_members(rule, others, TASKS)


def test_a_rule_for_the_mean_of_networks_fits_these_networks_apart() -> None:
    truth, one = drawn()
    members = [one, unrelated(truth.images)]
    mean = replace(one, predictions=average_members(members), key=f"{one.key}+unrelated")
    rule = calibrate([mean], truth, draws=20).rule
    everywhere = np.ones(len(truth), bool)
    assert same(apply_rule(rule, members), apply_rule(rule, [mean]), everywhere)
    again = calibrate(members, truth, base=rule, draws=20).rule
    assert again.weights == rule.weights == {task: {mean.key: 1.0} for task in TASKS}
    with pytest.raises(DataError, match="has no weight for seen0 "):
        apply_rule(rule, [one])


def test_members_of_one_task_are_scored_for_it_alone() -> None:
    truth, one = drawn()
    found = calibrate([replace(one, tasks=("va",))], truth, draws=20)
    assert found.tasks == ("va",)
    assert found.cross_fitted["score"].value == found.cross_fitted["ccc_va"].value > 0
    assert found.cross_fitted["au_f1"].value == found.in_sample["expression_f1"] == 0


def test_the_strict_protocol_looks_at_its_own_rows_alone() -> None:
    truth, one = drawn()
    honest, poisoned = (
        calibrate([one], annotations, protocol="strict", draws=20)
        for annotations in (truth, lying(truth, ~truth.all_valid))
    )
    assert honest.evidence() | {"truth_digest": ""} == poisoned.evidence() | {"truth_digest": ""}
    assert honest.about["rows"] == int(truth.all_valid.sum())


def test_evidence_says_what_was_done_on_what() -> None:
    truth, one = drawn()
    found = tune([one], truth, tasks=("va",), folds=3, seed=5, draws=20)
    evidence = found.evidence()
    assert [evidence[key] for key in ("protocol", "videos", "folds", "seed", "draws")] == ["official", 12, 3, 5, 20]
    assert evidence["members"] == [{"key": one.key, "digest": one.digest, "file": "seen0.npz"}]
    assert (evidence["list_digest"], evidence["truth_digest"]) == (truth.digest, digest_truth(truth))
    tried = evidence["tried"]["va"]
    best = max(tried, key=lambda entry: entry["figure"])
    assert evidence["chosen"]["va"] == {key: best[key] for key in ("smoothing", "calibrated", "weighted", "pool")}
    assert tried[0]["figure"] == pytest.approx(evidence["untuned"]["ccc_va"]["value"], abs=1e-6)
    assert evidence["difference"]["score"]["within_noise"] == found.difference["score"].within_noise


def test_the_digest_of_the_truth_knows_annotations_and_nothing_behind_masks() -> None:
    truth, _ = drawn()
    assert digest_truth(lying(truth, ~(truth.va_valid | truth.expression_valid | truth.au_valid))) == digest_truth(
        truth
    )
    assert digest_truth(lying(truth, np.arange(len(truth)) == 0)) != digest_truth(truth)
    assert digest_truth(replace(truth, au_valid=np.ones(len(truth), bool))) != digest_truth(truth)


def test_progress_counts_a_fit_a_fold_and_the_last_on_all_videos() -> None:
    truth, one = drawn()
    calls: list[tuple[int, int]] = []
    calibrate([one], truth, tasks=("va",), folds=3, draws=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


@FITS
def test_four_videos_are_enough_and_three_are_not(fit: Fit) -> None:
    truth, one = drawn()
    for videos, enough in ((4, True), (3, False)):
        rows = np.arange(videos * ROWS)
        some = replace(one, predictions=one.predictions.select(rows))
        if enough:
            assert fit([some], truth.select(rows), tasks=("va",), draws=20).about["folds"] == 2
        else:
            with pytest.raises(DataError, match="found 3 videos with annotated rows, expected at least 4"):
                fit([some], truth.select(rows), tasks=("va",), draws=20)


@FITS
def test_predictions_of_other_rows_are_refused(fit: Fit) -> None:
    truth, one = drawn()
    with pytest.raises(DataError, match=r"seen0.npz: its 360 rows are not the 359 of the annotations"):
        fit([one], truth.select(np.arange(1, len(truth))))


@FITS
def test_a_task_that_nobody_knows_is_refused(fit: Fit) -> None:
    truth, one = drawn()
    with pytest.raises(ConfigError, match="no member knows au; these are known: va"):
        fit([replace(one, tasks=("va",))], truth, tasks=("au",))
    with pytest.raises(ConfigError, match="au can't be calibrated, scored are: va"):
        fit([one], truth, tasks=("va",), calibration=("au",))


@FITS
def test_annotations_without_a_valid_row_are_refused(fit: Fit) -> None:
    truth, one = drawn()
    nothing = {f"{task}_valid": np.zeros(len(truth), bool) for task in TASKS}
    with pytest.raises(DataError, match="found 0 videos with annotated rows"):
        fit([one], replace(truth, **nothing))
