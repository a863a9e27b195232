"""What a member can add to others, told from their errors before any weight is fitted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.rule import Rule
from abawkit.postprocessing.smoothing import Smoothing
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.scoring.bootstrap import PART_OF
from abawkit.tables import Annotations, Array
from abawkit.tuning.ensemble_analysis import LITTLE, Prospect, analyse, find_removable_error
from tests.tuning.random_rows import annotations

VIDEOS, LENGTH = 12, 50
N = VIDEOS * LENGTH
IMAGES = pa.array([f"v{row // LENGTH}/{row % LENGTH:05d}.jpg" for row in range(N)])


def truth() -> Annotations:
    return annotations(IMAGES, 5)


def member(key: str, seed: int, noise: float = 0.5, own: float = 1.0, tasks: tuple[Task, ...] = TASKS) -> StoredMember:
    """A member whose error is `own` of its own, the rest of it shared by all that have the same noise."""
    annotated = truth()
    shared, alone = np.random.default_rng(0), np.random.default_rng(seed)

    def err(*shape: int) -> Array:
        drawn = np.sqrt(1 - own) * shared.normal(0, 1, shape) + np.sqrt(own) * alone.normal(0, 1, shape)
        return np.asarray(noise * drawn)

    scores = 2 * np.eye(8)[annotated.expression] + 4 * err(N, 8)
    expression = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    columns = {
        "va": np.clip(0.5 * annotated.va + err(N, 2), -1, 1),
        "expression": expression,
        "au": np.clip(0.25 + 0.5 * annotated.au + err(N, 12), 0, 1),
    }
    said = assemble(IMAGES, {task: columns[task].astype(np.float32) for task in tasks})
    return StoredMember(Path(f"{key}.npz"), said, tasks, digest_columns(said, tasks), key)


def prospects(*members: StoredMember, rule: Rule | None = None) -> list[Prospect]:
    found = [one.prospect for one in analyse(members, truth(), rule=rule).contributions]
    assert all(found)
    return [one for one in found if one]


@pytest.mark.parametrize(
    ("own", "theirs", "share"),
    [
        ([1, -1], [1, 1], 0.5),  # their mean is 1, 0
        ([0, 0], [1, 1], 1.0),  # it makes no error
        ([1, 1], [1, 1], 0.0),  # the same errors
        ([2, 2], [1, 1], 0.0),  # the same, but larger: weight 0
        ([-3, -3], [1, 1], 1.0),  # of the other sign: a quarter of one and three of the other
        ([3, 0], [0, 1], 0.1),  # weight 0.1: errors 0.3 and 0.9
        ([1, 2], [0, 0], 0.0),  # nothing is left to remove
    ],
)
def test_the_share_of_the_error_that_the_best_weight_removes(
    own: list[float], theirs: list[float], share: float
) -> None:
    assert find_removable_error(np.array(own, float), np.array(theirs, float)) == pytest.approx(share)


def test_no_weight_of_a_fine_grid_removes_more() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        theirs = random.normal(0, 1, 40)
        own = random.normal(0.2, random.uniform(0.5, 2), 40) + random.uniform(0, 1) * theirs
        grid = [np.square(w * own + (1 - w) * theirs).mean() for w in np.linspace(0, 1, 1001)]
        best = 1 - min(grid) / np.square(theirs).mean()
        assert find_removable_error(own, theirs) == pytest.approx(best, abs=1e-5)


def test_another_seed_of_the_same_network_can_add_next_to_nothing_and_a_stranger_more() -> None:
    *_, seed = prospects(member("a", 1, own=0.02), member("b", 2, own=0.02), member("c", 3, own=0.02))
    assert seed.is_little
    assert min(seed.correlations.values()) > 0.95
    *_, stranger = prospects(member("a", 1, own=0.02), member("b", 2, own=0.02), member("c", 3))
    assert stranger.expected > 10 * max(seed.expected, LITTLE)
    assert max(stranger.correlations.values()) < 0.6


def test_a_member_that_knows_nothing_can_add_nothing_however_its_errors_differ() -> None:
    *_, noise = prospects(member("a", 1, 0.2), member("b", 2, 0.2), member("noise", 3, 5.0))
    assert noise.is_little
    assert noise.correlations["va"] < 0.9


@pytest.mark.parametrize("own", [0.02, 0.1, 0.3])
def test_members_that_are_alike_add_no_more_than_was_said(own: float) -> None:
    members = [member(key, seed, own=own) for seed, key in enumerate("abc", 1)]
    for contribution in analyse(members, truth()).contributions:
        assert contribution.prospect is not None
        assert contribution.adds["score"] <= contribution.prospect.expected + 0.02  # F1 of 600 rows is rough
        assert contribution.adds["ccc_va"] <= contribution.prospect.expected


def test_it_is_the_removed_share_of_what_the_others_lack() -> None:
    members = [member("a", 1), member("b", 2), member("c", 3)]
    found = analyse(members, truth())
    third = found.contributions[2]
    assert third.prospect is not None
    rest = average_members(members[:2])
    own, theirs = ((each.va - truth().va).astype(float).ravel() for each in (members[2].predictions, rest))
    assert third.prospect.removes["va"] == pytest.approx(find_removable_error(own, theirs), abs=1e-6)
    assert third.prospect.correlations["va"] == pytest.approx(np.corrcoef(own, theirs)[0, 1], abs=1e-6)
    lacks = {task: 1 - found.together[PART_OF[task]] + third.adds[PART_OF[task]] for task in TASKS}
    expected = sum(third.prospect.removes[task] * lacks[task] for task in TASKS)
    assert third.prospect.expected == pytest.approx(expected, abs=1e-9)


def test_the_others_are_weighed_as_the_rule_has_it_and_not_smoothed() -> None:
    members = [member("a", 1), member("b", 2), member("c", 3)]
    only_first = {task: {"a": 1.0, "b": 0.0, "c": 1.0} for task in TASKS}
    smoothing = {task: Smoothing("gaussian", 5, 100.0) for task in TASKS}
    found = prospects(*members, rule=Rule(weights=only_first, smoothing=smoothing))[2]
    expected = prospects(members[0], members[2])[1]
    assert found.correlations == pytest.approx(expected.correlations)


def test_a_member_is_compared_in_the_tasks_that_others_know_and_one_alone_in_none() -> None:
    found = prospects(member("a", 1), member("b", 2, tasks=("va",)))
    assert [list(one.correlations) for one in found] == [["va"], ["va"]]
    (alone,) = analyse([member("a", 1)], truth()).contributions
    assert alone.prospect is None


def test_an_error_that_does_not_vary_correlates_with_none() -> None:
    right = member("right", 1, tasks=("va",))
    said = replace(right.predictions, va=truth().va.astype(np.float32))
    perfect = replace(right, predictions=said)
    (one, _) = prospects(perfect, member("b", 2, tasks=("va",)))
    assert one.removes["va"] == pytest.approx(1, abs=1e-6)
