"""A checkpoint is whole or not there, wherever its writer is killed, the power goes, or the disk fails or is full."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.faults

KILLS = ("killed before", "killed after")
CASES = [
    *[("two earlier ones", fault) for fault in (*KILLS, "killed in a write", "power lost")],
    *[("two earlier ones", fault) for fault in ("one call fails", "one call finds no room")],
    *[("two earlier ones", fault) for fault in ("all calls fail from there", "no room from there")],
    ("two earlier ones", "files may not grow"),
    *[("none yet", fault) for fault in ("killed before", "one call fails")],
    *[("the same one, damaged", fault) for fault in ("killed before", "one call fails")],
]
TAKES_ROOM = ("open", "write", "mkdir")
UNNOTICED = ("rename", "unlink", "rmdir")
"""Calls that may fail without an error: what nobody needs any more can be removed later."""

each_case = pytest.mark.parametrize(("scenario", "fault"), CASES)


@pytest.fixture(scope="module")
def report(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every fault at every call; ``harness.py`` brings them about, all in one process and its forks."""
    harness = Path(__file__).with_name("harness.py")
    result = subprocess.run(
        [sys.executable, harness, library, tmp_path_factory.mktemp("runs")],
        env={**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def trial(report: dict[str, Any]) -> Callable[[str, str], dict[str, Any]]:
    """What came of one fault."""
    return lambda scenario, fault: report["scenarios"][scenario]["faults"][fault]


@pytest.fixture(scope="module")
def calls(report: dict[str, Any]) -> Callable[[str], list[str]]:
    """The calls that write a checkpoint, each with its path, where there is no fault."""
    return lambda scenario: report["scenarios"][scenario]["calls"]


def named(calls: list[str], names: tuple[str, ...]) -> list[str]:
    return [call for call in calls if call.partition(" ")[0] in names]


@each_case
def test_the_newest_whole_checkpoint_is_found_and_the_next_one_can_be_written(
    trial: Callable[[str, str], dict[str, Any]], scenario: str, fault: str
) -> None:
    assert trial(scenario, fault)["problems"] == []


@each_case
def test_the_fault_came_at_every_call(
    trial: Callable[[str, str], dict[str, Any]],
    calls: Callable[[str], list[str]],
    record_property: Callable[[str, object], None],
    scenario: str,
    fault: str,
) -> None:
    found, made = trial(scenario, fault), calls(scenario)
    counted = {
        "killed in a write": len(named(made, ("write",))),
        "no room from there": len(named(made, TAKES_ROOM)),
        "files may not grow": found["points"],  # bytes, not calls
    }
    record_property("points", found["points"])
    assert found["points"] == counted.get(fault, len(made))
    assert found["points"] > (20 if fault not in counted else 3)


@each_case
def test_a_writer_that_meets_a_fault_dies_of_it_or_says_so(
    trial: Callable[[str, str], dict[str, Any]], scenario: str, fault: str
) -> None:
    found = trial(scenario, fault)
    if fault in (*KILLS, "killed in a write", "power lost"):
        assert found["killed"] == found["points"]
    else:
        assert found["killed"] == 0
        assert found["refused"] == found["points"] - len(found["unnoticed"])
        assert named(found["unnoticed"], UNNOTICED) == found["unnoticed"]
        assert found["refused"] > found["points"] / 2


@pytest.mark.parametrize("fault", [*KILLS, "power lost", "one call fails", "all calls fail from there"])
def test_both_the_earlier_and_the_new_one_were_found(trial: Callable[[str, str], dict[str, Any]], fault: str) -> None:
    found = trial("two earlier ones", fault)
    assert set(found["newest"]) == {"0000-000004", "0001-000000"}
    assert sum(found["newest"].values()) == found["points"]


def test_no_case_is_left_out(report: dict[str, Any]) -> None:
    ran = [(scenario, fault) for scenario, found in report["scenarios"].items() for fault in found["faults"]]
    assert sorted(ran) == sorted(CASES)


def test_every_kind_of_call_was_seen(calls: Callable[[str], list[str]]) -> None:
    kinds = {call.partition(" ")[0] for call in calls("two earlier ones")}
    assert kinds == {"open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir"}


def test_names_reach_the_disk_before_the_checkpoint_gets_its_own_and_that_before_an_older_one_goes(
    calls: Callable[[str], list[str]],
) -> None:
    made = calls("two earlier ones")
    own = made.index("rename /checkpoints/0001-000000")
    assert made[own - 2].startswith("rename /checkpoints/0001-000000.partial/manifest.json")
    assert made[own - 1] == "fsync /checkpoints/0001-000000.partial"
    assert made[own + 1] == "fsync /checkpoints"
    assert made[own + 2].startswith("rename /checkpoints/0000-000002.")


def test_the_folder_of_the_first_checkpoint_reaches_the_disk(calls: Callable[[str], list[str]]) -> None:
    assert calls("none yet")[:2] == ["mkdir /checkpoints", "fsync "]


def test_a_read_only_folder_is_named_and_its_checkpoints_stay(report: dict[str, Any]) -> None:
    found = report["read-only"]
    assert found["refused"], found["text"]
    assert "can't write this checkpoint (Permission denied); those before it are whole" in found["text"]
    assert (found["newest"], found["passed over"]) == ([0, 4], [])
