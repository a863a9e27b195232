"""One run a folder: a second one is told who is there, and what a killed one left behind stops nobody."""

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.errors import ConfigError, DataWarning
from abawkit.system.locks import LOCK, lock
from abawkit.training.run_folder import run_folder

pytestmark = pytest.mark.faults

HOLDS = """
import sys
from pathlib import Path
from abawkit.system.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""

CONTENDS = """
import os, sys, warnings
from pathlib import Path
from abawkit.errors import ConfigError
from abawkit.system.locks import lock
warnings.simplefilter("error")
folder, marker, rounds, refused = Path(sys.argv[1]), Path(sys.argv[2]), 0, 0
print("ready", flush=True)
sys.stdin.readline()
while rounds < 100:
    try:
        with lock(folder):
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))  # an error if another one holds the lock
            os.sched_yield()
            marker.unlink()
        rounds += 1
    except ConfigError:
        refused += 1
print(rounds, refused, flush=True)
"""


def hold(folder: Path) -> None:
    with lock(folder):
        pass


def test_a_second_run_is_told_which_process_holds_the_folder_and_where(
    tmp_path: Path, beside: Callable[..., Any]
) -> None:
    first = beside(HOLDS, tmp_path)
    assert first.hear() == "held"
    with pytest.raises(ConfigError) as caught:
        hold(tmp_path)
    assert f"{tmp_path}: a run is writing here" in str(caught.value)
    assert f"process {first.pid} on {socket.gethostname()}" in str(caught.value)
    first.tell()
    assert first.ends() == 0
    hold(tmp_path)


def test_the_refused_one_leaves_the_lock_of_the_first_alone(tmp_path: Path, beside: Callable[..., Any]) -> None:
    first = beside(HOLDS, tmp_path)
    first.hear()
    before = (tmp_path / LOCK).read_bytes()
    for _ in range(3):
        with pytest.raises(ConfigError):
            hold(tmp_path)
    assert (tmp_path / LOCK).read_bytes() == before


def test_a_lock_left_by_a_killed_process_is_taken_over_with_a_warning(
    tmp_path: Path, beside: Callable[..., Any]
) -> None:
    first = beside(HOLDS, tmp_path)
    first.hear()
    first.signal(signal.SIGKILL)
    assert first.ends() == -signal.SIGKILL
    assert (tmp_path / LOCK).exists()
    with pytest.warns(DataWarning, match=rf"left by a run that was killed \(process {first.pid} on .*taken over"):
        hold(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_a_run_that_takes_over_keeps_others_out_as_any_other_does(tmp_path: Path, beside: Callable[..., Any]) -> None:
    (tmp_path / LOCK).write_text("process 1 on elsewhere\n")
    second = beside(HOLDS, tmp_path, stderr=subprocess.DEVNULL)
    assert second.hear() == "held"
    with pytest.raises(ConfigError, match=f"process {second.pid} on "):
        hold(tmp_path)


def test_no_lock_is_left_after_a_clean_end(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("failed"), KeyboardInterrupt(), SystemExit(1)])
def test_no_lock_is_left_after_an_error(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with lock(tmp_path):
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []
    hold(tmp_path)


def test_a_folder_that_vanishes_under_its_run_is_no_second_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock(folder):
        folder.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / LOCK).exists()
    with pytest.warns(DataWarning, match="taken over"):
        hold(tmp_path / "moved")


def test_four_processes_that_contend_never_hold_it_together(tmp_path: Path, beside: Callable[..., Any]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    contenders = [beside(CONTENDS, folder, tmp_path / "marker") for _ in range(4)]
    assert [contender.hear() for contender in contenders] == ["ready"] * 4
    for contender in contenders:
        contender.tell("go")
    assert [contender.hear().split()[:1] for contender in contenders] == [["100"]] * 4
    assert [contender.ends() for contender in contenders] == [0] * 4
    assert list(folder.iterdir()) == []


RUBBISH = [bytes(range(256)) * 20, b"\0" * 10, b"\xff\xfe", b"\x1b[2J\x1b[31m", "\u202e".encode() * 400]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_a_left_lock_may_hold_anything(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / LOCK).write_bytes(rubbish)
    with pytest.warns(DataWarning, match="taken over") as warned:
        hold(tmp_path)
    assert str(warned[0].message).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rubbish", [*RUBBISH, b""])
def test_a_held_lock_may_hold_anything(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / LOCK).write_bytes(rubbish)
    with (tmp_path / LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="a run is writing here") as caught:
            hold(tmp_path)
    assert str(caught.value).isprintable()
    assert (tmp_path / LOCK).read_bytes() == rubbish


def test_a_refused_run_changes_nothing_in_the_folder(tmp_path: Path, beside: Callable[..., Any]) -> None:
    first = beside(HOLDS, tmp_path)
    first.hear()
    half_written = tmp_path / ".metrics.jsonl.x"  # by the run that holds the folder
    half_written.touch()
    with pytest.raises(ConfigError), run_folder(tmp_path, resume=True, force=True):
        pytest.fail("held twice")
    assert half_written.exists()
    first.tell()
    first.ends()
    with run_folder(tmp_path, resume=True, force=True):
        assert not half_written.exists()
