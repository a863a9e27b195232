"""A run that is killed, at whatever moment, and resumed ends with the very weights of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
STRIDE = 1 if os.environ.get("ABAWKIT_SOAK") else 31
"""Every so manyth call that changes a file is tried; ``make soak`` tries all."""

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(library: Path, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("trainer")
    command = [sys.executable, *map(str, (HERE / "trainer.py", library, curated, folder, STRIDE))]
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_weights_metrics_and_scores_are_those_of_the_run_that_was_not_killed(report: Any) -> None:
    assert report["problems"] == []


def test_the_run_was_killed_at_every_step_in_every_validation_and_at_both_sides_of_every_epochs_edge(
    report: Any,
) -> None:
    expected = {f"at step {step}" for step in range(1, 10)}
    expected |= {f"in the validation of epoch {epoch}" for epoch in range(3)}
    expected |= {f"{side} the checkpoint of epoch {epoch}" for side in ("before", "after") for epoch in range(3)}
    expected |= {f"while writing the checkpoint of epoch {epoch}" for epoch in range(-1, 3)}
    assert expected <= set(report["killed"])


def test_the_run_was_killed_at_writes_flushes_and_renames(report: Any) -> None:
    at_calls = [name for name in report["killed"] if " call " in name]
    assert len(at_calls) == len(range(1, report["calls"] + 1, STRIDE))
    assert report["unharmed"] == []
    assert report["reference"]["steps"] == 9
