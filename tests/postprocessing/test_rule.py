"""Rules: what one does, and a file that is read strictly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.calibration import Calibration, apply_calibration
from abawkit.postprocessing.rule import (
    Rule,
    apply_rule,
    check_made_for,
    digest_rule,
    make_rule_content,
    refuse_other_members,
    write_rule,
)
from abawkit.postprocessing.rule_file import read_rule
from abawkit.postprocessing.smoothing import Smoothing, smooth_predictions
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import StoredMember, digest_columns
from abawkit.tables import Predictions

IMAGES = pa.array([f"v{video}/{frame:05d}.jpg" for video in range(3) for frame in (1, 8, 17, 21, 77)])
N = len(IMAGES)


def member(key: str, seed: int, tasks: tuple[Task, ...] = TASKS) -> StoredMember:
    rng = np.random.default_rng(seed)
    columns = {"va": rng.uniform(-1, 1, (N, 2)), "expression": rng.dirichlet(np.ones(8), N)}
    columns["au"] = rng.uniform(0, 1, (N, 12))
    said = assemble(IMAGES, {task: columns[task].astype(np.float32) for task in tasks})
    return StoredMember(Path(f"{key}.npz"), said, tasks, digest_columns(said, tasks), key)


A, B, C = (member(key, seed) for seed, key in enumerate(("aaaa", "bbbb", "cccc")))

FULL = Rule(
    weights={"va": {"aaaa": 0.25, "bbbb": 0.75}, "au": {"aaaa": 1.0, "bbbb": 0.0}},
    smoothing={"va": Smoothing("gaussian", 10, 100_000.0), "expression": Smoothing("median", 2)},
    calibration=Calibration(
        scale=np.array([1.1, 0.9]),
        shift=np.array([0.0, -0.05]),
        bias=np.linspace(-1, 1, 8),
        threshold=np.linspace(0.2, 0.8, 12),
    ),
)


def same(a: Predictions, b: Predictions) -> bool:
    return all(np.array_equal(getattr(a, task), getattr(b, task)) for task in TASKS)


def test_members_are_added_up_then_smoothed_then_calibrated() -> None:
    expected = apply_calibration(
        smooth_predictions(average_members([A, B], FULL.weights), FULL.smoothing), FULL.calibration
    )
    assert same(apply_rule(FULL, [A, B]), expected)
    assert not same(expected, average_members([A, B], FULL.weights))


LOG = Rule(weights=FULL.weights, pool={"expression": "log", "au": "log"})


def test_a_rule_pools_as_it_says() -> None:
    expected = average_members([A, B], LOG.weights, pools=LOG.pool)
    assert same(apply_rule(LOG, [A, B]), expected)
    assert not np.array_equal(expected.expression, average_members([A, B], LOG.weights).expression)
    assert check_made_for(LOG, [A, B], TASKS).pool == LOG.pool


def test_a_rule_that_says_nothing_changes_no_bit() -> None:
    assert same(apply_rule(Rule(), [A]), A.predictions)
    assert same(apply_rule(Rule(smoothing={task: Smoothing() for task in TASKS}), [A]), A.predictions)


def test_the_order_of_members_is_irrelevant_bit_for_bit() -> None:
    assert same(apply_rule(FULL, [A, B]), apply_rule(FULL, [B, A]))


def test_a_rule_for_other_members_is_refused_before_and_when_it_is_applied() -> None:
    empty = [StoredMember(m.path, m.predictions.select(np.arange(0)), TASKS, m.digest, m.key) for m in (A, C)]
    for apply in (apply_rule, refuse_other_members):
        with pytest.raises(
            DataError, match=r"rule for va has no weight for cccc \(cccc\.npz\) and weighs what is no member: bbbb"
        ):
            apply(FULL, empty if apply is refuse_other_members else [A, C], TASKS)


def test_a_rule_without_weights_is_for_any_members_until_it_is_bound_to_some() -> None:
    rule = Rule(smoothing=FULL.smoothing, calibration=FULL.calibration)
    bound = check_made_for(rule, [A, B], TASKS)
    assert bound.weights == {task: {"aaaa": 1.0, "bbbb": 1.0} for task in TASKS}
    assert same(apply_rule(bound, [A, B]), apply_rule(rule, [A, B]))
    refuse_other_members(rule, [A, C], TASKS)
    with pytest.raises(DataError, match=r"has no weight for cccc \(cccc\.npz\) and weighs what is no member: bbbb"):
        refuse_other_members(bound, [A, C], TASKS)


def test_a_rule_that_is_bound_keeps_its_weights_and_weighs_each_task_by_the_members_that_know_it() -> None:
    va = member("vava", 5, ("va",))
    bound = check_made_for(Rule({"va": {"aaaa+bbbb": 0.5, "vava": 2.0}}), [A, B, va], TASKS)
    both = {"aaaa+bbbb": 1.0}
    assert bound.weights == {"va": {"aaaa+bbbb": 0.5, "vava": 2.0}, "expression": both, "au": both}
    assert bound == check_made_for(bound, [A, B, va], TASKS)


def test_a_rule_for_the_mean_of_networks_fits_these_networks_one_by_one() -> None:
    both = {"aaaa+bbbb": 0.5, "cccc": 0.5}
    mean = average_members([A, B])
    together = StoredMember(Path("ab.npz"), mean, TASKS, digest_columns(mean, TASKS), "aaaa+bbbb")
    rule = Rule(weights=dict.fromkeys(TASKS, both))
    assert same(apply_rule(rule, [C, B, A]), apply_rule(rule, [together, C]))
    with pytest.raises(DataError, match=r"no weight for aaaa \(aaaa\.npz\) and weighs what is no member: aaaa\+bbbb"):
        apply_rule(rule, [A, C])


def test_only_the_tasks_that_are_asked_for_need_members() -> None:
    va = member("aaaa", 5, ("va",))
    with pytest.raises(DataError, match="no member knows expression"):
        apply_rule(Rule(), [va])
    assert np.array_equal(apply_rule(Rule(weights={"au": {"x": 1}}), [va], ("va",)).va, va.predictions.va)


# the file


def written(path: Path, rule: Rule = FULL) -> dict[str, Any]:
    write_rule(path, rule, {"rows": 3, "anything": [{"nested": None}]})
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("rule", [FULL, Rule(), LOG])
def test_a_rule_that_was_written_is_read_as_it_was(tmp_path: Path, rule: Rule) -> None:
    content = written(tmp_path / "rule.json", rule)
    assert (content["rule"], content["evidence"]["rows"]) == (2, 3)
    found = read_rule(tmp_path / "rule.json")
    assert (found.weights, found.smoothing, found.pool) == (rule.weights, rule.smoothing, rule.pool)
    for name, values in vars(rule.calibration).items():
        assert np.array_equal(getattr(found.calibration, name), values)
    assert make_rule_content(found) == make_rule_content(rule)
    assert digest_rule(found) == digest_rule(rule)


def test_the_digest_is_of_what_a_rule_does() -> None:
    turned = Rule(weights={"au": FULL.weights["au"], "va": {"bbbb": 0.75, "aaaa": 0.25}})
    assert digest_rule(turned) == digest_rule(Rule(weights=FULL.weights))
    assert len({digest_rule(rule) for rule in (FULL, turned, LOG, Rule())}) == 4


def test_a_rule_of_the_version_before_is_read_and_knows_no_pool(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    content = written(path)
    del content["pool"]
    path.write_text(json.dumps(content | {"rule": 1}))
    assert make_rule_content(read_rule(path)) == make_rule_content(FULL)
    path.write_text(json.dumps(content | {"rule": 1, "pool": {"au": "log"}}))
    with pytest.raises(DataError, match="pool: unknown key"):
        read_rule(path)


def test_a_byte_order_mark_makes_no_difference(tmp_path: Path) -> None:
    written(tmp_path / "rule.json")
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "rule.json").read_bytes())
    assert digest_rule(read_rule(tmp_path / "marked.json")) == digest_rule(FULL)


def test_what_a_rule_of_few_words_does_not_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    path.write_text('{"rule": 1, "calibration": {"bias": {"Fear": 0.5}, "thresholds": {"AU15": 0.2}}}')
    calibration = read_rule(path).calibration
    assert calibration.bias.tolist() == [0.5 if name == "Fear" else 0 for name in EXPRESSIONS]
    assert calibration.threshold.tolist() == [0.2 if name == "AU15" else 0.5 for name in ACTION_UNITS]
    assert (calibration.scale.tolist(), calibration.shift.tolist()) == ([1, 1], [0, 0])


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets a value by names with dots between them."""

    def change(content: dict[str, Any]) -> None:
        *outer, last = name.split(".")
        for key in outer:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rule", 3, "rule: got 3, expected 1 or 2"),
        ("rule", True, "rule: got True, expected 1 or 2"),
        ("smooth", {}, "smooth: unknown key; expected any of abawkit, calibration, evidence"),
        ("weights", [], r"weights: got \[\], expected an object"),
        ("weights.arousal", {"x": 1}, "weights.arousal: unknown key; expected any of au, expression, va"),
        ("weights.va", {}, "weights.va: got no weight above 0"),
        ("weights.va", {"x": 0, "y": 0.0}, "weights.va: got no weight above 0"),
        ("weights.va.aaaa", -0.1, "weights.va.aaaa: got -0.1, expected a number, 0..1e"),
        ("weights.va.aaaa", "1", "weights.va.aaaa: got '1', expected a number"),
        ("weights.va.aaaa", True, "weights.va.aaaa: got True, expected a number"),
        ("weights.va.aaaa", None, "weights.va.aaaa: got nothing, expected a number"),
        ("weights.va.\x1b[2J", -1, r"weights.va.\\x1b\[2J: got -1"),
        ("pool", "log", "pool: got 'log', expected an object"),
        ("pool.expression", "mean", "pool.expression: got 'mean', expected one of linear, log"),
        ("pool.au", ["log"], r"pool.au: got \['log'\]"),
        ("pool.va", "log", "pool.va: got 'log', expected linear, as values are"),
        ("pool.valence", "log", "pool.valence: unknown key"),
        ("smoothing.va", "gaussian", "smoothing.va: got 'gaussian', expected an object"),
        ("smoothing.va", {}, "smoothing.va.kind: got nothing, expected one of none, gaussian, median"),
        ("smoothing.va.kind", "mean", "smoothing.va.kind: got 'mean', expected one of none, gaussian, median"),
        ("smoothing.va.kind", ["gaussian"], r"smoothing.va.kind: got \['gaussian'\]"),
        ("smoothing.va.radius", 2.5, "smoothing.va.radius: got 2.5, expected a whole number"),
        ("smoothing.va.radius", -1, "smoothing.va.radius: got -1"),
        ("smoothing.va.radius", 10**400, "smoothing.va.radius: got 1000"),
        ("smoothing.va.scale", 0, "smoothing.va: smoothing gaussian: got scale 0.0, expected more than 0"),
        ("smoothing.va.scale", None, "smoothing.va.scale: got nothing"),
        (
            "smoothing.expression.scale",
            3,
            "smoothing.expression: smoothing median: got scale 3.0, but only gaussian has one",
        ),
        ("smoothing.au", {"kind": "median"}, "smoothing.au: got no radius, expected a whole number"),
        ("smoothing.va.sigma", 3, "smoothing.va.sigma: unknown key"),
        ("calibration.bias.Contempt", 0, "calibration.bias.Contempt: unknown key; expected any of Anger"),
        ("calibration.bias.Fear", 1e3, "calibration.bias.Fear: got 1000.0, expected a number, -50..50"),
        ("calibration.thresholds.AU3", 0.5, "calibration.thresholds.AU3: unknown key"),
        ("calibration.thresholds.AU1", 0.01, r"calibration.thresholds.AU1: got 0.01, expected a number, 0.02..0.98"),
        ("calibration.valence.scale", -1, "calibration.valence.scale: got -1"),
        ("calibration.valence.shift", "0", "calibration.valence.shift: got '0'"),
        ("calibration.valence.gain", 1, "calibration.valence.gain: unknown key"),
        ("calibration.dominance", {}, "calibration.dominance: unknown key"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = tmp_path / "rule.json"
    content = written(path)
    put(name, value)(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"rule\.json: {message}"):
        read_rule(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[1]", "holds JSON, but no object"),
        ("{}", "rule: got nothing, expected 1 or 2"),
        ('{"rule": 1, "evidence": NaN}', "NaN is no JSON number"),
        ('{"rule": 1, "weights": {"va": {"a": 1e999}}}', "weights.va.a: got inf"),
        ('{"rule": 1, "weights": {"va": {"a": 1, "a": 2}}}', "one key stands twice"),
        ('{"rule": 1, "evidence": ' + "[" * 100_000, "is not JSON"),
        ('{"rule": 1, "evidence": ' + "9" * 5000 + "}", "is not JSON"),
        ("\ud800", "is not JSON"),
    ],
)
def test_a_file_that_is_no_rule_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rule.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(DataError, match=rf"rule\.json: .*{message}|rule\.json: {message}"):
        read_rule(path)


def test_a_rule_that_is_absent_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match=r"can't be read \((No such file|Is a directory)"):
            read_rule(path)
