"""Weights on the command line: what import prints, and what a run starts from."""

import json
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.system.files import sha256_of

Run = Callable[..., subprocess.CompletedProcess[str]]
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "ddamfn_state_dict.json").read_text())
    found = {}
    for key, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(key.encode())).uniform(0.1, 0.5, shape).astype(np.float32)
        found[key] = torch.tensor(0) if key.endswith("num_batches_tracked") else torch.from_numpy(values)
    return found


def test_what_is_left_out_is_two_families_and_a_count(run: Run, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": state, "ema": state, "best": np.float64(1)}, tmp_path / "c.pth")
    shown = run("import-weights", tmp_path / "c.pth", "--out", tmp_path / "c.safetensors").stdout.splitlines()
    assert shown == [
        f"{tmp_path}/c.safetensors: 944 tensors of ddamfn, from 'model'",
        "left out: 221 tensors that no forward pass uses (204 of conv_dw.bn, conv_dw.prelu, 17 of CoordAtt.Linear, bn)",
        "left out: the classifier of 8 classes",
        "left out: 'ema', other weights of the network; --key ema takes them",
    ]


def test_json_lists_all_that_is_left_out(run: Run, state: dict[str, Tensor], tmp_path: Path) -> None:
    lightning = {"state_dict": {"loss.weight": torch.ones(2), **{f"model.{key}": v for key, v in state.items()}}}
    torch.save(lightning, tmp_path / "d.ckpt")
    options = ("--out", tmp_path / "d.safetensors", "--json")
    found: dict[str, Any] = json.loads(run("import-weights", tmp_path / "d.ckpt", *options).stdout)
    assert (found["tensors"], found["key"], found["attention_heads"]) == (944, "state_dict", 2)
    assert (len(found["dropped"]), found["beside"], found["others"]) == (221, ["loss.weight"], [])


def test_of_two_networks_one_is_asked_for(run: Run, state: dict[str, Tensor], tmp_path: Path) -> None:
    other = {key: value + 1 for key, value in state.items()}
    torch.save({"student": state, "teacher": other}, tmp_path / "two.pth")
    asked = ("import-weights", tmp_path / "two.pth", "--out", tmp_path / "two.safetensors")
    assert "'student', 'teacher'" in run(*asked, code=3).stderr
    assert not (tmp_path / "two.safetensors").exists()
    assert "from 'teacher'" in run(*asked, "--key", "teacher").stdout


def test_a_run_starts_from_the_best_weights_of_a_run_folder(
    run: Run, runs: list[Path], curated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run("train", "demo", "--data", curated, "--out", out, "--set", "all.epochs=1", "--weights", runs[0])
    best = runs[0] / "best.safetensors"
    assert json.loads((out / "manifest.json").read_text())["weights"] == {"path": str(best), "sha256": sha256_of(best)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pth", b"<!DOCTYPE html><title>Sign in</title>", "is a web page (HTML, 'Sign in')"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\nsize 3\n", "is a Git LFS pointer"),
    ],
)
def test_what_is_no_weights_is_named_by_every_command_that_takes_them(
    run: Run, curated: Path, release: Path, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    submit = ("submit", "submissions/paper-finetuned", "--data", curated, "--list", release, "--frames", release)
    for command in (
        ("train", "demo", "--data", curated, "--out", tmp_path / "r"),
        submit,
        ("ablate", "--out", tmp_path / "a"),
    ):
        assert said in " ".join(run(*command, "--weights", path, code=3).stderr.split())
    assert list(tmp_path.iterdir()) == [path]
