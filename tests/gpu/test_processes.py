"""Two processes, each on its own GPU where there are two; on CPUs the same script runs with gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WHERE = """
import os, sys, torch
from abawkit.models.inference import pick_device
from abawkit.training.distributed import join_processes

with join_processes(sys.argv[1]) as processes:
    device = pick_device("auto" if torch.cuda.is_available() and sys.argv[1] != "cpu" else "cpu")
    own = torch.full((1,), float(processes.rank), device=device)
    found = processes.all_gather(own, [1, 1])
    assert found.tolist() == [0.0, 1.0], found
    os.write(1, f"rank {processes.rank} of {processes.world_size} on {found.device}\\n".encode())  # a line in one write
"""


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def require_two(device: str) -> None:
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")


def test_each_process_takes_the_device_of_its_local_rank(device: str, tmp_path: Path) -> None:
    require_two(device)
    script = tmp_path / "where.py"
    script.write_text(WHERE)
    found = {line for line in torchrun(str(script), device).stdout.splitlines() if line.startswith("rank ")}
    devices = ["cpu", "cpu"] if device == "cpu" else ["cuda:0", "cuda:1"]
    assert found == {f"rank {rank} of 2 on {name}" for rank, name in enumerate(devices)}


@pytest.mark.gpu
def test_two_gpus_train_together(curated: Path, tmp_path: Path) -> None:
    """On CPUs, `tests/faults/test_processes.py` compares two processes with one."""
    require_two("cuda")
    out = tmp_path / "run"
    settings = {"device": "cuda", "heads.epochs": "0", "all.epochs": "2", "precision": "float32"}
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    torchrun("-m", "abawkit", "train", "demo", "--data", str(curated), "--out", str(out), *changes)
    assert json.loads((out / "manifest.json").read_text())["environment"]["processes"] == 2
    first, last = (json.loads(text)["losses"]["total"] for text in (out / "metrics.jsonl").read_text().splitlines())
    assert last < first
