"""Entry point of the build: what the package is made of stands in pyproject.toml, native code in CMakeLists.txt.

Without a compiler, or without torch, abawkit installs as pure Python and keeps the reason for `abawkit ops`.
``ABAWKIT_NATIVE``: ``auto`` (the default), ``require`` (a failed build is an error) or ``skip``. ``ABAWKIT_CUDA`` and
``ABAWKIT_CUDA_ARCHITECTURES`` (``80;90``) go on to CMake.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGE = Path("abawkit") / "ops"
NOTE = "build_note.txt"
LEAST_TORCH = (2, 10)


class NotBuiltError(Exception):
    """Native code can't be built here; the message says why and what would help."""


class BuildNative(build_ext):  # type: ignore[misc]
    """Runs CMake, and falls back to a note that says why there is nothing."""

    def run(self) -> None:
        """Builds into the package: of the wheel, or of the source tree for an editable install."""
        editable = self.inplace or getattr(self, "editable_mode", False)
        target = (ROOT if editable else Path(self.build_lib)) / PACKAGE
        target.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("ABAWKIT_NATIVE") or "auto"
        if mode not in ("auto", "require", "skip"):
            raise SystemExit(f"ABAWKIT_NATIVE={mode}: expected auto, require or skip")
        for old in (*target.glob("_build.*.so"), *target.glob("libabawkit_operators.*"), *target.glob(NOTE)):
            old.unlink()
        note = ""
        if mode == "skip":
            note = "left out when abawkit was installed (ABAWKIT_NATIVE=skip)"
        else:
            try:
                build(target, self.distribution.get_version(), Path(self.build_temp))
            except NotBuiltError as error:
                if mode == "require":
                    raise SystemExit(f"ABAWKIT_NATIVE=require, but native operators can't be built: {error}") from error
                note = str(error)
                print(f"abawkit: installing without native operators: {note}", file=sys.stderr)  # noqa: T201
        (target / NOTE).write_text(note, encoding="utf-8")

    def get_outputs(self) -> list[str]:
        """Files that `run` leaves, for the list of what is installed."""
        folder = Path(self.build_lib) / PACKAGE
        return [str(path) for pattern in (NOTE, "*.so") for path in folder.glob(pattern)]

    def get_output_mapping(self) -> dict[str, str]:
        """Nothing is built in one place and used from another."""
        return {}


def find_torch() -> tuple[Path, str]:
    """Folder and version of the torch that abawkit will run with.

    pip builds in an environment of its own, where torch can't be imported; it stands where packages are installed.
    """
    places = [sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]
    spec = importlib.util.find_spec("torch")
    found = [Path(spec.origin).parent] if spec and spec.origin else []
    for folder in (*found, *(Path(place) / "torch" for place in places)):
        text = folder / "version.py"
        if (folder / "include").is_dir() and text.is_file():
            version = re.search(r"__version__ = '([^']+)'", text.read_text())
            if version:
                return folder, version[1]
    raise NotBuiltError("torch was not installed when abawkit was; install torch, then abawkit again")


def build(target: Path, version: str, temporary: Path) -> None:
    """Compiles everything and puts it into `target`.

    Raises:
        NotBuiltError: If something is missing, or a command failed.
    """
    torch, torch_version = find_torch()
    if tuple(int(part) for part in torch_version.split("+")[0].split(".")[:2]) < LEAST_TORCH:
        raise NotBuiltError(f"torch {torch_version} is older than 2.10, whose stable interface is needed")
    programs = {name: shutil.which(name) for name in ("cmake", "ninja")}
    absent = [name for name, path in programs.items() if not path]
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    absent += [] if any(shutil.which(compiler) for compiler in compilers) else ["a C++ compiler"]
    if importlib.util.find_spec("pybind11") is None:
        absent.append("pybind11")
    if absent:
        raise NotBuiltError(f"not found: {', '.join(absent)}; install it, then abawkit again")
    import pybind11

    folder = temporary.resolve() / "native"
    options = {
        "ABAWKIT_EXTENSION": "ON",
        "ABAWKIT_TORCH": str(torch),
        "ABAWKIT_TORCH_VERSION": torch_version,
        "ABAWKIT_VERSION": version,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "PYBIND11_FINDPYTHON": "ON",
        "CMAKE_INSTALL_PREFIX": str(target.resolve()),
        **{name: os.environ[name] for name in ("ABAWKIT_CUDA", "ABAWKIT_CUDA_ARCHITECTURES") if os.environ.get(name)},
    }
    shutil.rmtree(folder, ignore_errors=True)
    run("cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items()))
    run("cmake", "--build", str(folder), "--target", "install")


def run(*command: str) -> None:
    """Runs a command; what it says is shown only if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        text = result.stdout + result.stderr
        print(text, file=sys.stderr)  # noqa: T201
        telling = re.compile(r"\berror\b|FAILED:|The C\+\+ compiler", re.IGNORECASE)
        joined = re.sub(
            r"\(message\):\s+", "", text
        )  # what CMakeLists.txt says is a line after the one that says where
        lines = [line.strip() for line in joined.splitlines() if telling.search(line)]
        raise NotBuiltError(f"`{command[0]} {command[1]}` failed: {(lines or ['see above'])[0][:200]}")


setup(ext_modules=[Extension("abawkit.ops._build", sources=[])], cmdclass={"build_ext": BuildNative})
