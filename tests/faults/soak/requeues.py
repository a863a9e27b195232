"""Puts jobs of a Slurm back into its queue, again and again."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.progress import track

from tests.faults.slurm_node import BOUND, SlurmNode, find_missing, run_slurm
from tests.faults.soak.runs import Outcome, count, digests, find_difference, finish, train
from tests.faults.test_slurm import write_script

SETTINGS: Final = {"batch_size": 46, "heads.epochs": 0, "checkpoints.every": 2}
"""Epochs of four steps."""

EPOCHS_FOR_A_REQUEUE: Final = 5

JOB_REQUEUES: Final = 10
"""How often one job is put back."""


def requeue_jobs(curated: Path, folder: Path, requeues: int, *, seed: int) -> Outcome:
    """Starts the batch script of the page on clusters, and puts each job back into the queue until its run is done.

    Every second time Slurm warns the job (SIGUSR1), and its script puts it back; else the job is ended and put back
    from outside, as by preemption. At the end, the weights must be those of a run that was not interrupted.

    Args:
        curated: The curated set.
        folder: Where the runs are.
        requeues: How often a job is put back, over all jobs.
        seed: Of the moments.
    """
    if missing := find_missing():
        raise SystemExit(f"no Slurm of its own can run here: {missing} is missing; --requeues 0 leaves this part out")
    moments = random.Random(seed)
    kinds: list[str] = []
    wrong: list[str] = []
    sizes = [min(JOB_REQUEUES, requeues - done) for done in range(0, requeues, JOB_REQUEUES)]
    with run_slurm() as node:
        for number, size in enumerate(sizes):
            settings = {**SETTINGS, "all.epochs": EPOCHS_FOR_A_REQUEUE * (size + 1)}
            whole, out = folder / f"whole{number}", folder / f"job{number}"
            if failed := finish(train(curated, whole, settings)):
                raise SystemExit(f"the run that is not interrupted fails:\n{failed}")
            job = node.submit(write_script(train(curated, out, settings)))
            for warned in track([k % 2 == 0 for k in range(size)], f"requeues of job {number + 1}"):
                kinds += [_requeue(node, job, out, moments.uniform(0, 0.6), warned=warned)]
            state = node.wait_until_done(job)
            ended = tuple(state[key] for key in ("JobState", "ExitCode", "Restarts"))
            if ended != ("COMPLETED", "0:0", str(size)):
                wrong.append(f"job {number + 1} ended with {ended}: {node.read_output()}")
            elif difference := find_difference(out, digests(whole)):
                wrong.append(f"job {number + 1}: {difference}")
    return Outcome("requeues", f"{len(kinds)} of {len(sizes)} jobs: {count(kinds)}", wrong)


def _requeue(node: SlurmNode, job: str, out: Path, wait: float, *, warned: bool) -> str:
    """Puts a job back into the queue a while after its run has ended one more epoch; how it was put back."""
    done, restarts = _count_epochs(out), node.read_job(job)["Restarts"]
    _wait_until(lambda: _count_epochs(out) > done, node, job)
    time.sleep(wait)
    if warned:
        node.call("scancel", "--signal=USR1", job)
    else:
        node.call("scontrol", "requeue", job)
    _wait_until(lambda: node.read_job(job)["Restarts"] != restarts, node, job)
    return "warned" if warned else "preempted"


def _count_epochs(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _wait_until(reached: Callable[[], bool], node: SlurmNode, job: str) -> None:
    until = time.monotonic() + BOUND
    while not reached():
        if time.monotonic() > until:
            raise SystemExit(f"job {job} does not go on:\n{node.read_job(job)}\n{node.read_output()}")
        node.start_now(job)
        time.sleep(0.1)
