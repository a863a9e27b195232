"""`abawkit smooth`: files in, files out, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.labels import TASKS, Task
from abawkit.postprocessing.smoothing import PUBLISHED_SMOOTHING, Smoothing, smooth_predictions
from abawkit.probabilities.members import read_member, write_probabilities
from abawkit.tables import Predictions
from tests.cli.conftest import Run, answer

pytestmark = pytest.mark.e2e


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Probabilities of 120 rows of three videos, as `abawkit predict` leaves them."""
    rng = np.random.default_rng(0)
    images = pa.array([f"v{video}/{frame:05d}.jpg" for video in range(3) for frame in range(1, 161, 4)])
    expression = rng.dirichlet(np.ones(8), len(images))
    columns = rng.uniform(-1, 1, (len(images), 2)), expression, rng.random((len(images), 12))
    write_probabilities(
        tmp_path / "validation.npz", Predictions(images, *(column.astype(np.float32) for column in columns))
    )
    return tmp_path / "validation.npz"


def test_without_options_the_published_smoothing_is_applied(run: Run, stored: Path, tmp_path: Path) -> None:
    shown = answer(run("smooth", stored, "--out", tmp_path / "s.npz", "--json"))
    before, after = read_member(stored).predictions, read_member(tmp_path / "s.npz").predictions
    expected = smooth_predictions(before, PUBLISHED_SMOOTHING)
    assert all(np.array_equal(getattr(after, task), getattr(expected, task)) for task in TASKS)
    assert np.array_equal(after.au, before.au)
    assert (shown["rows"], shown["videos"]) == (120, 3)
    assert {task: entry["smoothing"] for task, entry in shown["tasks"].items()} == {
        "va": "gaussian:10:100000",
        "expression": "gaussian:50:100000",
        "au": "none",
    }
    for task in TASKS:
        change = np.abs(getattr(after, task) - getattr(before, task)).mean()
        assert shown["tasks"][task]["mean_change"] == pytest.approx(float(change))


def test_each_task_is_smoothed_as_its_option_says(run: Run, stored: Path, tmp_path: Path) -> None:
    options = "--va", "none", "--expression", "median:5", "--au", "gaussian:3:50.5"
    shown = run("smooth", stored, "--out", tmp_path / "s.npz", *options).stdout
    after = read_member(tmp_path / "s.npz").predictions
    plan: dict[Task, Smoothing] = {"expression": Smoothing("median", 5), "au": Smoothing("gaussian", 3, 50.5)}
    expected = smooth_predictions(read_member(stored).predictions, plan)
    assert all(np.array_equal(getattr(after, task), getattr(expected, task)) for task in TASKS)
    assert "120 rows of 3 videos" in shown
    assert "gaussian:3:50.5" in shown


def test_a_file_of_one_task_stays_one_of_that_task(run: Run, stored: Path, tmp_path: Path) -> None:
    one = tmp_path / "expression.npz"
    write_probabilities(one, read_member(stored).predictions, ["expression"])
    shown = answer(run("smooth", one, "--out", tmp_path / "s.npz", "--json"))
    assert list(shown["tasks"]) == ["expression"]
    assert read_member(tmp_path / "s.npz").tasks == ("expression",)
    refusal = run("smooth", one, "--out", tmp_path / "t.npz", "--au", "median:3", code=2).stderr
    assert "knows nothing of au; leave out --au" in refusal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--va", "mean:5"], "--va: smoothing 'mean:5': expected none, gaussian:RADIUS:SCALE"),
        (["--au", "gaussian:5:0"], "--au: smoothing gaussian: got scale 0.0, expected more than 0"),
        (["--expression", "median:10001"], "got radius 10001, expected an integer 0..10000"),
    ],
)
def test_a_smoothing_that_does_not_exist_is_refused(
    run: Run, stored: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = run("smooth", stored, "--out", tmp_path / "s.npz", *options, "--json", code=2)
    assert message in answer(result)["error"]
    assert message in result.stderr
    assert not (tmp_path / "s.npz").exists()


def test_nothing_that_is_there_is_replaced_by_accident(run: Run, stored: Path, tmp_path: Path) -> None:
    content = stored.read_bytes()
    assert "would replace what is read" in run("smooth", stored, "--out", stored, "--force", code=2).stderr
    assert "expected .npz" in run("smooth", stored, "--out", tmp_path / "s.txt", code=2).stderr
    run("smooth", stored, "--out", tmp_path / "s.npz")
    assert "exists already" in run("smooth", stored, "--out", tmp_path / "s.npz", code=2).stderr
    run("smooth", stored, "--out", tmp_path / "s.npz", "--force")
    assert stored.read_bytes() == content


def test_probabilities_that_a_submission_was_decided_from_stay_beside_it(
    run: Run, stored: Path, tmp_path: Path
) -> None:
    (tmp_path / "predictions.json").write_text("{}")
    shown = run("smooth", stored, "--out", tmp_path / "predictions.npz", "--force", code=2).stderr
    assert "predictions.json" in shown
    assert not (tmp_path / "predictions.npz").exists()


def test_frames_without_a_number_are_named(run: Run, stored: Path, tmp_path: Path) -> None:
    first = read_member(stored).predictions.select(np.arange(2))
    images = pa.array(["v/00001.jpg", "v/cover.jpg"])
    write_probabilities(tmp_path / "n.npz", Predictions(images, first.va, first.expression, first.au))
    shown = run("smooth", tmp_path / "n.npz", "--out", tmp_path / "s.npz", code=3).stderr
    assert "v/cover.jpg: has no frame number" in shown
