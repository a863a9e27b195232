"""Several processes: the same run as one, ended together, and started again together."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abawkit.ops import native_library
from abawkit.system.files import sha256_of
from abawkit.training.checkpoint import find_newest_checkpoint

pytestmark = [pytest.mark.faults, pytest.mark.slow]

native = pytest.mark.skipif(bool(native_library.load()), reason=f"no native operators: {native_library.load()}")
soak = pytest.mark.skipif(not os.environ.get("ABAWKIT_SOAK"), reason="takes a minute: a part of `make soak`")

BOUND = 90
"""Seconds within which all processes must end when one has; most of it is for a busy machine."""

RECIPE = {
    "heads.epochs": "1",
    "heads.learning_rate": "1e-2",
    "all.epochs": "1",
    "batch_size": "46",  # four batches of 45 and 44 rows, so that two processes take 23 and 22
    "ema": "0.9",
    "precision": "float64",
    "sync_batchnorm": "true",
    "checkpoints.every": "2",
}


def arguments(curated: Path, out: Path, *more: str, **changes: str) -> list[str]:
    settings = [part for key, value in {**RECIPE, **changes}.items() for part in ("--set", f"{key}={value}")]
    return ["-m", "abawkit", "train", "demo", "--data", str(curated), "--out", str(out), *settings, *more]


class Torchrun:
    """Several processes under ``torchrun``."""

    def __init__(self, command: list[str], *, restarts: int = 0, count: int = 2) -> None:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        self.process = subprocess.Popen(
            [sys.executable, *launcher, "--max-restarts", str(restarts), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def workers(self) -> list[int]:
        """Their process numbers, by rank."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(
                    self.process.pid
                ):
                    variables = dict(v.split("=", 1) for v in (entry / "environ").read_text().split("\0") if "=" in v)
                    if "RANK" in variables:
                        found[int(variables["RANK"])] = int(entry.name)
            except (OSError, ValueError):
                continue
        return [found[rank] for rank in sorted(found)]

    def wait_for(self, path: Path) -> None:
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        out, errors = self.process.communicate(timeout=BOUND)
        return self.process.returncode, out, errors


@pytest.fixture
def torchrun() -> Iterator[Any]:
    started: list[Torchrun] = []

    def start(command: list[str], *, restarts: int = 0, count: int = 2) -> Torchrun:
        started.append(Torchrun(command, restarts=restarts, count=count))
        return started[-1]

    yield start
    for each in started:
        with each.process as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def digests(out: Path) -> list[str]:
    return [sha256_of(out / name) for name in ("best.safetensors", "last.safetensors")]


