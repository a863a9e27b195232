"""Every command of README runs as it stands there, on a tiny drawn release under the names that README uses."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.e2e

# What would take a CPU hours or minutes is shortened: a full run of `demo` is what `make demo` is for.
SHORTER = {
    "abawkit demo": ["--size", "tiny"],
    "abawkit train baseline": ["--set", "network=ddamfn-nano", "--set", "all.epochs=1", "--set", "heads.epochs=0"],
    "abawkit train": ["--set", "all.epochs=1", "--set", "heads.epochs=0"],
}

# Many runs each: `.ci/run` runs them on a tiny release.
ELSEWHERE = ("abawkit submit ", "abawkit ablate ")


def commands() -> list[str]:
    """The commands of README, in order: rows of its table, then lines that begin with ``$``."""
    rows = re.findall(r"^\| .* \| `(abawkit .*)` \|$", TEXT, flags=re.MULTILINE)
    blocks = re.findall(r"```console\n(.*?)```", TEXT, flags=re.DOTALL)
    typed = [line[2:] for block in blocks if "\n  done in " not in block for line in block.splitlines()]
    return rows + [line for line in typed if line.startswith("abawkit ")]


def published_weights(path: Path) -> None:
    """A checkpoint in the published form, with random weights."""
    import json

    shapes = json.loads((ROOT / "tests/golden/ddamfn_state_dict.json").read_text())
    state = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        values = rng.uniform(0.5, 1.5, shape) if key.endswith("running_var") else rng.normal(0, 0.05, shape)
        state[key] = torch.zeros((), dtype=torch.int64) if key.endswith("tracked") else torch.from_numpy(values).float()
    torch.save({"model_state_dict": state}, path)


def shorter(line: str, more: list[str]) -> list[str]:
    """Options to append; a key that the line sets itself stays as it is."""
    pairs = zip(more[::2], more[1::2], strict=True)
    return [part for option, value in pairs if f" {value.partition('=')[0]}=" not in line for part in (option, value)]


def test_every_command_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copytree(ROOT / "submissions", tmp_path / "submissions", ignore=shutil.ignore_patterns("outputs"))
    published_weights(tmp_path / "affectnet8.pth")
    prepared = ["abawkit synth s-Aff-Wild2 --size tiny --workers 1", *commands()]
    assert len(prepared) > 20
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for line in prepared:
        if line.startswith(ELSEWHERE):
            continue
        more = next((shorter(line, more) for name, more in SHORTER.items() if line.startswith(name)), [])
        arguments = [*shlex.split(line)[1:], *more]
        result = subprocess.run(
            [sys.executable, "-m", "abawkit", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        accepted = (0, 4) if line.startswith("abawkit doctor") else (0,)  # 4: this machine lacks something, say disk
        assert result.returncode in accepted, f"{line}\n{result.stdout}\n{result.stderr}"


def test_git_ignores_everything_that_these_commands_write() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    lines = [shlex.split(line) for line in commands()]
    paths = [parts[i + 1] for parts in lines for i, part in enumerate(parts) if part in ("--out", "--repair", "--data")]
    paths += ["demo", "s-Aff-Wild2", "affectnet8.pth", *(re.sub(r"\.txt$", ".npz", path) for path in paths)]
    assert len(paths) > 20
    command = ["git", "-C", str(ROOT), "check-ignore", *(f"{path}/" if "." not in path else path for path in paths)]
    ignored = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    assert {path.rstrip("/") for path in paths} - {path.rstrip("/") for path in ignored} == set()


def test_what_is_not_run_here_is_run_by_ci() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert all(name in script for name in ELSEWHERE)


def test_the_makefile_has_the_targets_that_readme_names() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"`?make ([a-z]+)", TEXT)) <= set(targets)


def test_the_constraints_pin_everything_that_the_package_needs() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[><=]", name)[0].lower() for name in project["dependencies"]}
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    assert needed <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_no_placeholder_is_left() -> None:
    found = [name for name in re.findall(r"\b[A-Z]+_[A-Z]+\b", TEXT) if not name.startswith("ABAWKIT_")]
    assert found == ["CCC_V", "CCC_A"]
