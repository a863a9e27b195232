"""Compiles the native operators with CMake, for `setup.py` and for ``abawkit ops build``.

Needs the standard library alone: pip builds where neither torch nor pandas can be imported.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.errors import AbawkitError

LIBRARY: Final = "libabawkit_operators.so"
COMMAND: Final = "abawkit ops build"
NO_TORCH: Final = "torch was not found"

LEAST_TORCH: Final = (2, 10)
"""The stable interface that the binary is compiled against. Source: torch/csrc/stable, functions marked 2.10. Older
releases' `torch.load(weights_only=True)` can be made to run code besides: CVE-2026-24747."""

LEAST_CMAKE: Final = (3, 25)

LEAST_CAPABILITY: Final = (8, 0)
"""The kernels use instructions that older GPUs don't have: asynchronous copies, products of TF32 and bfloat16."""

_DIAGNOSTICS: Final = (
    re.compile(r"(?:^|\s)\S+?(?::\d+(?::\d+)?|\(\d+\)): (?:fatal |catastrophic )?error\b"),  # of GCC, clang and nvcc
    re.compile(r"\b(?:fatal error|undefined reference|cannot find -l|Killed)\b"),
    re.compile(r"\berror\b|FAILED:|The C\+\+ compiler", re.IGNORECASE),
)
"""Lines that say what is wrong, the most telling first: ninja and make print others before them."""

_MOST_CHARACTERS: Final = 300


class NotBuiltError(AbawkitError):
    """Native code can't be compiled here; the message says why and what would help.

    Attributes:
        output: All that the command said that failed; empty where none was run.
    """

    exit_code = 4

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def add_remedy(reason: str) -> str:
    """Adds the command that compiles to a reason why nothing was compiled."""
    first = "" if reason.rpartition("; ")[2].startswith("install ") else "; correct that"
    return f"{reason}{first}, then run `{COMMAND}`"


class Torch(NamedTuple):
    """An installed torch.

    Attributes:
        folder: Of the package.
        version: ``2.13.0+cpu``.
        cuda: Version of CUDA that it was built with, or None for a build for CPUs.
    """

    folder: Path
    version: str
    cuda: str | None


def find_torch() -> Torch:
    """The torch that abawkit will run with, which is not imported.

    pip builds in an environment of its own, where torch can't be imported; it stands where packages are installed.

    Raises:
        NotBuiltError: If there is none, or it is too old.
    """
    folders = [Path(sysconfig.get_path(name)) / "torch" for name in ("platlib", "purelib")]
    spec = importlib.util.find_spec("torch")
    for folder in (*([Path(spec.origin).parent] if spec and spec.origin else []), *folders):
        text = folder / "version.py"
        if (folder / "include").is_dir() and text.is_file():
            content = text.read_text()
            version = re.search(r"^__version__\b.*?= ?'([^']+)'", content, re.MULTILINE)
            cuda = re.search(r"^cuda\b.*?= ?'([^']+)'", content, re.MULTILINE)
            if version:
                if tuple(int(part) for part in version[1].split("+")[0].split(".")[:2]) < LEAST_TORCH:
                    least = ".".join(map(str, LEAST_TORCH))
                    found = f"torch {version[1]} is older than {least}, whose stable interface is needed"
                    raise NotBuiltError(f"{found}; install a later one")
                return Torch(folder, version[1], cuda[1] if cuda else None)
    raise NotBuiltError(f"{NO_TORCH}; install torch")


def find_programs() -> dict[str, str]:
    """Paths of the programs that compile: ``cmake`` and ``ninja``.

    Each is looked for in PATH, then where this Python's packages put their commands, which is not in PATH where a
    virtual environment was not activated. A cmake that is too old is passed over.

    Raises:
        NotBuiltError: If a program, the C++ compiler or pybind11 is missing; all that is missing is named.
    """
    found = {"cmake": _find_cmake(), "ninja": next(_candidates("ninja"), None)}
    absent = [name for name, path in found.items() if not path]
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    # CXX may hold arguments too, as in `ccache g++`.
    absent += [] if any(shutil.which((name.split() or [""])[0]) for name in compilers) else ["a C++ compiler"]
    if importlib.util.find_spec("pybind11") is None:
        absent.append("pybind11")
    if absent:
        raise NotBuiltError(f"not found: {', '.join(absent)}; install it")
    return {name: path for name, path in found.items() if path}


