"""Fitted weights: the best there are, by comparison with searches that look everywhere."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations, Array
from abawkit.tuning.ensemble_weights import (
    MIN_PROBABILITY,
    WeightFit,
    fit_log_pool_weights,
    fit_mixture_weights,
    minimise_on_simplex,
)


def likelihood(weights: Array, probabilities: Array) -> float:
    return float(np.log(weights @ probabilities).mean())


def climbed(probabilities: Array) -> Array:
    """EM, which climbs to the same maximum slowly and surely."""
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(20_000):
        weights = weights * (probabilities / (weights @ probabilities)).mean(axis=1)
    return weights


def draw(seed: int, members: int, rows: int = 400) -> Array:
    """Probabilities of what was annotated, by members of different skill."""
    rng = np.random.default_rng(seed)
    skills = rng.uniform(-0.5, 2, (members, 1))
    return np.asarray(1 / (1 + np.exp(-(skills + rng.normal(0, 1.5, (members, rows))))))


@pytest.mark.parametrize("seed", range(8))
def test_the_weights_of_two_members_are_the_best_of_a_fine_grid(seed: int) -> None:
    probabilities = draw(seed, 2)
    grid = np.linspace(0, 1, 2001)
    best = max(likelihood(np.array([w, 1 - w]), probabilities) for w in grid)
    found = fit_mixture_weights(probabilities)
    assert likelihood(found, probabilities) >= best - 1e-5
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


@pytest.mark.parametrize("members", [1, 2, 3, 5, 9])
def test_they_are_where_expectation_and_maximisation_climb_to(members: int) -> None:
    probabilities = draw(50 + members, members)
    found, expected = fit_mixture_weights(probabilities), climbed(probabilities)
    assert likelihood(found, probabilities) >= likelihood(expected, probabilities) - 1e-5
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_members_that_say_the_same_share_their_weight() -> None:
    probabilities = draw(3, 2)
    found = fit_mixture_weights(probabilities[[0, 1, 0]])
    assert found[0] == pytest.approx(found[2], abs=1e-3)


def simplex_points(members: int, steps: int) -> Array:
    axes = np.meshgrid(*[np.arange(steps + 1)] * (members - 1), indexing="ij")
    free = np.stack([axis.ravel() for axis in axes])
    points = np.concatenate([free, steps - free.sum(axis=0, keepdims=True)])
    return points[:, points[-1] >= 0].T / steps


@pytest.mark.parametrize("members", [2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_least_squares_on_the_simplex_is_the_best_of_a_fine_grid(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    root, b = rng.normal(size=(members + 1, members)), rng.normal(size=members)
    a = root.T @ root
    points = simplex_points(members, {2: 4000, 3: 300, 4: 60}[members])
    values = np.einsum("pi,ij,pj->p", points, a, points) / 2 - points @ b
    found = minimise_on_simplex(a, b)
    assert found @ a @ found / 2 - b @ found <= values.min() + 1e-9
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


def test_a_single_member_has_all_the_weight() -> None:
    assert minimise_on_simplex(np.array([[2.0]]), np.array([-1.0])).tolist() == [1.0]
    assert fit_mixture_weights(np.array([[0.3, 0.9]])).tolist() == [1.0]


def test_a_flat_valley_gives_equal_weights() -> None:
    np.testing.assert_allclose(minimise_on_simplex(np.ones((3, 3)), np.ones(3)), 1 / 3, atol=1e-6)
    np.testing.assert_allclose(minimise_on_simplex(np.zeros((3, 3)), np.zeros(3)), 1 / 3, atol=1e-6)


# members and annotations


def material(videos: int = 6, length: int = 50) -> tuple[Annotations, list[StoredMember]]:
    """Three members: two of different skill with errors of their own, and one that knows nothing."""
    n, rng = videos * length, np.random.default_rng(0)
    images = pa.array([f"v{video}/{frame:05d}.jpg" for video in range(videos) for frame in range(length)])
    everywhere, nowhere = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    truth = Annotations(
        images=images,
        lines=np.arange(2, n + 2),
        va=rng.uniform(-1, 1, (n, 2)),
        expression=rng.integers(0, 8, n).astype(np.int8),
        au=rng.integers(0, 2, (n, 12)).astype(np.int8),
        va_valid=everywhere,
        expression_valid=everywhere,
        au_valid=everywhere,
        va_partial=nowhere,
        au_partial=nowhere,
    )
    members = []
    for key, skill in (("good", 2.0), ("fair", 1.2), ("noise", 0.0)):
        va = np.clip(truth.va * min(skill, 1) + rng.normal(0, 1 / (1 + skill), (n, 2)), -1, 1)
        scores = skill * (np.eye(8)[truth.expression] + rng.normal(0, 0.5, (n, 8)))
        expression = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        au = 1 / (1 + np.exp(-skill * (2 * truth.au - 1 + rng.normal(0, 1, (n, 12)))))
        columns: Mapping[Task, Array] = {"va": va, "expression": expression, "au": au}
        said = assemble(images, {task: column.astype(np.float32) for task, column in columns.items()})
        members.append(StoredMember(Path(f"{key}.npz"), said, TASKS, digest_columns(said, TASKS), key))
    return truth, members


TRUTH, MEMBERS = material()


LOG: Any = {"expression": "log", "au": "log"}


def log_likelihood(weights: Array, logs: Array, truth: Array) -> float:
    total = np.tensordot(weights, logs, 1)
    return float((total[np.arange(len(truth)), truth] - np.log(np.exp(total).sum(axis=1))).mean())


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_weights_of_a_log_pool_are_the_best_of_a_fine_grid(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 300)
    logs = rng.uniform(-0.3, 1.5, (members, 1, 1)) * np.eye(4)[truth] + rng.normal(0, 1, (members, 300, 4))
    best = max(log_likelihood(point, logs, truth) for point in simplex_points(members, {2: 400, 3: 60}[members]))
    found = fit_log_pool_weights(logs, truth)
    assert log_likelihood(found, logs, truth) >= best - 1e-5
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


def test_weights_of_a_log_pool_are_those_of_members_that_know_something() -> None:
    found = WeightFit(MEMBERS, TRUTH).fit(select_scored_rows(TRUTH), LOG)
    plain = WeightFit(MEMBERS, TRUTH).fit(select_scored_rows(TRUTH))
    assert found["va"] == plain["va"]
    for task in ("expression", "au"):
        assert found[task]["noise"] < 0.1
        assert found[task]["good"] > found[task]["noise"]
        assert found[task] != plain[task]
        assert sum(found[task].values()) == pytest.approx(1, abs=1e-5)


def test_a_member_that_knows_nothing_gets_next_to_no_weight() -> None:
    found = WeightFit(MEMBERS, TRUTH).fit(select_scored_rows(TRUTH))
    for task in TASKS:
        assert found[task]["noise"] < 0.05
        assert found[task]["good"] > found[task]["fair"] > 0
        assert sum(found[task].values()) == pytest.approx(1, abs=1e-5)


def test_the_order_of_members_changes_no_weight() -> None:
    rows = select_scored_rows(TRUTH)
    assert WeightFit(MEMBERS[::-1], TRUTH).fit(rows) == WeightFit(MEMBERS, TRUTH).fit(rows)


def test_only_the_rows_of_the_mask_have_a_say() -> None:
    rows = {task: mask & (np.arange(len(TRUTH)) < 200) for task, mask in select_scored_rows(TRUTH).items()}
    first = np.arange(200)
    cut = [
        StoredMember(
            m.path, m.predictions.select(first), TASKS, digest_columns(m.predictions.select(first), TASKS), m.key
        )
        for m in MEMBERS
    ]
    alone = TRUTH.select(first)
    found, expected = WeightFit(MEMBERS, TRUTH).fit(rows), WeightFit(cut, alone).fit(select_scored_rows(alone))
    assert all(found[task] == pytest.approx(expected[task]) for task in TASKS)


@pytest.mark.parametrize(
    ("rows", "enough"),
    [
        (np.arange(300) % 50 < 9, True),  # 54 rows of 6 videos
        (np.arange(300) % 50 < 4, False),  # 24 rows of 6 videos
        (np.arange(300) < 100, False),  # 100 rows of 2 videos
        (np.arange(300) < 101, True),  # and one of a third
    ],
)
def test_below_the_floor_of_rows_and_videos_the_members_keep_equal_weights(rows: Array, enough: bool) -> None:
    same = replace(TRUTH, expression=np.zeros_like(TRUTH.expression), au=np.ones_like(TRUTH.au))
    found = WeightFit(MEMBERS, same).fit(dict.fromkeys(TASKS, rows))
    assert set(found) == (set(TASKS) if enough else set())


def test_a_single_member_has_no_weights_to_fit() -> None:
    assert WeightFit(MEMBERS[:1], TRUTH).fit(select_scored_rows(TRUTH)) == {}


def test_what_a_member_thinks_impossible_does_not_decide_alone() -> None:
    probabilities = np.full((2, 100), [[0.9], [0.5]])
    probabilities[0, 0] = MIN_PROBABILITY
    assert fit_mixture_weights(probabilities)[0] > 0.9


def test_members_of_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"good\.npz: its 300 rows are not the 10 of the annotations, in their order"):
        WeightFit(MEMBERS, TRUTH.select(np.arange(10)))


def test_members_are_weighed_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from abawkit.tuning.ensemble_weights import fit_mixture_weights\n"
        "from abawkit.postprocessing import averaging, outputs, rule\n"
        "from abawkit.probabilities import members\n"
        "from abawkit.tuning import ensemble_analysis\n"
        "print(fit_mixture_weights(np.array([[0.9, 0.8], [0.1, 0.2]])).tolist())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[1.0, 0.0]\n"


def test_action_units_that_are_hardly_ever_active_have_no_say() -> None:
    """One active cell in all: nothing is fitted. With another unit often active, the weights are those of that one."""
    rng = np.random.default_rng(5)
    images = pa.array([f"v{row // 20}/{row:05d}.jpg" for row in range(120)])
    au = np.zeros((120, 12), dtype=np.int8)
    au[7, 3] = 1
    everywhere, nowhere = np.ones(120, dtype=bool), np.zeros(120, dtype=bool)
    truth = Annotations(
        images=images,
        lines=np.arange(2, 122),
        va=np.zeros((120, 2)),
        expression=np.zeros(120, dtype=np.int8),
        au=au,
        **dict.fromkeys(("va_valid", "expression_valid", "au_valid"), everywhere),
        **dict.fromkeys(("va_partial", "au_partial"), nowhere),
    )
    said = [rng.uniform(0.1, 0.9, (120, 12)).astype(np.float32) for _ in range(2)]

    def fitted(truth: Annotations, columns: list[Array]) -> dict[Task, dict[str, float]]:
        members = [
            StoredMember(Path(key), p := assemble(images, {"au": column}), ("au",), digest_columns(p, ("au",)), key)
            for key, column in zip("ab", columns, strict=True)
        ]
        return WeightFit(members, truth).fit({"au": everywhere})

    assert fitted(truth, said) == {}
    often = au.copy()
    often[::2, 0] = 1
    others = [column.copy() for column in said]
    others[0][:, 1:] = 0.5  # the first says other things of the units that are hardly ever active
    assert fitted(replace(truth, au=often), said) == fitted(replace(truth, au=often), others) != {}
