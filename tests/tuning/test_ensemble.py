"""Weights as they are typed, and weights that are fitted: what they gain on videos that they were not fitted on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import get_format
from abawkit.labels import TASKS, Task
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations
from abawkit.tuning.ensemble import fit_ensemble, parse_weights, write_ensemble
from abawkit.tuning.ensemble_weights import WeightFit
from tests.tuning.random_rows import annotations

VIDEOS, LENGTH = 10, 30
N = VIDEOS * LENGTH
IMAGES = pa.array([f"v{row // LENGTH}/{row % LENGTH:05d}.jpg" for row in range(N)])


def truth(seed: int = 0) -> Annotations:
    return annotations(IMAGES, seed)


def member(key: str, seed: int, skill: float = 0.0) -> StoredMember:
    rng, annotated = np.random.default_rng(seed), truth()
    va = np.clip(2 * skill * annotated.va + rng.normal(0, 0.4, (N, 2)), -1, 1)
    expression = skill * np.eye(8)[annotated.expression] + (1 - skill) * rng.dirichlet(np.ones(8), N)
    au = skill * annotated.au + (1 - skill) * rng.uniform(0, 1, (N, 12))
    columns: dict[Task, np.ndarray] = {"va": va, "expression": expression, "au": au}
    said = assemble(IMAGES, {task: column.astype(np.float32) for task, column in columns.items()})
    return StoredMember(Path(f"{key}.npz"), said, TASKS, digest_columns(said, TASKS), key)


MEMBERS = [member("good", 1, 0.3), member("fair", 2, 0.2), member("noise", 3)]


def test_fitted_weights_are_those_of_all_videos_and_each_video_is_judged_by_weights_of_others() -> None:
    found = fit_ensemble(MEMBERS, truth(), draws=200)
    assert found.rule.weights == WeightFit(MEMBERS, truth()).fit(select_scored_rows(truth()))
    assert found.cross_fitted["score"].value <= found.in_sample["score"] + 0.01
    assert found.difference["score"].low > 0
    assert found.notes == ()


def test_weights_of_members_that_know_nothing_gain_nothing_on_average() -> None:
    gains = []
    for seed in range(12):
        annotated = truth(100 + seed)
        noise = [member("a", 2 * seed + 10), member("b", 2 * seed + 11)]
        gains.append(fit_ensemble(noise, annotated, draws=20).difference["score"].value)
    assert np.mean(gains) < 2 * np.std(gains) / np.sqrt(len(gains))


def test_tasks_below_the_floor_or_of_one_member_keep_the_mean_and_it_is_said_why() -> None:
    annotated = truth()
    few = replace(annotated, expression_valid=np.arange(N) % LENGTH < 2)
    only_va = [MEMBERS[0], replace(MEMBERS[1], tasks=("va", "expression"))]
    found = fit_ensemble(only_va, few, draws=20)
    assert [task for task in TASKS if set(found.rule.weights[task].values()) != {1.0}] == ["va"]
    assert found.notes == (
        "weights of expression: kept as is, fewer than 25 rows have one expression, or they are of fewer than 3 videos",
        "weights of au: kept as is, one member knows it",
    )


def test_members_of_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"good\.npz: its 300 rows are not the 299 of the annotations"):
        fit_ensemble(MEMBERS, truth().select(np.arange(N - 1)))


# weights as they are typed


def test_a_number_for_each_member_in_their_order() -> None:
    assert parse_weights(["au=2,1,0", "va=0.5,1e-1,.25"], MEMBERS) == {
        "au": {"good": 2, "fair": 1, "noise": 0},
        "va": {"good": 0.5, "fair": 0.1, "noise": 0.25},
    }
    assert parse_weights([], MEMBERS) == {}


def test_a_member_that_does_not_know_a_task_has_no_weight_in_it() -> None:
    va = replace(MEMBERS[1], tasks=("va",))
    assert parse_weights(["au=2,0,1"], [MEMBERS[0], va, MEMBERS[2]]) == {"au": {"good": 2, "noise": 1}}
    with pytest.raises(ConfigError, match=r"fair\.npz does not know au; its weight must be 0"):
        parse_weights(["au=2,1,1"], [MEMBERS[0], va, MEMBERS[2]])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["va=1,1"], "got 2 numbers for 3 members"),
        (["va"], "got '', expected numbers from 0 to"),
        (["va=1,x,1"], "got 'x', expected numbers from 0 to"),
        (["va=1,1e308,1"], "got '1e308', expected numbers from 0 to 1e"),
        (["va=1,nan,1"], "got 'nan', expected numbers from 0 to"),
        (["va=1,inf,1"], "got 'inf', expected numbers from 0 to"),
        (["va=1,-1,1"], "got '-1', expected numbers from 0 to"),
        (["va=0,0,0"], "got no weight above 0"),
        (["valence=1,1,1"], "'valence' is no task; give one of va, expression, au"),
        (["va=1,1,1", "va=1,1,1"], "'va' is weighed twice"),
    ],
)
def test_weights_that_make_no_sense_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_weights(texts, MEMBERS)


# rows that were answered from another frame


def filled(row: int, source: int) -> dict[str, Any]:
    return {"row": row, "image": IMAGES[row - 1].as_py(), "from": IMAGES[source - 1].as_py()}


def written_filled(tmp_path: Path, *lists: Any) -> Any:
    """What the manifest of an ensemble says was filled, when those of its members say this."""
    members = [replace(member, path=tmp_path / member.path) for member in MEMBERS]
    for one, entries in zip(members, lists, strict=False):
        source, made = {"list_digest": one.predictions.digest}, [{"path": "x", "digest": "a" * 64}]
        content = {"submission_sha256": "", "source": source, "members": made, "filled": entries}
        one.path.with_suffix(".json").write_text(json.dumps(content))
    return json.loads(write_ensemble(tmp_path / "p.txt", members, None, get_format("abaw7")).manifest.read_text())[
        "filled"
    ]


def test_an_ensemble_says_which_rows_any_member_answered_from_another_frame(tmp_path: Path) -> None:
    found = written_filled(tmp_path, [filled(7, 8), filled(3, 2)], [filled(3, 4), filled(5, 6)])
    assert found == [filled(3, 2), filled(5, 6), filled(7, 8)]


def test_an_ensemble_of_members_without_manifests_says_of_no_row_that_it_was_filled(tmp_path: Path) -> None:
    assert written_filled(tmp_path) == []


@pytest.mark.parametrize(
    "entries",
    [
        None,
        3,
        {"row": 1},
        [3],
        [{}],
        [filled(1, 2) | {"row": True}],
        [filled(1, 2) | {"row": "1"}],
        [filled(1, 2) | {"row": 0}],
        [filled(1, 2) | {"row": N + 1}],
        [filled(1, 2) | {"row": 2}],
        [filled(1, 2) | {"from": None}],
        [filled(1, 2) | {"image": ["v0/00000.jpg"]}],
    ],
)
def test_what_names_no_row_and_its_frame_is_not_taken_over(tmp_path: Path, entries: Any) -> None:
    assert written_filled(tmp_path, entries, [filled(9, 8)]) == [filled(9, 8)]