def _candidates(name: str) -> Iterator[str]:
    folders = [None, str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    paths = (shutil.which(name, path=folder) for folder in folders)
    return (path for path in dict.fromkeys(paths) if path)


def _find_cmake() -> str | None:
    for path in _candidates("cmake"):
        try:
            result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        except OSError:
            continue
        version = re.search(r"version (\d+)\.(\d+)", result.stdout)
        if version and (int(version[1]), int(version[2])) >= LEAST_CMAKE:
            return path
    return None


def find_gpus() -> list[tuple[int, int]]:
    """Compute capabilities of the NVIDIA GPUs of this machine, each once; empty where there is no driver."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    command = [program, "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted({(int(major), int(minor)) for major, minor in re.findall(r"^(\d+)\.(\d+)\s*$", result.stdout, re.M)})


def compile_operators(
    sources: Path,
    target: Path,
    version: str,
    temporary: Path,
    *,
    torch: Torch,
    options: Mapping[str, str] | None = None,
    jobs: int | None = None,
) -> str:
    """Compiles the operators, and the module that says how they were built.

    Args:
        sources: Folder of CMakeLists.txt.
        target: Folder that gets `LIBRARY` and ``_build.*.so``.
        version: Of abawkit, noted in the binary.
        temporary: Folder for what is in between; its ``native`` is replaced.
        torch: That it is compiled against.
        options: Of CMake, as ``ABAWKIT_CUDA``; those of the environment are the default.
        jobs: Compilers at the same time; by default those of ninja.

    Returns:
        All that the commands said.

    Raises:
        NotBuiltError: If something is missing, or a command failed: with the compiler's own line.
    """
    programs = find_programs()
    import pybind11

    folder = temporary.resolve() / "native"
    definitions = {
        "CMAKE_MAKE_PROGRAM": programs["ninja"],
        "ABAWKIT_EXTENSION": "ON",
        "ABAWKIT_TORCH": str(torch.folder),
        "ABAWKIT_TORCH_VERSION": torch.version,
        "ABAWKIT_VERSION": version,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "PYBIND11_FINDPYTHON": "ON",
        "CMAKE_INSTALL_PREFIX": str(target.resolve()),
        **{name: os.environ[name] for name in ("ABAWKIT_CUDA", "ABAWKIT_CUDA_ARCHITECTURES") if os.environ.get(name)},
        **(options or {}),
    }
    shutil.rmtree(folder, ignore_errors=True)
    cmake = programs["cmake"]
    configure = ["-S", str(sources), "-B", str(folder), "-G", "Ninja", *(f"-D{k}={v}" for k, v in definitions.items())]
    said = run_command(cmake, *configure)
    parallel = ["--parallel", str(jobs)] if jobs else []
    return said + run_command(cmake, "--build", str(folder), "--target", "install", *parallel)


def run_command(program: str, *arguments: str) -> str:
    """Runs a command.

    Returns:
        What it said.

    Raises:
        NotBuiltError: If it fails, with the line that says why.
    """
    name = f"`{Path(program).name} {arguments[0]}`"
    try:
        result = subprocess.run([program, *arguments], capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    except OSError as error:
        raise NotBuiltError(f"{name} can't be started: {error.strerror}") from error
    text = result.stdout + result.stderr
    if result.returncode:
        raise NotBuiltError(f"{name} failed: {find_error(text) or f'exit code {result.returncode}'}", text)
    return text


def find_error(text: str) -> str:
    """The line of a build's output that says what is wrong; empty where none does."""
    joined = re.sub(r"\(message\):\s+", "", text)  # what CMakeLists.txt says is a line after the one that says where
    lines = [line.strip() for line in joined.splitlines()]
    for telling in _DIAGNOSTICS:
        for line in lines:
            if telling.search(line):
                return line[:_MOST_CHARACTERS]
    return ""
