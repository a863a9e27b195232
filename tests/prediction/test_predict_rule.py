"""Prediction by a rule, and for formats of one task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.errors import DataError
from abawkit.formats.base import get_format
from abawkit.formats.editions import ABAW7
from abawkit.formats.writing import digest_submission, read_submission_bytes
from abawkit.labels import TASKS
from abawkit.models.weights import digest_state, load_weights
from abawkit.postprocessing.calibration import Calibration
from abawkit.postprocessing.rule import Rule, apply_rule, check_made_for, digest_rule, make_rule_content
from abawkit.postprocessing.smoothing import Smoothing
from abawkit.prediction.predict import Predicted, predict
from abawkit.prediction.sources import ListedFrames
from abawkit.probabilities.members import read_member, read_members
from abawkit.tables import Array

Frames = Callable[[Path, Path], ListedFrames]
PLUGIN = ABAW7()

SMOOTH = {"va": Smoothing("gaussian", 3, 100.0), "au": Smoothing("median", 1)}
CALIBRATION = Calibration(bias=np.linspace(-0.5, 0.5, 8), threshold=np.linspace(0.3, 0.7, 12))


@pytest.fixture(scope="module")
def few(listed: ListedFrames, root: Path, frames: Frames, tmp_path_factory: pytest.TempPathFactory) -> ListedFrames:
    """The first rows of the list."""
    path = tmp_path_factory.mktemp("list") / "MTL.txt"
    path.write_text("image\n" + "".join(f"{name},\n" for name in listed.images[:24]))
    return frames(path, root)


@pytest.fixture(scope="module")
def keys(members: list[Path]) -> list[str]:
    return [digest_state(load_weights(path).state)[:12] for path in members]


@pytest.fixture(scope="module")
def each(members: list[Path], few: ListedFrames, tmp_path_factory: pytest.TempPathFactory) -> list[Predicted]:
    """Predictions of each network alone."""
    folder = tmp_path_factory.mktemp("each")
    return [predict([path], few, folder / f"{path.stem}.txt", PLUGIN, device="cpu") for path in members]


def columns(result: Predicted) -> list[Array]:
    found = read_member(result.probabilities).predictions
    return [getattr(found, task) for task in TASKS]


def test_a_rule_weighs_networks_by_their_digests(
    members: list[Path], few: ListedFrames, keys: list[str], each: list[Predicted], tmp_path: Path
) -> None:
    rule = Rule(weights={task: dict(zip(keys, (0.0, 1.0, 0.0), strict=True)) for task in TASKS})
    result = predict(members[::-1], few, tmp_path / "p.txt", PLUGIN, rule=rule, device="cpu")
    assert all(np.array_equal(a, b) for a, b in zip(columns(result), columns(each[1]), strict=True))
    assert result.submission.read_bytes() == each[1].submission.read_bytes()


@pytest.mark.parametrize("pool", [{}, {"expression": "log", "au": "log"}])
def test_a_rule_does_to_networks_what_it_does_to_their_stored_probabilities(
    members: list[Path], few: ListedFrames, keys: list[str], each: list[Predicted], tmp_path: Path, pool: Any
) -> None:
    weights = dict(zip(keys, (0.2, 0.3, 0.5), strict=True))
    rule = Rule({"va": weights, "au": weights}, SMOOTH, CALIBRATION, pool)  # type: ignore[arg-type]
    result = predict(members, few, tmp_path / "p.txt", PLUGIN, rule=rule, device="cpu")
    stored = read_members([one.probabilities for one in each])
    assert sorted(member.key for member in stored) == sorted(keys)
    expected = apply_rule(rule, stored)
    for column, task in zip(columns(result), TASKS, strict=True):
        np.testing.assert_allclose(column, getattr(expected, task), rtol=0, atol=1e-5)
    assert result.submission.read_bytes() == PLUGIN.encode(read_member(result.probabilities).predictions.decide())
    manifest = json.loads(result.manifest.read_text())
    assert manifest["rule"] == {"digest": digest_rule(rule), **make_rule_content(rule)}
    assert read_member(result.probabilities).key == f"{'+'.join(sorted(keys))}@{digest_rule(rule)[:12]}"


def test_a_rule_that_was_fitted_on_the_mean_of_networks_fits_them(
    members: list[Path], few: ListedFrames, keys: list[str], tmp_path: Path
) -> None:
    mean = predict(members[:2], few, tmp_path / "mean.txt", PLUGIN, device="cpu")
    key = read_member(mean.probabilities).key
    assert key == "+".join(sorted(keys[:2]))
    rule = Rule(weights={task: {key: 1.0} for task in TASKS})
    result = predict(members[:2], few, tmp_path / "p.txt", PLUGIN, rule=rule, device="cpu")
    for a, b in zip(columns(result), columns(mean), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_a_rule_that_was_fitted_for_a_network_is_refused_for_another(
    members: list[Path], few: ListedFrames, each: list[Predicted], tmp_path: Path
) -> None:
    own = read_member(each[0].probabilities)
    rule = check_made_for(Rule(calibration=CALIBRATION), [own], TASKS)  # as `calibrate` and `tune` do
    result = predict(members[:1], few, tmp_path / "p.txt", PLUGIN, rule=rule, device="cpu")
    for column, task in zip(columns(result), TASKS, strict=True):
        np.testing.assert_allclose(column, getattr(apply_rule(rule, [own]), task), rtol=0, atol=1e-5)
    with pytest.raises(DataError, match=f"weighs what is no member: {own.key}"):
        predict(members[1:2], few, tmp_path / "q.txt", PLUGIN, rule=rule, device="cpu")


@pytest.mark.parametrize("fault", ["members", "names"])
def test_a_rule_that_does_not_fit_is_refused_before_any_network_runs(
    members: list[Path],
    few: ListedFrames,
    root: Path,
    frames: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a network ran")

    monkeypatch.setattr("abawkit.prediction.networks.infer", never)
    if fault == "members":
        rule, source, message = Rule(weights={"va": {"0123456789ab": 1.0}}), few, "weighs what is no member: 0123"
    else:
        (tmp_path / "MTL.txt").write_text("image\nvideo/cover.jpg\n")
        rule, source, message = Rule(smoothing=SMOOTH), frames(tmp_path / "MTL.txt", root), "cover.jpg"  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, rule=rule, device="cpu")


# formats of one task


def test_a_format_of_one_task_needs_networks_of_that_task_alone(
    member: Callable[..., Path], members: list[Path], few: ListedFrames, tmp_path: Path
) -> None:
    single = member(tmp_path / "expression.safetensors", 7, "expression")
    plugin = get_format("abaw5-expr")
    result = predict([single], few, tmp_path / "p.txt", plugin, device="cpu")
    with np.load(result.probabilities) as file:
        assert sorted(file.files) == ["expression", "images", "list_digest"]
    found = read_member(result.probabilities)
    assert found.tasks == ("expression",)
    assert result.submission.read_bytes() == plugin.encode(found.predictions.decide())
    assert few.path
    assert plugin.check(result.submission, plugin.read_list(few.path)) == []
    with pytest.raises(DataError, match="no checkpoint was trained for va, au"):
        predict([single], few, tmp_path / "q.txt", PLUGIN, device="cpu")
    with pytest.raises(DataError, match="no checkpoint was trained for va"):
        predict([single], few, tmp_path / "q", get_format("abaw3-va"), device="cpu")


def test_networks_of_all_tasks_leave_all_probabilities_whatever_the_format(
    members: list[Path], few: ListedFrames, each: list[Predicted], tmp_path: Path
) -> None:
    result = predict(members[:1], few, tmp_path / "p.txt", get_format("abaw7-ce"), device="cpu")
    assert result.probabilities.read_bytes() == each[0].probabilities.read_bytes()
    decided = read_member(result.probabilities).predictions.decide().compound
    assert decided is not None
    lines = result.submission.read_text().splitlines()[1:]
    assert [line.rsplit(",", 1)[1] for line in lines] == [str(index) for index in decided.tolist()]


def test_a_submission_can_be_a_folder_whose_digest_the_manifest_has(
    members: list[Path], few: ListedFrames, tmp_path: Path
) -> None:
    result = predict(members[:1], few, tmp_path / "va", get_format("abaw3-va"), device="cpu")
    assert {entry.stem for entry in result.submission.iterdir()} == {name.split("/")[0] for name in few.images}
    assert (result.probabilities.name, result.manifest.name) == ("va.npz", "va.json")
    manifest = json.loads(result.manifest.read_text())
    assert manifest["submission_sha256"] == digest_submission(read_submission_bytes(result.submission))
