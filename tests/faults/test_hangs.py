"""Processes that hang and processes that are slow are named, and a run that hung continues to the same weights."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_processes import arguments, digests, native, soak, torchrun
from tests.faults.test_slurm import end, start_tasks

pytestmark = [pytest.mark.faults, pytest.mark.slow]

__all__ = ["torchrun"]  # a fixture

TIMEOUT = "8"
"""Seconds: far above a step's, on a busy machine too."""

CHANGES = {"all.epochs": "2", "sync_batchnorm": "false", "heads.epochs": "0", "precision": "float32"}

SLOW = """
import os, time
from abawkit.cli.app import app
from abawkit.training.learner import Learner

step = Learner.step

def step_slowly(*arguments):
    time.sleep(0.8 * (os.environ["SLURM_PROCID"] == "1"))
    return step(*arguments)

Learner.step = step_slowly
app()
"""

DIES_IN_A_SUM = """
import os, signal
from abawkit.cli.app import app
from abawkit.training.distributed import Distributed

add, sums = Distributed.add, []

def add_or_die(*arguments):
    sums.append(1)
    if len(sums) == 10 and os.environ["SLURM_PROCID"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    add(*arguments)

Distributed.add = add_or_die
app()
"""

STANDS_STILL = """
import sys, threading
from pathlib import Path
from abawkit.training.callbacks import Callbacks
from abawkit.training.recipe import parse_recipe
from abawkit.training.run import train
from abawkit.training.start import Inputs

def stand_still(info):
    if info.steps == 2:
        threading.Event().wait()

recipe = parse_recipe('network = "ddamfn-nano"\\ndevice = "cpu"\\nbatch_size = 40\\n[heads]\\nepochs = 0', "test")
train(recipe, Inputs(Path(sys.argv[1])), Path(sys.argv[2]), hang_timeout=3.0, callbacks=Callbacks(stand_still))
"""


WRITER_STANDS_STILL = """
import sys, threading
from pathlib import Path
from abawkit.training import checkpoint_writer
from abawkit.training.recipe import parse_recipe
from abawkit.training.run import train
from abawkit.training.start import Inputs

write_checkpoint = checkpoint_writer.write_checkpoint

def stand_still(run, position, *arguments, **options):
    if position.batch == 2:
        threading.Event().wait()
    write_checkpoint(run, position, *arguments, **options)

checkpoint_writer.write_checkpoint = stand_still
text = 'network = "ddamfn-nano"\\ndevice = "cpu"\\nbatch_size = 40\\n[heads]\\nepochs = 0\\n[checkpoints]\\nevery = 2'
train(parse_recipe(text, "test"), Inputs(Path(sys.argv[1])), Path(sys.argv[2]), hang_timeout=3.0)
"""


