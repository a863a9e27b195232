"""How `tune` and `calibrate` pool members: by logits where that scores better across folds, and never values."""

from dataclasses import replace
from typing import Any

import numpy as np

from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.rule import Rule
from abawkit.tuning.tune import calibrate, tune
from tests.tuning.test_tune import drawn, unrelated


def test_logits_are_pooled_where_that_is_better_and_not_elsewhere() -> None:
    """One member takes another class for the truth, which the other member excludes without knowing the truth."""
    truth, one = drawn()
    n = len(truth)
    wrong = (truth.expression + np.random.default_rng(0).integers(1, 8, n)) % 8
    excludes = 1 - 0.999 * np.eye(8)[wrong]
    confuses = 0.1 + 5 * np.eye(8)[wrong] + 3 * np.eye(8)[truth.expression]
    members = [
        replace(one, predictions=replace(one.predictions, expression=expression), digest=key, key=key)
        for key, odds in (("excludes", excludes), ("confuses", confuses))
        for expression in [(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)]
    ]
    options: Any = {"smoothing": False, "calibration": (), "weights": False, "draws": 2}
    found = tune(members, truth, tasks=("expression",), **options)
    assert found.rule.pool == {"expression": "log"}
    assert found.difference["expression_f1"].value > 0.5
    assert found.evidence()["chosen"]["expression"]["pool"] == "log"
    without = tune(members, truth, tasks=("expression",), pool=False, **options)
    assert (without.rule.pool, without.difference["expression_f1"].value) == ({}, 0)
    twice = tune(members, truth, tasks=("au",), **options)  # both say the same of action units: either pool does
    assert twice.rule.pool == {}
    assert "pool of logits of au: kept as is, the search gained nothing by it" in twice.notes


def test_valence_and_arousal_are_never_pooled_by_logits() -> None:
    truth, one = drawn()
    found = tune([one, unrelated(truth.images)], truth, draws=2)
    assert all(tried["pool"] == "linear" for tried in found.evidence()["tried"]["va"])
    assert {tried["pool"] for tried in found.evidence()["tried"]["au"]} == {"linear", "log"}
    assert set(found.rule.pool) <= {"expression", "au"}


def test_one_member_has_no_pool() -> None:
    truth, one = drawn()
    assert {tried["pool"] for tried in tune([one], truth, draws=2).evidence()["tried"]["au"]} == {"linear"}


def test_calibration_keeps_the_pool_of_its_base() -> None:
    truth, one = drawn()
    members = [one, unrelated(truth.images)]
    base = Rule(pool={"au": "log"})
    found = calibrate(members, truth, base=base, draws=2)
    assert found.rule.pool == base.pool
    assert np.array_equal(found.untuned_predictions.au, average_members(members, pools=base.pool).au)
