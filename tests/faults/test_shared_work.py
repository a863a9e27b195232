"""What several processes share besides the frames of a batch: windows, the rows of a store, the runs of folds."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abawkit.features.store import FeatureStore
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from abawkit.system.files import find_workspace
from tests.faults.test_processes import Torchrun, lines, torchrun
from tests.sequence_features import list_rows, write_random_store

pytestmark = [pytest.mark.faults, pytest.mark.slow]

__all__ = ["torchrun"]


def settings(**changes: str) -> list[str]:
    return [part for key, value in changes.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def run_alone(command: list[str]) -> None:
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
    save_weights(tmp_path / "w.safetensors", network.config, network.state_dict())
    return tmp_path / "w.safetensors"


def test_two_processes_train_a_sequence_network_as_one_does(
    torchrun: Callable[..., Torchrun], curated: Path, tmp_path: Path
) -> None:
    store = write_random_store(tmp_path / "store", list_rows(curated), source={"kind": "network", "digest": "a" * 64})
    command = ["-m", "abawkit", "train", "sequence-bigru", "--data", str(curated), "--features", str(store.folder)]
    changes = {"all__epochs": "2", "batch_size": "48", "sequence__window": "6", "sequence__width": "8"}
    command += settings(**changes, precision="float64", sequence__dropout="0.3", ema="0.9", augmentation__flip="0")
    run_alone([*command, "--out", str(tmp_path / "one"), "--threads", "1"])
    code, _, errors = torchrun([*command, "--out", str(tmp_path / "two")]).end()
    assert code == 0, errors
    assert len(lines(tmp_path / "two")) == 2
    for alone, together in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert together["losses"] == pytest.approx(alone["losses"], rel=1e-9)
        assert together["official"] == pytest.approx(alone["official"], rel=1e-6)
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["environment"]["processes"] == 2


def test_two_processes_train_heads_on_stored_embeddings_as_one_does(
    torchrun: Callable[..., Torchrun], curated: Path, weights: Path, tmp_path: Path
) -> None:
    command = ["-m", "abawkit", "train", "demo", "--data", str(curated), "--weights", str(weights)]
    changes = {"heads__epochs": "2", "heads__augment": "false", "all__epochs": "0", "batch_size": "46"}
    command += settings(**changes, precision="float64", schedule__warmup_epochs="0")
    run_alone([*command, "--out", str(tmp_path / "one"), "--threads", "1"])
    code, _, errors = torchrun([*command, "--out", str(tmp_path / "two")]).end()
    assert code == 0, errors
    assert len(lines(tmp_path / "two")) == 2
    for alone, together in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert together["losses"] == pytest.approx(alone["losses"], rel=1e-9)
        assert together["official"] == pytest.approx(alone["official"], rel=1e-6)
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["stored_embeddings"] is True


def test_two_processes_extract_a_store_and_one_goes_on_after_a_kill(
    torchrun: Callable[..., Torchrun], release: Path, curated: Path, weights: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    names = (list_rows(curated) * 12)[:2100]  # three chunks of 1,024: the second round has one
    listed.write_text("\n".join(["image", *names]))
    command = ["-m", "abawkit", "features", str(weights), "--list", str(listed)]
    command += ["--frames", str(release / "cropped_aligned"), "--threads", "1", "--out"]
    killed = torchrun([*command, str(tmp_path / "killed")])
    base, prefix = find_workspace(tmp_path / "killed")
    killed.wait_for(base / f"{prefix}.unfinished" / "progress.json")
    for process in (*killed.workers(), killed.process.pid):
        os.kill(process, signal.SIGKILL)
    run_alone([*command, str(tmp_path / "killed")])
    code, shown, errors = torchrun([*command, str(tmp_path / "two"), "--json"]).end()
    assert code == 0, errors
    assert json.loads(shown)["rows"] == 2100  # one object: the second process says nothing
    two, one = FeatureStore.open(tmp_path / "two"), FeatureStore.open(tmp_path / "killed")
    assert two.digest == one.digest
    assert list(two.names) == names


def test_two_processes_train_networks_by_folds_as_one_does_and_are_started_again(
    torchrun: Callable[..., Torchrun], curated: Path, tmp_path: Path
) -> None:
    store = write_random_store(tmp_path / "store", list_rows(curated), source={"kind": "network", "digest": "a" * 64})
    command = ["-m", "abawkit", "train", "sequence-bigru", "--data", str(curated), "--features", str(store.folder)]
    command += ["--folds", "2", "--refit"]
    changes = {"all__epochs": "2", "batch_size": "48", "sequence__window": "6", "sequence__width": "8"}
    command += settings(**changes, precision="float64", augmentation__flip="0")
    run_alone([*command, "--out", str(tmp_path / "one"), "--threads", "1"])
    together = torchrun([*command, "--out", str(tmp_path / "two")], restarts=1)
    together.wait_for(tmp_path / "two" / "fold-2" / "checkpoints")
    os.kill(together.workers()[1], signal.SIGKILL)
    code, shown, errors = together.end()
    assert code == 0, errors
    assert shown.count("2 folds over train") == 1  # the second process says nothing
    assert errors.count("fold 1 of 2") == 1  # it was finished when they were started again
    names = ("fold-1", "fold-2", "refit")
    assert {path.name for path in (tmp_path / "two").iterdir()} >= {*names, "out-of-fold.npz", "out-of-fold.json"}
    for name in names:
        for alone, shared in zip(lines(tmp_path / "one" / name), lines(tmp_path / "two" / name), strict=True):
            assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-9)
    scores = [json.loads((tmp_path / run / "out-of-fold.json").read_text())["scores"] for run in ("one", "two")]
    assert scores[1]["official"]["score"] == pytest.approx(scores[0]["official"]["score"], rel=1e-6)
