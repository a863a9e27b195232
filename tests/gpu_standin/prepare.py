"""Makes an environment: a CUDA build of torch, the stand-in runtime, abawkit with its CUDA programs on the host.

``python prepare.py FOLDER torch==2.10.0`` installs into FOLDER what is missing there: torch without NVIDIA's libraries
and triton, the packages that abawkit and its tests need, NVIDIA's headers of the runtime. What is built of this
checkout is brought up to date each time. A third argument is another such FOLDER, whose operators are taken: they are
on torch's stable interface, so what the oldest torch compiled must serve the newest.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TORCH_NEEDS: Final = ("filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools")
TOOLS: Final = ("pytest", "cmake")

HEADERS: Final = {
    12: ("nvidia-cuda-runtime-cu12", "nvidia-cuda-nvcc-cu12"),
    13: ("nvidia-cuda-runtime", "nvidia-cuda-crt"),
}
"""Packages with ``cuda_runtime_api.h`` and what it includes, by CUDA's major version."""


def run(*command: str | Path, **environment: str) -> str:
    """Standard output of a command; what it writes is shown if it fails.

    Raises:
        SystemExit: If it fails.
    """
    given = [str(part) for part in command]
    result = subprocess.run(given, capture_output=True, text=True, check=False, env=os.environ | environment)
    if result.returncode:
        raise SystemExit(f"{' '.join(given)}\n{result.stdout}{result.stderr}")
    return result.stdout


class Environment:
    """A virtual environment in a folder, and where its packages are."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder.resolve(), folder.resolve() / "bin" / "python"
        if not self.python.is_file():
            run(sys.executable, "-m", "venv", folder)
        self.packages = Path(self.ask("import sysconfig; print(sysconfig.get_path('platlib'))"))

    def ask(self, code: str) -> str:
        """What a line of Python prints there."""
        return run(self.python, "-c", code).strip()

    def install(self, *arguments: str | Path, **environment: str) -> None:
        """Runs pip."""
        run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments, **environment)

    def torch_fact(self, name: str) -> str:
        """A value of ``torch/version.py``, which is read without importing torch."""
        found = re.search(
            rf"^{name}\b.*= '([^']+)'", (self.packages / "torch" / "version.py").read_text(), re.MULTILINE
        )
        if found is None:
            raise SystemExit(f"torch in {self.folder} has no {name}: it must be a build for CUDA")
        return found[1]


def install_packages(environment: Environment, torch: str) -> None:
    """Installs torch alone, and the packages of constraints.txt that abawkit and torch need besides."""
    environment.install("--no-deps", torch)
    constraints = environment.folder / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    constraints.write_text("".join(f"{line}\n" for line in lines if not line.startswith("torch=")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [name for name in project["dependencies"] if not name.startswith("torch")]
    environment.install("--constraint", constraints, *needs, *TORCH_NEEDS, *TOOLS)


def install_headers(environment: Environment) -> Path:
    """Installs NVIDIA's headers into a folder of their own, beside which no library of NVIDIA's is found."""
    cuda = environment.torch_fact("cuda")
    headers = environment.folder / "headers"
    if not headers.is_dir():
        packages = [f"{name}=={cuda}.*" for name in HEADERS[int(cuda.split(".")[0])]]
        environment.install("--no-deps", "--target", headers, *packages)
    return headers


def operators_of(folder: Path) -> Path:
    """Where the compiled operators of an environment are."""
    return folder.resolve() / "native" / "installed"


def build_operators(environment: Environment) -> None:
    """Compiles the binding, with the CUDA programs for the host."""
    build = environment.folder / "native"
    version = re.search(r'__version__ = "([^"]+)"', (ROOT / "abawkit" / "__init__.py").read_text())
    options = {
        "ABAWKIT_CUDA": "host",
        "ABAWKIT_EXTENSION": "ON",
        "ABAWKIT_TORCH": environment.packages / "torch",
        "ABAWKIT_TORCH_VERSION": environment.torch_fact("__version__"),
        "ABAWKIT_VERSION": version[1] if version else "",
        "CMAKE_INSTALL_PREFIX": operators_of(environment.folder),
        "CMAKE_MAKE_PROGRAM": environment.folder / "bin" / "ninja",
        "PYBIND11_FINDPYTHON": "ON",
        "Python_EXECUTABLE": environment.python,
        "pybind11_DIR": environment.ask("import pybind11; print(pybind11.get_cmake_dir())"),
    }
    cmake = environment.folder / "bin" / "cmake"
    run(cmake, "-S", ROOT, "-B", build, "-G", "Ninja", *(f"-D{name}={value}" for name, value in options.items()))
    run(cmake, "--build", build, "--target", "install")


def install_abawkit(environment: Environment, operators: Path) -> None:
    """Installs the Python sources as a package, with these operators; tests are found in the checkout."""
    environment.install("--no-deps", "--no-build-isolation", "--force-reinstall", ROOT, ABAWKIT_NATIVE="skip")
    target = environment.packages / "abawkit" / "ops"
    for path in operators.glob("*.so"):
        (target / path.name).write_bytes(path.read_bytes())
    (target / "build_note.txt").write_text("")
    (environment.packages / "abawkit_tests.pth").write_text(f"{ROOT}\n")


def main(folder: Path, torch: str, operators: Path | None = None) -> None:
    """Installs and builds what is missing or out of date.

    Args:
        folder: Of the environment.
        torch: What pip is asked for.
        operators: Folder of the environment whose operators are taken; None builds them.
    """
    environment, done = Environment(folder), folder / "installed.txt"
    if not done.is_file() or done.read_text() != torch:
        install_packages(environment, torch)
        done.write_text(torch)
    headers = install_headers(environment)
    run(environment.python, Path(__file__).with_name("build_runtime.py"), headers, environment.folder / "runtime")
    if operators is None:
        build_operators(environment)
    install_abawkit(environment, operators_of(operators or folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(Path, sys.argv[3:]))
