"""abawkit installs everywhere: without a compiler, with one that fails, without torch, and says why and what it lacks.

No test compiles native code: what the other tests run on is the real build.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from abawkit.system.native_build import NotBuiltError, find_torch, run_command

ROOT = Path(__file__).parents[1]
NOTE = "abawkit/ops/build_note.txt"

pytestmark = pytest.mark.e2e

Install = Callable[..., subprocess.CompletedProcess[str]]

ATTEND = """
import warnings
import abawkit, torch
from abawkit.errors import OpWarning
from abawkit.ops import dual_direction_attention
from abawkit.ops.testing import make_random_inputs

inputs = make_random_inputs(3)
with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    expected, _ = dual_direction_attention(*inputs, training=False, implementation="reference")
    for _ in range(3):
        found, _ = dual_direction_attention(*inputs, training=False)
assert torch.equal(found, expected)
assert [w.category for w in caught] == [OpWarning], caught
print(abawkit.__file__)
print(caught[0].message)
"""

END = "ended with "
ASK = f"""
from abawkit.cli.app import app
for command in ("ops", "doctor"):
    print({END!r}, end="")
    try:
        app([command, "--json"])
    except SystemExit as end:
        print({END!r} + str(end.code), end="")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing was ever built."""
    copy = tmp_path_factory.mktemp("source") / "abawkit"
    unwanted = shutil.ignore_patterns("*.so", "build_note.txt", "__pycache__", "outputs")
    for name in ("abawkit", "csrc", "submissions"):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "CMakeLists.txt", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def commands(folder: Path, *names: str) -> Path:
    """A folder for PATH that holds these commands, as they are here, and no other."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        assert found, f"the tests need {name}"
        (folder / name).symlink_to(found)
    return folder


def call(source: Path, cwd: Path, path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where PATH is one folder."""
    shutil.rmtree(source / "build", ignore_errors=True)
    clean = {name: value for name, value in os.environ.items() if name != "CXX" and not name.startswith("ABAWKIT_")}
    environment = {**clean, "PATH": str(path), **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def install(source: Path, target: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """What `pip install` does; `--verbose`, as pip hides what a build that succeeds says."""
    pip = ["-m", "pip", "install", "--verbose", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    return call(source, target.parent, path, *pip, *options, str(source))


def build(source: Path, folder: Path, *programs: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What pip has built where PATH holds these programs alone: a wheel in `folder`."""
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    return call(source, source, commands(folder / "bin", *programs), "-c", code, str(folder), **variables)


def note_in(folder: Path) -> str:
    """Why the wheel in a folder, which must be pure Python, is that."""
    (path,) = folder.glob("*-py3-none-any.whl")
    with zipfile.ZipFile(path) as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".so")]
        return str(wheel.read(NOTE), "utf-8")


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that abawkit's build prints; pip shows both streams as one."""
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines()]
    return [line for line in lines if line.startswith(("abawkit: ", "ABAWKIT_"))]


def libraries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.so*")]


# --- without a compiler

ABSENT = "not found: a C++ compiler; install it"  # cmake and ninja are packages that abawkit depends on
NOT_FOUND = f"{ABSENT}, then run `abawkit ops build`"


