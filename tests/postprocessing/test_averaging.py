"""The weighted mean of members, and what each of them is worth."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import average_members, find_known_tasks
from abawkit.postprocessing.rule import Rule
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning.ensemble_analysis import analyse
from tests.tuning.random_rows import annotations

VIDEOS, LENGTH = 6, 20
IMAGES = pa.array([f"v{video}/{frame:05d}.jpg" for video in range(VIDEOS) for frame in range(1, LENGTH + 1)])
N = len(IMAGES)


def truth() -> Annotations:
    return annotations(IMAGES, 99)


def member(key: str, seed: int, skill: float = 0.0, tasks: tuple[Task, ...] = TASKS) -> StoredMember:
    """A member that leans towards the truth by its skill, 0..1."""
    rng, annotated = np.random.default_rng(seed), truth()
    va = skill * annotated.va + (1 - skill) * rng.uniform(-1, 1, (N, 2))
    expression = skill * np.eye(8)[annotated.expression] + (1 - skill) * rng.dirichlet(np.ones(8), N)
    au = skill * annotated.au + (1 - skill) * rng.uniform(0, 1, (N, 12))
    columns: Mapping[Task, Array] = {"va": va, "expression": expression, "au": au}
    said = assemble(IMAGES, {task: columns[task].astype(np.float32) for task in tasks})
    return StoredMember(Path(f"{key}.npz"), said, tasks, digest_columns(said, tasks), key)


A, B, C = (member(key, seed) for seed, key in enumerate("abc"))


def same(a: Predictions, b: Predictions, tasks: tuple[Task, ...] = TASKS) -> bool:
    return all(np.array_equal(getattr(a, task), getattr(b, task)) for task in tasks)


@pytest.mark.parametrize("weights", [{}, {task: {"a": 0.3} for task in TASKS}])
def test_an_ensemble_of_one_is_that_one_bit_for_bit(weights: Any) -> None:
    assert same(average_members([A], weights), A.predictions)


@pytest.mark.parametrize("weights", [{}, {"va": {"a": 0.1, "b": 0.7, "c": 0.2}, "au": {"a": 3, "b": 0, "c": 1e-3}}])
def test_the_order_of_members_is_irrelevant_bit_for_bit(weights: Any) -> None:
    first, *others = [average_members(order, weights) for order in permutations([A, B, C])]
    assert all(same(first, other) for other in others)


def test_without_weights_it_is_the_mean() -> None:
    for task in TASKS:
        expected = np.mean([getattr(m.predictions, task) for m in (A, B, C)], axis=0)
        np.testing.assert_allclose(getattr(average_members([A, B, C]), task), expected, rtol=0, atol=1e-6)


def test_weights_count_in_proportion_and_task_by_task() -> None:
    found = average_members([A, B], {"va": {"a": 1, "b": 3}, "au": {"a": 10, "b": 30}})
    np.testing.assert_allclose(found.va, 0.25 * A.predictions.va + 0.75 * B.predictions.va, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.au, 0.25 * A.predictions.au + 0.75 * B.predictions.au, rtol=0, atol=1e-6)
    assert same(found, average_members([A, B]), ("expression",))


def test_a_member_without_weight_has_no_say() -> None:
    weights = {task: {"a": 0.0, "b": 0.4} for task in TASKS}
    assert same(average_members([A, B], weights), B.predictions)


def test_a_member_of_one_task_has_a_say_in_that_task_alone() -> None:
    single = member("d", 4, tasks=("va",))
    found = average_members([A, single])
    np.testing.assert_allclose(found.va, (A.predictions.va + single.predictions.va) / 2, rtol=0, atol=1e-6)
    assert same(found, A.predictions, ("expression", "au"))


LOG: Any = {"expression": "log", "au": "log"}


def test_the_log_pool_is_the_softmax_of_mean_log_probabilities_and_the_sigmoid_of_mean_logits() -> None:
    weights: Any = {"expression": {"a": 1, "b": 3}, "au": {"a": 3, "b": 1}}
    found = average_members([A, B], weights, pools=LOG)
    product = A.predictions.expression.astype(np.float64) ** 0.25 * B.predictions.expression.astype(np.float64) ** 0.75
    np.testing.assert_allclose(found.expression, product / product.sum(axis=1, keepdims=True), rtol=0, atol=1e-6)
    odds = [(p := m.predictions.au.astype(np.float64)) / (1 - p) for m in (A, B)]
    pooled = odds[0] ** 0.75 * odds[1] ** 0.25
    np.testing.assert_allclose(found.au, pooled / (1 + pooled), rtol=0, atol=1e-6)
    assert same(found, average_members([A, B]), ("va",))  # valence and arousal are averaged


@pytest.mark.parametrize("weights", [{}, {task: {"a": 0.3} for task in TASKS}])
def test_a_log_pool_of_one_is_that_one_bit_for_bit(weights: Any) -> None:
    assert same(average_members([A], weights, pools=LOG), A.predictions)
    half = {task: {"a": 0.0, "b": 0.4} for task in TASKS}
    assert same(average_members([A, B], half, pools=LOG), B.predictions)


@pytest.mark.parametrize("weights", [{}, {"expression": {"a": 0.1, "b": 0.7, "c": 0.2}}])
def test_the_order_of_members_is_irrelevant_to_a_log_pool_bit_for_bit(weights: Any) -> None:
    first, *others = [average_members(order, weights, pools=LOG) for order in permutations([A, B, C])]
    assert all(same(first, other) for other in others)


def sure(key: str, expression: int, au: float) -> StoredMember:
    """A member that is sure of everything: probabilities of 0 and 1."""
    columns: dict[Task, Array] = {
        "expression": np.eye(8, dtype=np.float32)[np.full(N, expression)],
        "au": np.full((N, 12), au, np.float32),
    }
    said = assemble(IMAGES, columns)
    return StoredMember(Path(key), said, ("expression", "au"), digest_columns(said, ("expression", "au")), key)


def test_probabilities_of_0_and_1_have_a_finite_say_in_a_log_pool() -> None:
    one, other, third = sure("x", 1, 1.0), sure("y", 2, 0.0), sure("z", 2, 0.0)
    found = average_members([one, other, third], tasks=("expression", "au"), pools=LOG)
    assert np.isfinite(found.expression).all()
    assert np.isfinite(found.au).all()
    np.testing.assert_allclose(found.expression.sum(axis=1), 1, atol=1e-6)
    assert (found.decide().expression == 2).all()  # two that are sure outvote one
    assert not found.decide().au.any()
    alike = average_members([one, sure("w", 1, 1.0)], tasks=("expression", "au"), pools=LOG)
    assert (alike.decide().expression == 1).all()
    assert alike.decide().au.all()
    two = average_members([one, other], tasks=("expression", "au"), pools=LOG)
    np.testing.assert_allclose(two.expression[:, 1], two.expression[:, 2], atol=1e-7)
    np.testing.assert_allclose(two.au, 0.5, atol=1e-6)


def test_a_log_pool_of_no_rows_is_empty() -> None:
    empty = [replace(m, predictions=m.predictions.select(np.arange(0))) for m in (A, B)]
    assert len(average_members(empty, pools=LOG)) == 0


def test_valence_and_arousal_have_no_log_pool() -> None:
    with pytest.raises(ValueError, match="va is averaged linearly"):
        average_members([A, B], pools={"va": "log"})


def test_a_task_that_no_member_knows_is_refused_unless_nobody_asks_for_it() -> None:
    single = member("d", 4, tasks=("va",))
    with pytest.raises(DataError, match="no member knows expression"):
        average_members([single])
    assert same(average_members([single], tasks=("va",)), single.predictions)
    assert find_known_tasks([single, member("e", 5, tasks=("au",))]) == ("va", "au")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, "the rule for va has no weight for b"),
        ({"a": 1.0, "b": 1.0, "x": 1.0}, "the rule for va weighs what is no member: x"),
        ({"x": 1.0}, r"has no weight for a \(a\.npz\), b \(b\.npz\) and weighs what is no member: x"),
        ({"a": 0.0, "b": 0.0}, "expected none negative and one above 0"),
        ({"a": -1.0, "b": 2.0}, "expected none negative"),
        ({"a": float("nan"), "b": 2.0}, "expected none negative"),
    ],
)
def test_weights_that_are_not_those_of_the_members_are_refused_by_name(weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        average_members([A, B], {"va": weights})


# what each is worth

GOOD, FAIR, NOISE = member("good", 10, 0.8), member("fair", 11, 0.5), member("noise", 12, 0.0)


def test_members_stand_alone_with_their_score_and_together_with_the_ensembles() -> None:
    found = analyse([GOOD, FAIR], truth())
    for contribution, one in zip(found.contributions, (GOOD, FAIR), strict=True):
        expected = score(truth(), one.predictions.decide())
        assert contribution.alone["score"] == pytest.approx(expected.score, abs=1e-9)
        assert contribution.alone["ccc_va"] == pytest.approx(expected.ccc_va, abs=1e-9)
    together = score(truth(), average_members([GOOD, FAIR]).decide())
    assert found.together["score"] == pytest.approx(together.score, abs=1e-9)


def test_what_a_member_adds_is_what_the_others_lack_without_it() -> None:
    found = analyse([GOOD, FAIR, NOISE], truth())
    without = score(truth(), average_members([FAIR, NOISE]).decide())
    assert found.contributions[0].adds["score"] == pytest.approx(found.together["score"] - without.score, abs=1e-9)
    assert found.contributions[0].adds["score"] > 0.1 > 0 > found.contributions[2].adds["score"]


def test_a_single_member_adds_all_there_is_and_so_does_the_only_one_that_knows_a_task() -> None:
    (contribution,) = analyse([GOOD], truth()).contributions
    assert contribution.adds == contribution.alone
    no_va = replace(FAIR, tasks=("expression", "au"))
    found = analyse([GOOD, no_va], truth())
    assert found.contributions[0].adds["ccc_va"] == found.together["ccc_va"] > 0.5
    assert found.contributions[1].alone["ccc_va"] == found.contributions[1].adds["ccc_va"] == 0


def test_without_the_member_that_had_all_the_weight_the_others_have_equal_ones() -> None:
    rule = Rule(weights={task: {"good": 1.0, "fair": 0.0, "noise": 0.0} for task in TASKS})
    found = analyse([GOOD, FAIR, NOISE], truth(), rule=rule)
    without = score(truth(), average_members([FAIR, NOISE]).decide())
    assert found.together["score"] == pytest.approx(score(truth(), GOOD.predictions.decide()).score, abs=1e-9)
    assert found.contributions[0].adds["score"] == pytest.approx(found.together["score"] - without.score, abs=1e-9)
    assert found.contributions[1].adds["score"] == 0


def test_members_that_the_rule_weighs_as_one_are_judged_as_one() -> None:
    rule = Rule(weights={task: {"good+fair": 3.0, "noise": 1.0} for task in TASKS})
    found = analyse([GOOD, FAIR, NOISE], truth(), rule=rule)
    assert [contribution.member.key for contribution in found.contributions] == ["noise", "good+fair"]
    assert found.contributions[1].alone["score"] == analyse([GOOD, FAIR], truth()).together["score"]
    assert found.contributions[1].adds["score"] > 0.5


def test_errors_that_are_alike_correlate_and_those_of_strangers_do_not() -> None:
    said = GOOD.predictions
    near = assemble(
        IMAGES,
        {
            "va": np.clip(said.va + 0.01, -1, 1).astype(np.float32),
            "expression": (0.9 * said.expression + 0.1 / 8).astype(np.float32),
            "au": (0.5 * said.au + 0.25).astype(np.float32),
        },
    )
    twin = StoredMember(Path("twin.npz"), near, TASKS, digest_columns(near, TASKS), "twin")
    va_only = member("va", 13, tasks=("va",))
    found = analyse([GOOD, twin, va_only], truth()).correlations
    for task in TASKS:
        assert np.allclose(found[task], found[task].T, equal_nan=True)
        assert found[task][0, 0] == pytest.approx(1)
        assert found[task][0, 1] > 0.9
    assert found["va"][0, 2] < 0.75
    assert np.isnan(found["au"][2]).all()
    assert np.isnan(found["expression"][0, 2])


def test_a_correlation_is_that_of_the_residuals() -> None:
    found = analyse([GOOD, FAIR], truth()).correlations
    first, second = ((m.predictions.va - truth().va).ravel() for m in (GOOD, FAIR))
    assert found["va"][0, 1] == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-9)
    rows = np.arange(N), truth().expression
    first, second = (1 - m.predictions.expression[rows].astype(float) for m in (GOOD, FAIR))
    assert found["expression"][0, 1] == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-9)


def test_members_of_other_rows_than_the_annotations_are_refused() -> None:
    with pytest.raises(DataError, match=r"good\.npz: its 120 rows are not the 119 of the annotations"):
        analyse([GOOD], truth().select(np.arange(N - 1)))