@pytest.fixture(scope="module")
def two(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks that nothing happens to; it is watched."""
    out = tmp_path_factory.mktemp("whole") / "run"
    results = end(start_tasks([arguments(curated, out, "--hang-timeout", "600", **CHANGES)] * 2, job=os.getpid() + 10))
    assert [code for code, _, _ in results] == [0, 0], results
    return out


def test_a_process_that_waits_for_a_stopped_one_says_so_and_the_run_continues(
    two: Path, curated: Path, tmp_path: Path
) -> None:
    out, job = tmp_path / "run", os.getpid() + 11
    command = arguments(curated, out, "--hang-timeout", TIMEOUT, **CHANGES)
    tasks = start_tasks([command] * 2, job=job)
    wait_for(out / "checkpoints/0000-000002", tasks)
    tasks[1].send_signal(signal.SIGSTOP)
    _, errors = tasks[0].communicate(timeout=90)
    tasks[1].kill()
    tasks[1].communicate()
    assert (tasks[0].returncode, tasks[1].returncode) == (76, -signal.SIGKILL), errors
    assert f"process 0 of 2 on {socket.gethostname()} hangs after step " in errors
    assert f"has ended for {TIMEOUT} s (the last that ended: " in errors
    assert "MainThread" in errors
    stacks = errors.partition("the innermost call first:")[2]
    assert "in train_epoch" in stacks or "in validate" in stacks
    # Collectives: of gradients, of buffers, of requests to stop, of the statistics of synchronised batch norms.
    waits = ("in _engine_run_backward", "torch/nn/parallel/distributed.py", "in all_reduce", "in all_gather")
    assert any(place in stacks for place in waits), stacks
    results = end(start_tasks([command] * 2, job=job, restarts=1))
    assert [code for code, _, _ in results] == [0, 0], results
    assert digests(out) == digests(two)


@soak
def test_torchrun_starts_all_again_when_a_process_hangs(
    torchrun: Any, two: Path, curated: Path, tmp_path: Path
) -> None:
    run = torchrun(arguments(curated, tmp_path / "run", "--hang-timeout", TIMEOUT, **CHANGES), restarts=1)
    run.wait_for(tmp_path / "run/checkpoints/0000-000002")
    os.kill(run.workers()[1], signal.SIGSTOP)
    code, _, errors = run.end()  # torchrun gives the stopped one 30 s before it kills it
    assert code == 0, errors
    assert "hangs after step " in errors
    assert digests(tmp_path / "run") == digests(two)


def test_a_process_by_itself_shows_where_it_stands(beside: Callable[..., Any], curated: Path, tmp_path: Path) -> None:
    program = beside(STANDS_STILL, curated, tmp_path, stderr=subprocess.PIPE)
    errors = program.process.stderr.read()
    assert program.ends() == 76, errors
    assert f"process 0 of 1 on {socket.gethostname()} hangs after step 2: no batch, step, validation or" in errors
    assert f"continue from the last checkpoint with `abawkit train --resume --out {tmp_path}`" in errors
    assert "in stand_still" in errors.partition("the innermost call first:")[2]


def test_a_process_whose_checkpoint_is_never_written_goes_on_until_it_has_to_wait_for_it(
    beside: Callable[..., Any], curated: Path, tmp_path: Path
) -> None:
    program = beside(WRITER_STANDS_STILL, curated, tmp_path, stderr=subprocess.PIPE)
    errors = program.process.stderr.read()
    assert program.ends() == 76, errors
    assert "hangs after step 4: " in errors  # the next checkpoint would come then
    assert " checkpoint\n" in errors.partition("Its threads:")[2]  # the name of the thread
    stacks = errors.partition("the innermost call first:")[2]
    assert "in stand_still" in stacks
    assert "in finish_save" in stacks


@native  # else the warning that there are none waits for the reader, before the run begins
def test_a_process_ends_too_when_nobody_reads_what_it_shows(
    beside: Callable[..., Any], curated: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    with suppress(BlockingIOError):
        os.set_blocking(writing, False)
        while os.write(writing, b" " * 4096):
            pass
    os.set_blocking(writing, True)
    program = beside(STANDS_STILL, curated, tmp_path, stderr=writing)
    assert program.ends() == 76
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("synchronised", ["false", "true"])
def test_a_process_that_is_slower_than_the_other_is_named_once_an_epoch(
    curated: Path, tmp_path: Path, synchronised: str
) -> None:
    changes = {**CHANGES, "sync_batchnorm": synchronised}
    command = ["-c", SLOW, *arguments(curated, tmp_path / "run", **changes)[2:]]
    results = end(start_tasks([command] * 2, job=os.getpid() + 12))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "is slow" not in results[0][2]
    named = [line for line in results[1][2].splitlines() if "is slow" in line]
    assert [line.partition("its own part of ")[2].partition(" took")[0] for line in named] == ["epoch 1", "epoch 2"]
    assert all(line.startswith(f"warning: process 1 of 2 on {socket.gethostname()} is slow") for line in named)


def test_a_process_that_dies_between_the_passes_of_an_operator_is_noticed(curated: Path, tmp_path: Path) -> None:
    """The other one waits in a native mixed block for the sums of both."""
    changes = {**CHANGES, "sync_batchnorm": "true"}
    command = ["-c", DIES_IN_A_SUM, *arguments(curated, tmp_path / "run", **changes)[2:]]
    (code, _, errors), (killed, _, _) = end(start_tasks([command] * 2, job=os.getpid() + 13))
    assert killed == -signal.SIGKILL
    assert code not in (0, 76), errors
    assert "process 0 of 2: another process is gone or does not answer" in errors
    assert "Traceback" not in errors


@native
def test_synchronised_processes_with_different_operators_are_refused(curated: Path, tmp_path: Path) -> None:
    """They would add up other sums, and wait for each other."""
    command = arguments(curated, tmp_path / "run", **{**CHANGES, "sync_batchnorm": "true"})
    results = end(start_tasks([command, [*command, "--ops", "reference"]], job=os.getpid() + 14))
    for code, _, errors in results:
        assert code == 2, errors
        assert (
            "2 processes were started together, and their implementations of operators (`abawkit ops`) differ" in errors
        )


def wait_for(path: Path, tasks: list[subprocess.Popen[str]]) -> None:
    while not path.exists():
        assert tasks[0].poll() is None, tasks[0].communicate()[1]
        time.sleep(0.02)