@pytest.fixture(scope="module")
def hidden(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where abawkit was installed while compilers were hidden, and what the build said."""
    folder = tmp_path_factory.mktemp("hidden")
    result = install(source, folder / "out", commands(folder / "bin"))
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "out", said(result)


@pytest.fixture(scope="module")
def answers(hidden: tuple[Path, list[str]]) -> list[str]:
    """What it says where it was installed: to an evaluation, to `abawkit ops` and to the doctor, in one process.

    It runs in a folder that holds no abawkit, as what comes first on the path is imported.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ABAWKIT_")}
    environment = {**clean, "PYTHONPATH": str(hidden[0]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ATTEND + ASK]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=hidden[0].parent, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(END)


def test_without_a_compiler_it_installs_as_pure_python_with_one_clear_line(hidden: tuple[Path, list[str]]) -> None:
    target, lines = hidden
    assert lines == [f"abawkit: this wheel is pure Python, without native operators: {NOT_FOUND}"]
    assert (target / NOTE).read_text() == NOT_FOUND
    assert libraries(target) == []


def test_the_listing_then_says_why_native_is_not_used(answers: list[str]) -> None:
    _, listing, code, *_ = answers
    assert code == "0"
    found = json.loads(listing)
    native = next(one for one in found["implementations"] if one["name"] == "native")
    assert {reason for call in native["calls"] for reason in call["reasons"]} == {f"not built: {NOT_FOUND}"}
    assert not any(call["runs"] for call in native["calls"])
    assert {choice["name"] for choice in found["automatic"]} == {"reference"}
    assert found["native"] == {}


def test_evaluation_then_runs_on_the_reference_with_one_warning(
    hidden: tuple[Path, list[str]], answers: list[str]
) -> None:
    assert answers[0].splitlines() == [
        str(hidden[0] / "abawkit/__init__.py"),
        f"dual_direction_attention runs on reference, as native can't be used: not built: {NOT_FOUND} "
        "(see `abawkit ops`; ABAWKIT_OPS=reference hides this warning)",
    ]


def test_the_doctor_then_says_what_builds_them(answers: list[str]) -> None:
    *_, findings, code = answers
    found = next(one for one in json.loads(findings)["findings"] if one["name"] == "operators")
    assert (found["ok"], found["mend"]) == (False, "abawkit ops build")
    assert code == "4"
    assert found["found"].startswith("reference on cpu")
    assert f"not native: not built: {NOT_FOUND}" in found["found"]


# --- with other compilers, and other wishes


def test_a_compiler_that_fails_leaves_the_command_that_failed(source: Path, tmp_path: Path) -> None:
    result = build(source, tmp_path, "cmake", "ninja", CXX="/bin/false")
    assert result.returncode == 0, result.stdout + result.stderr
    note = note_in(tmp_path)
    assert re.fullmatch(
        r"`cmake -S` failed: .*(CMake Error|The C\+\+ compiler).*; correct that, then run `abawkit ops build`", note
    )
    assert said(result) == [f"abawkit: this wheel is pure Python, without native operators: {note}"]
    assert "/bin/false" in result.stdout + result.stderr  # all of what cmake said stands above the line


def test_a_compiler_that_is_named_and_not_there_is_missing(source: Path, tmp_path: Path) -> None:
    result = build(source, tmp_path, "cmake", "ninja", CXX="no-such-c++")
    assert result.returncode == 0, result.stdout + result.stderr
    assert note_in(tmp_path) == NOT_FOUND


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("require", f"ABAWKIT_NATIVE=require, but native operators can't be built: {ABSENT}"),
        ("nonsense", "ABAWKIT_NATIVE=nonsense: expected auto, require or skip"),
    ],
)
def test_require_makes_what_is_missing_an_error_and_another_wish_is_one(
    source: Path, tmp_path: Path, mode: str, line: str
) -> None:
    result = build(source, tmp_path, ABAWKIT_NATIVE=mode)
    assert result.returncode != 0
    assert said(result)[0] == line
    assert not list(tmp_path.glob("*.whl"))


def test_skip_runs_no_compiler_and_says_so(source: Path, tmp_path: Path) -> None:
    programs = commands(tmp_path / "compilers")
    for name in ("cmake", "ninja", "c++", "g++", "clang++", "nvcc"):
        (programs / name).write_text(f"#!/bin/sh\n: > {tmp_path / 'called'}\n")
        (programs / name).chmod(0o755)
    result = build(source, tmp_path, ABAWKIT_NATIVE="skip", PATH=str(programs))
    assert result.returncode == 0, result.stdout + result.stderr
    assert note_in(tmp_path) == "left out when abawkit was installed (ABAWKIT_NATIVE=skip); run `abawkit ops build`"
    assert not (tmp_path / "called").exists()


# --- torch, as the build finds it


