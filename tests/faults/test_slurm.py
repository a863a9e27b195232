"""Training as tasks of Slurm's srun: the variables alone, and a real Slurm of two nodes where it is installed."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.slurm_node import BOUND, SlurmNode, find_free_ports, find_missing, run_slurm
from tests.faults.test_processes import Torchrun, arguments, digests, lines

pytestmark = [pytest.mark.faults, pytest.mark.slow]

ROOT = Path(__file__).parents[2]

soak = pytest.mark.skipif(not os.environ.get("ABAWKIT_SOAK"), reason="takes minutes: a part of `make soak`")

SHORT = {"heads.epochs": "0"}
"""Four batches, and a validation."""


def start_tasks(commands: list[list[str]], *, job: int, restarts: int = 0) -> list[subprocess.Popen[str]]:
    """Starts commands as the tasks of one step of srun, each with the variables of its own."""
    step = {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(len(commands)),
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "here",
        "SLURM_RESTART_COUNT": str(restarts),
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **step, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)},
        )
        for task, command in enumerate(commands)
    ]


def end(tasks: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    found = [(*task.communicate(timeout=BOUND), task.returncode) for task in tasks]
    return [(code, out, errors) for out, errors, code in found]


@pytest.fixture(scope="module")
def two(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks with synchronised batch norms."""
    out = tmp_path_factory.mktemp("tasks") / "run"
    results = end(start_tasks([arguments(curated, out, **SHORT)] * 2, job=os.getpid()))
    assert [code for code, _, _ in results] == [0, 0], results
    assert results[1][1] == ""  # the first task speaks for both
    return out


def test_a_requeued_job_continues_the_run_that_it_began(two: Path, curated: Path, tmp_path: Path) -> None:
    """The same command, without --resume: Slurm starts the whole batch script again."""
    out, job = tmp_path / "run", os.getpid() + 1
    ended = end(start_tasks([[*arguments(curated, out, **SHORT), "--max-minutes", "0.001"]] * 2, job=job))
    assert [code for code, _, _ in ended] == [75, 75], ended
    results = end(start_tasks([arguments(curated, out, **SHORT)] * 2, job=job, restarts=1))
    assert [code for code, _, _ in results] == [0, 0], results
    assert digests(out) == digests(two)