@pytest.fixture(scope="module")
def one(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    command = [sys.executable, *arguments(curated, out, "--ops", "reference", "--threads", "1")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def two(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes with synchronised batch norms."""
    out = tmp_path_factory.mktemp("two") / "run"
    code, shown, errors = Torchrun(arguments(curated, out, "--json")).end()
    assert code == 0, errors
    assert json.loads(shown)["best_epoch"] >= 0  # one object: the second process says nothing
    return out


def test_two_processes_have_the_losses_and_the_scores_of_one(one: Path, two: Path) -> None:
    assert len(lines(one)) == len(lines(two)) == 2
    for alone, together in zip(lines(one), lines(two), strict=True):
        assert together["losses"].keys() == alone["losses"].keys()
        for name, loss in alone["losses"].items():
            assert together["losses"][name] == pytest.approx(loss, rel=1e-5)
        assert together["official"] == pytest.approx(alone["official"], rel=1e-5)
        assert together["strict"] == pytest.approx(alone["strict"], rel=1e-5)


@native
def test_native_operators_in_float32_have_the_losses_of_one_process_too(curated: Path, tmp_path: Path) -> None:
    changes = {"precision": "float32", "heads.epochs": "0"}
    command = [sys.executable, *arguments(curated, tmp_path / "one", "--threads", "1", **changes)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    code, _, errors = Torchrun(arguments(curated, tmp_path / "two", **changes)).end()
    assert code == 0, errors
    assert set(json.loads((tmp_path / "two/manifest.json").read_text())["environment"]["ops"].values()) == {"native"}
    (alone,), (together,) = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-3)


def test_the_first_process_alone_writes_and_the_manifest_says_how_many_there_were(two: Path) -> None:
    manifest = json.loads((two / "manifest.json").read_text())
    assert manifest["environment"]["processes"] == 2
    attention = "reference" if native_library.load() else "native"
    assert manifest["environment"]["ops"]["dual_direction_attention"] == attention
    assert manifest["environment"]["ops"]["mixed_block"] == "reference"  # in float64
    assert sorted(path.name for path in two.iterdir()) == [
        "batches.png", "best.safetensors", "checkpoints", "last.safetensors", "manifest.json", "metrics.jsonl",
        "recipe.toml", "report.html", "results.png",
    ]  # fmt: skip


def test_a_dead_process_ends_all_and_resuming_gives_the_same_weights(
    torchrun: Any, two: Path, curated: Path, tmp_path: Path
) -> None:
    run = torchrun(arguments(curated, tmp_path / "run"))
    run.wait_for(tmp_path / "run/checkpoints/0001-000002")
    workers = run.workers()
    os.kill(workers[1], signal.SIGKILL)
    code, _, errors = run.end()  # within BOUND
    assert code != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert "Traceback" not in errors.split("torch/distributed")[0]
    assert not (tmp_path / "run/manifest.json").exists()
    code, _, errors = torchrun(arguments(curated, tmp_path / "run", "--resume")).end()
    assert code == 0, errors
    assert digests(tmp_path / "run") == digests(two)


def test_torchrun_starts_all_again_from_the_last_checkpoint(
    torchrun: Any, two: Path, curated: Path, tmp_path: Path
) -> None:
    run = torchrun(arguments(curated, tmp_path / "run"), restarts=1)
    run.wait_for(tmp_path / "run/checkpoints/0001-000002")
    os.kill(run.workers()[0], signal.SIGKILL)  # the one that writes
    code, _, errors = run.end()
    assert code == 0, errors
    assert digests(tmp_path / "run") == digests(two)
    resumed = json.loads((tmp_path / "run/manifest.json").read_text())["resumed"]
    assert len(resumed) == 1
    assert resumed[0]["from"] >= "0001-000002"


@pytest.mark.parametrize("trial", range(10 if os.environ.get("ABAWKIT_SOAK") else 1))
def test_signals_to_all_processes_at_once_lose_nothing(
    torchrun: Any, curated: Path, tmp_path: Path, trial: int
) -> None:
    """At a time limit, Slurm signals torchrun and its workers, and torchrun forwards its own to the workers."""
    run = torchrun(arguments(curated, tmp_path / "run", **{"all.epochs": "50", "checkpoints.every": "500"}))
    run.wait_for(tmp_path / "run/checkpoints/0001-000000")
    time.sleep(0.1 * trial)  # at another point of a step
    for process in (*run.workers(), run.process.pid):
        os.kill(process, signal.SIGTERM)
    _, _, errors = run.end()
    stopped = re.search(r"stopped by SIGTERM after step (\d+)", errors)
    assert stopped, errors
    checkpoint, problems = find_newest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.state()["progress"]["steps"] == int(stopped[1])
    assert problems == []


def test_batches_too_small_for_the_processes_are_refused(torchrun: Any, curated: Path, tmp_path: Path) -> None:
    code, _, errors = torchrun(arguments(curated, tmp_path / "run", batch_size="3")).end()
    assert code != 0
    assert "2 processes and batches of 3 rows" in errors


@soak
def test_three_processes_whose_sums_depend_on_their_order_resume_to_the_same_weights(
    torchrun: Any, curated: Path, tmp_path: Path
) -> None:
    changes = {"precision": "float32", "sync_batchnorm": "false", "heads.epochs": "0", "all.epochs": "2"}
    whole, run = arguments(curated, tmp_path / "whole", **changes), arguments(curated, tmp_path / "run", **changes)
    assert torchrun(whole, count=3).end()[0] == 0
    killed = torchrun(run, count=3)
    killed.wait_for(tmp_path / "run/checkpoints/0000-000002")
    os.kill(killed.workers()[2], signal.SIGKILL)
    assert killed.end()[0] != 0
    code, _, errors = torchrun([*run, "--resume"], count=3).end()
    assert code == 0, errors
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")
    assert len(json.loads((tmp_path / "run/manifest.json").read_text())["resumed"]) == 1


@soak
def test_a_restart_does_not_take_up_a_run_that_it_did_not_begin(
    torchrun: Any, two: Path, curated: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(two, tmp_path / "run"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, _, errors = torchrun(arguments(curated, out), restarts=1).end()
    assert code != 0
    assert errors.count("holds a run; --resume continues it") >= 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