def torch_in(folder: Path, version: str) -> Path:
    (folder / "torch/include").mkdir(parents=True)
    (folder / "torch/version.py").write_text(f"from typing import Optional\n__version__ = '{version}'\ndebug = False\n")
    return folder / "torch"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where packages are installed; torch can't be imported, as where pip builds in an environment of its own."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "site"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    return tmp_path / "site"


def test_torch_that_can_be_imported_is_found() -> None:
    import torch

    found = find_torch()
    assert found[:2] == (Path(torch.__file__).parent, torch.__version__)
    assert found.cuda == torch.version.cuda


def test_torch_is_found_where_packages_are_installed_although_it_can_not_be_imported(site: Path) -> None:
    expected = torch_in(site, "2.11.1+cu128")
    assert find_torch() == (expected, "2.11.1+cu128", None)


def test_what_can_be_imported_comes_first(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_in(site, "2.11.1")
    first = torch_in(tmp_path / "first", "2.12.0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: SimpleNamespace(origin=str(first / "__init__.py")))
    assert find_torch() == (first, "2.12.0", None)


@pytest.mark.parametrize("left", [[], ["include"], ["version.py"]])
def test_no_torch_or_a_part_of_it_is_said_with_what_to_install(site: Path, left: list[str]) -> None:
    folder = torch_in(site, "2.11.1")
    if "include" not in left:
        (folder / "include").rmdir()
    if "version.py" not in left:
        (folder / "version.py").unlink()
    with pytest.raises(NotBuiltError) as error:
        find_torch()
    assert str(error.value) == "torch was not found; install torch"


def test_a_torch_that_is_too_old_is_named(site: Path) -> None:
    torch_in(site, "2.9.1+cpu")
    with pytest.raises(NotBuiltError, match=r"^torch 2\.9\.1\+cpu is older than 2\.10, whose stable interface"):
        find_torch()


# --- nvcc that refuses

REFUSAL = """In file included from /usr/include/cuda_runtime.h:83,
                 from <command-line>:
/usr/include/crt/host_config.h:132:2: error: #error -- unsupported GNU version! gcc later than 12; "too" new \\o/
  132 | #error -- unsupported GNU version!
"""
LINE = next(line for line in REFUSAL.splitlines() if "error" in line)


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvcc that takes no host compiler, as the one that is found, and the real commands beside it."""
    path = commands(tmp_path / "bin", "cmake", "ninja", "c++", "sh", "cat")
    (tmp_path / "refusal").write_text(REFUSAL)
    (path / "nvcc").write_text(f"#!/bin/sh\ncat '{tmp_path / 'refusal'}' >&2\nexit 1\n")
    (path / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    for name in ("CXX", "CUDACXX", "CUDAHOSTCXX", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    return path


def configure(folder: Path, *more: str) -> None:
    import pybind11

    torch, version, _ = find_torch()
    options = [f"-DABAWKIT_TORCH={torch}", f"-DABAWKIT_TORCH_VERSION={version}", "-DABAWKIT_EXTENSION=ON"]
    options += [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    options += ["-DPYBIND11_FINDPYTHON=ON", "-DCMAKE_BUILD_TYPE=Debug"]
    run_command("cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *options, *more)


def test_the_line_with_which_nvcc_refused_becomes_a_fact_of_the_build(refusing: Path, tmp_path: Path) -> None:
    configure(tmp_path / "build")
    literal = (tmp_path / "build/cuda_refusal.h").read_text()  # of C++, what build_facts.cpp includes
    assert literal.removeprefix('R"line(').removesuffix(')line"') == f"nvcc can't be used: {LINE}"


def test_where_cuda_is_required_the_same_line_is_the_error(refusing: Path, tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError) as error:
        configure(tmp_path / "build", "-DABAWKIT_CUDA=require")
    assert "ABAWKIT_CUDA=require, but nvcc can't be used: " in str(error.value)
    assert "host_config.h:132:2: error: #error -- unsupported GNU version!" in str(error.value)