def test_another_number_of_processes_goes_on_with_the_same_losses(two: Path, curated: Path, tmp_path: Path) -> None:
    """Batch norms are synchronised, so that nothing but the order of sums differs; no --allow-drift is needed."""
    out = tmp_path / "run"
    command = [*arguments(curated, out, **SHORT), "--max-minutes", "0.001"]
    ended = end(start_tasks([command] * 2, job=os.getpid() + 2))
    assert [code for code, _, _ in ended] == [75, 75], ended
    resumed = [sys.executable, *arguments(curated, out, "--resume", **SHORT)]
    result = subprocess.run(resumed, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(lines(out)) == len(lines(two)) == 1
    for alone, together in zip(lines(out), lines(two), strict=True):
        for name, loss in together["losses"].items():
            assert alone["losses"][name] == pytest.approx(loss, rel=1e-5)
        assert alone["official"] == pytest.approx(together["official"], rel=1e-5)


def test_tasks_with_different_commands_are_refused_in_all_of_them(curated: Path, tmp_path: Path) -> None:
    commands = [arguments(curated, tmp_path / name, **SHORT) for name in ("a", "b")]
    results = end(start_tasks(commands, job=os.getpid() + 3))
    assert [code for code, _, _ in results] == [2, 2], results
    assert all("--out differ" in errors for _, _, errors in results)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def node() -> Iterator[SlurmNode]:
    if missing := find_missing():
        pytest.skip(f"no Slurm of its own can run here: {missing} is missing")
    with run_slurm() as node:
        yield node


def write_script(command: list[str]) -> str:
    """The batch script of the page, for a node without GPUs and another command."""
    page = (ROOT / "docs/how-to/slurm.md").read_text()
    script = re.search(r"```bash\n(#!/bin/bash\n.*?)```", page, re.DOTALL)
    assert script
    text = script[1].replace(" --cpus-per-task=8 --gpus-per-task=1", "")
    wanted = "srun abawkit train baseline --data curated --out runs/a --resume\n"
    assert wanted in text
    return text.replace(wanted, f"srun {shlex.join(command)} --resume\n")


def write_watched_script(command: list[str]) -> str:
    """The same with the lines of the page for a process that hangs."""
    page = (ROOT / "docs/how-to/slurm.md").read_text()
    lines = re.search(r"(srun [^\n]*) --hang-timeout 900\n(code=.*?)```", page, re.DOTALL)
    assert lines
    head, _, _ = write_script(command).partition("srun ")
    return f"{head}srun --kill-on-bad-exit {shlex.join(command)} --resume --hang-timeout 8\n{lines[2]}"


def test_the_script_of_the_page_continues_until_the_run_is_done(node: SlurmNode, curated: Path, tmp_path: Path) -> None:
    """A warning ahead of the time limit, twice: the job is put back into the queue, and the weights are the same."""
    changes = {**SHORT, "all.epochs": "5", "sync_batchnorm": "false", "precision": "float32"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    subprocess.run([sys.executable, *arguments(curated, whole, "--threads", "1", **changes)], check=True)
    script = write_script([sys.executable, *arguments(curated, out, "--threads", "1", **changes)])
    job = node.submit(script)
    for epoch in (1, 3):
        wait_for(out / f"checkpoints/{epoch:04}-000000", node, job)
        node.call("scancel", "--signal=USR1", job)
    state = node.wait_until_done(job)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("COMPLETED", "0:0", "2"), node.read_output()
    assert node.read_output().count("stopped by SIGUSR1") == 2
    assert digests(out) == digests(whole)
    again = node.submit(script)  # as the next of an array would
    assert node.wait_until_done(again)["JobState"] == "COMPLETED"
    assert digests(out) == digests(whole)


HANGS_ONCE = """
import os, threading
from abawkit.cli.app import app
from abawkit.training.learner import Learner

step, taken = Learner.step, []

def step_or_hang(*arguments):
    taken.append(1)
    if len(taken) == 4 and "SLURM_RESTART_COUNT" not in os.environ:
        threading.Event().wait()
    return step(*arguments)

Learner.step = step_or_hang
app()
"""


def test_a_job_that_hangs_shows_where_and_is_put_back_into_the_queue(
    node: SlurmNode, curated: Path, tmp_path: Path
) -> None:
    changes = {**SHORT, "sync_batchnorm": "false", "precision": "float32"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    subprocess.run([sys.executable, *arguments(curated, whole, "--threads", "1", **changes)], check=True)
    command = [sys.executable, "-c", HANGS_ONCE, *arguments(curated, out, "--threads", "1", **changes)[2:]]
    state = node.wait_until_done(node.submit(write_watched_script(command)))
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("COMPLETED", "0:0", "1"), node.read_output()
    assert "hangs after step 3" in node.read_output()
    assert " in step_or_hang\n" in node.read_output()
    assert digests(out) == digests(whole)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_tasks_of_srun_are_the_processes_of_one_run(
    node: SlurmNode, two: Path, curated: Path, tmp_path: Path, nodes: int
) -> None:
    script = write_script([sys.executable, *arguments(curated, tmp_path / "run", **SHORT)])
    state = node.wait_until_done(node.submit(script, f"--nodes={nodes}", "--ntasks=2"))
    assert (state["JobState"], state["NumNodes"]) == ("COMPLETED", str(nodes)), node.read_output()
    assert digests(tmp_path / "run") == digests(two)
    assert json.loads((tmp_path / "run/manifest.json").read_text())["environment"]["processes"] == 2


def write_torchrun_script(command: list[str], out: Path) -> str:
    """The batch script of the page for torchrun on two nodes, for nodes without GPUs and another command."""
    page = (ROOT / "docs/how-to/clusters.md").read_text()
    script = re.search(r"```bash\n(#!/bin/bash\n.*?)```", page, re.DOTALL)
    assert script
    text = (
        script[1]
        .replace(" --gpus-per-node=4 --cpus-per-task=32", "")
        .replace("--nproc-per-node=4", "--nproc-per-node=1")
    )
    text = text.replace(" torchrun ", f" {sys.executable} -m torch.distributed.run ")
    text = text.replace(":29500", f":{find_free_ports(1)[0]}")
    wanted = "-m abawkit train baseline --data curated --out runs/a"
    assert wanted in text
    return text.replace(wanted, shlex.join(command)).replace("runs/a/", f"{out}/")


@soak
def test_torchrun_on_two_nodes_continues_until_the_run_is_done(node: SlurmNode, curated: Path, tmp_path: Path) -> None:
    changes = {**SHORT, "all.epochs": "3"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    code, _, errors = Torchrun(arguments(curated, whole, **changes)).end()
    assert code == 0, errors
    job = node.submit(write_torchrun_script(arguments(curated, out, **changes), out))
    wait_for(out / "checkpoints/0001-000000", node, job)
    node.call("scancel", "--signal=TERM", job)
    state = node.wait_until_done(job)
    ended = tuple(state[key] for key in ("JobState", "ExitCode", "Restarts", "NumNodes"))
    assert ended == ("COMPLETED", "0:0", "1", "2"), node.read_output()
    assert "stopped by SIGTERM" in node.read_output()
    assert digests(out) == digests(whole)


def wait_for(path: Path, node: SlurmNode, job: str) -> None:
    """Waits for a file or folder that a job writes."""
    until = time.monotonic() + BOUND
    while not path.exists():
        assert time.monotonic() < until, node.read_output()
        node.start_now(job)
        time.sleep(0.1)


TAKES_ITS_TIME = """
import time
from abawkit.cli.app import app
from abawkit.training.learner import Learner

step = Learner.step

def step_slowly(*arguments):
    time.sleep(0.4)
    return step(*arguments)

Learner.step = step_slowly
app()
"""


@soak
def test_a_time_limit_of_a_minute_is_enough_for_a_longer_run(node: SlurmNode, curated: Path, tmp_path: Path) -> None:
    """The warning comes when five seconds are left, or up to half a minute earlier, when Slurm looks at the time."""
    changes = {**SHORT, "all.epochs": "30", "sync_batchnorm": "false", "precision": "float32"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    subprocess.run([sys.executable, *arguments(curated, whole, "--threads", "1", **changes)], check=True)
    command = [sys.executable, "-c", TAKES_ITS_TIME, *arguments(curated, out, "--threads", "1", **changes)[2:]]
    job = node.submit(write_script(command), "--time=1", "--signal=USR1@5")
    state = node.wait_until_done(job)
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), node.read_output()
    assert int(state["Restarts"]) >= 1
    assert digests(out) == digests(whole)
