"""A submission with heads over time by commands, on features of its own network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from abawkit.pipeline.commands import ExecutionOptions
from abawkit.submissions.submit import submit
from abawkit.submissions.workspace import SubmissionInputs
from tests.cli.conftest import Run, answer
from tests.cli.test_submit import forked

pytestmark = pytest.mark.e2e

RECIPE = """
summary = "heads over time on features of a small network, an epoch each"
seeds = [1]

[[networks]]
name = "frames"
recipe = "demo"
set = ["all.epochs=1"]

[[networks]]
name = "va"
recipe = "sequence-bigru"
features = ["frames"]
set = ["all.epochs=1", "augmentation.flip=0.5"]
tasks = ["va"]

[[networks]]
name = "rest"
recipe = "sequence-tcn"
features = ["frames"]
set = ["all.epochs=1"]
tasks = ["expression", "au"]

[decisions]
weights = "mean"
"""


@pytest.fixture(scope="module")
def made(curated: Path, test_list: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "submissions/small"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    inputs = SubmissionInputs(curated, Path(test_list[1]), Path(test_list[3]))
    submit(folder, inputs, ExecutionOptions(jobs=2, threads=1, run=forked))
    return folder


def test_the_file_of_heads_is_one_that_can_be_handed_in(
    run: Run, made: Path, test_list: list[str], truth: Path
) -> None:
    official = made / "outputs/predictions.txt"
    assert run("check", official, *test_list[:2]).stdout.startswith("ok: ")
    assert answer(run("score", official, "--truth", truth, "--json"))["score"] > 0


def test_the_manifest_has_what_inspect_finds_of_the_features(run: Run, made: Path) -> None:
    (features,) = json.loads((made / "manifest.json").read_text())["features"]
    assert features["flip"]
    for part in ("curated", "test"):
        (found,) = answer(run("inspect", made / "outputs/features/frames-seed1" / part, "--json"))["inspected"]
        assert found["digests"]["store"] == features[part]
        assert found["problems"] == []


def test_a_second_submit_of_heads_does_nothing_and_needs_no_torch(
    made: Path, curated: Path, test_list: list[str], tmp_path: Path
) -> None:
    shutil.copytree(made.parent, tmp_path / "submissions")
    code = "import sys; sys.modules['torch'] = None; from abawkit.cli import main; main()"
    arguments = ["submit", str(tmp_path / "submissions/small"), "--data", str(curated), *test_list, "--json"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert answer(result)["done"] == []
    assert "features curated frames-seed1: nothing to do" in result.stderr
