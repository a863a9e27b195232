"""Builds sdist and wheel, installs the wheel outside the tree and runs it there: `make distribution`, part of CI.

With this Python: installation with torch, `abawkit ops build`, the demo on a tiny release. With each other Python that
is promised and found: everything that needs no torch, as there may be no torch for it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHERS = ("3.12", "3.13")


def main() -> None:
    """Does everything, in a folder outside the tree that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="abawkit-distribution-") as name:
        folder = Path(name)
        wheel = build(folder)
        check_with_torch(folder, wheel)
        for version in OTHERS:
            python = find_python(version)
            if python is None:
                say(f"Python {version}: not found on this machine, so not tested")
            else:
                check_without_torch(folder / version, wheel, python)


def say(text: str) -> None:
    print(f"distribution: {text}", flush=True)  # noqa: T201


def run(folder: Path, *command: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the tree, and shows what it said where it ends as it should not."""
    started = time.monotonic()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ABAWKIT_", "PYTHON"))}
    environment = {**clean, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "200"}
    arguments = [*map(str, command)]
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    words = " ".join(Path(part).name if part.startswith("/") else part for part in arguments)
    say(f"{words[:100]}: {time.monotonic() - started:.0f} s")
    if result.returncode != code:
        sys.exit(f"{result.stdout}\n{result.stderr}\n{words}: exit code {result.returncode}, expected {code}")
    return result


def build(folder: Path) -> Path:
    """Builds an sdist, and a wheel of it, where there is no torch; both say what they must."""
    said = run(folder, sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT)
    (wheel,), (sdist,) = (list((folder / "dist").glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
    words = "this wheel is pure Python, without native operators: "
    told = [line for line in (said.stdout + said.stderr).splitlines() if words in line]
    assert told, said
    say(f"{sdist.name}, {wheel.name}: {told[-1]}")
    return wheel


def check_with_torch(folder: Path, wheel: Path) -> None:
    """What a user does: install, doctor, ops build, demo."""
    python = make_environment(folder, Path(sys.executable))
    run(
        folder,
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "-c",
        ROOT / "constraints.txt",
        torch_pin(),
        wheel,
    )
    abawkit = python.parent / "abawkit"
    before = run(folder, abawkit, "doctor", code=4).stdout
    assert "to fix operators: abawkit ops build" in before, before
    built = run(folder, abawkit, "ops", "build").stdout
    assert str(folder / "cache/abawkit/native") in built, built
    found = json.loads(run(folder, abawkit, "ops", "--json").stdout)
    assert {choice["name"] for choice in found["automatic"] if choice["dtype"] == "float32"} == {"native"}
    run(folder, abawkit, "demo", "--size", "tiny", "--out", folder / "demo")
    check_files(folder, abawkit)


def check_without_torch(folder: Path, wheel: Path, python: Path) -> None:
    """Everything that needs no torch, with another Python."""
    folder.mkdir()
    python = make_environment(folder, python)
    project = (ROOT / "constraints.txt").read_text().splitlines()
    (folder / "constraints.txt").write_text("\n".join(line for line in project if not line.startswith("torch==")))
    needed = [name for name in requirements() if not name.startswith("torch")]
    run(folder, python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", folder / "constraints.txt", *needed)
    run(folder, python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    abawkit = python.parent / "abawkit"
    assert "to fix torch:" in run(folder, abawkit, "doctor", code=4).stdout
    assert "torch was not found; install torch" in run(folder, abawkit, "ops", "build", code=4).stderr
    run(folder, abawkit, "synth", "release", "--size", "tiny")
    run(folder, abawkit, "curate", "release", "--policy", "per-task", "--out", "curated")
    images = (folder / "release/test_set_examples/MTL.txt").read_text().splitlines()
    header, *names = (line.strip().rstrip(",") for line in images)
    rows = [header, *(",".join([name, "0.1", "0.2", "4", *"101010101010"]) for name in names)]
    (folder / "constant.txt").write_text("\n".join(rows) + "\n")
    run(folder, abawkit, "check", "constant.txt", "--list", "release/test_set_examples/MTL.txt")
    truth = "release/held_out/test_set_annotations.txt"
    scored = run(folder, abawkit, "score", "constant.txt", "--truth", truth, "--json")
    assert json.loads(scored.stdout)["score"] > 0
    check_files(folder, abawkit)


def check_files(folder: Path, abawkit: Path) -> None:
    """What comes with abawkit and is not Python."""
    run(folder, abawkit, "submissions", "new", "first", "--from", "strong")
    assert "first" in run(folder, abawkit, "submissions").stdout
    assert "[heads]" in run(folder, abawkit, "recipes", "paper").stdout


def make_environment(folder: Path, python: Path) -> Path:
    """A virtual environment of its own; its Python."""
    run(folder, python, "-m", "venv", folder / "venv")
    return folder / "venv/bin/python"


def torch_pin() -> str:
    """The very torch that the tests run with: any other one may be a build for GPUs, of gigabytes."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def requirements() -> list[str]:
    """What the package depends on."""
    import tomllib

    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def find_python(version: str) -> Path | None:
    """A Python of this version that starts: in PATH, or of pyenv."""
    for path in _pythons(version):
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        if shown.returncode == 0 and re.match(rf"Python {re.escape(version)}\.", shown.stdout):
            return path
    return None


def _pythons(version: str) -> Iterator[Path]:
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        yield from sorted(Path(root).glob(f"versions/{version}.*/bin/python"))


if __name__ == "__main__":
    main()
