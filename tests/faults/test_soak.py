"""What the soak says of runs that end otherwise than they must, and its summary."""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import command_line
from tests.faults.soak.__main__ import summarise
from tests.faults.soak.kills import describe_newest
from tests.faults.soak.runs import SHORT, Outcome, count, digests, find_difference, list_words

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def run(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("soak") / "run"
    command_line(*list_words(curated, out, {**SHORT, "batch_size": 46, "heads.epochs": 0}))
    return out


def test_a_run_with_other_weights_or_scores_or_without_weights_is_wrong(run: Path, tmp_path: Path) -> None:
    expected = digests(run)
    assert find_difference(run, expected) == ""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    weights = other / "last.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert find_difference(other, expected).startswith("other weights or scores: ")
    weights.unlink()
    assert find_difference(other, expected).startswith("no weights: ")
    shutil.copy(run / "last.safetensors", weights)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["best"]["epoch"] += 1
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert find_difference(other, expected).startswith("other weights or scores: ")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "none yet"),
        (("0000-000000",), "of an epoch's edge"),
        (("0000-000000", "0000-000002"), "within an epoch"),
        (("0000-000002", "0001-000000.partial"), "being written"),
    ],
)
def test_the_newest_checkpoint_of_a_killed_run_is_described(
    tmp_path: Path, names: tuple[str, ...], expected: str
) -> None:
    for name in names:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert describe_newest(tmp_path) == expected


def test_the_summary_has_a_line_for_each_part_and_counts_what_was_wrong() -> None:
    outcomes = [Outcome("kills", "3 processes", ["run 1", "run 2"]), Outcome("hangs", "1", [])]
    assert summarise(outcomes).splitlines() == ["", "kills:    3 processes", "hangs:    1", "wrong:    2"]
    assert count(["b", "a", "b"]) == "2 b, 1 a"
