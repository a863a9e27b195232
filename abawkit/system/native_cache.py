"""Native operators that ``abawkit ops build`` compiled: in the user's cache, a folder for each torch.

A build is used if it was compiled from this abawkit's sources, for exactly the installed version of torch, and is not
damaged. Where the package holds a binary too, the newer of the two is used: what was built or installed last. Torch is
not imported.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import abawkit
from abawkit.errors import ConfigError
from abawkit.system.files import sha256, sha256_of, write_json
from abawkit.system.native_build import (
    COMMAND,
    LEAST_CAPABILITY,
    LIBRARY,
    NotBuiltError,
    Torch,
    compile_operators,
    find_gpus,
    find_torch,
)
from abawkit.system.shipped import NATIVE, PACKAGE, find_shipped, find_shipped_root

FACTS: Final = "facts.json"
LOG: Final = "build.log"

PACKAGED: Final = PACKAGE / "ops" / LIBRARY
"""The library that was compiled when abawkit was installed; absent where none was."""

_FORMAT: Final = 1

_LOAD: Final = """
import importlib.machinery, importlib.util, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
path = next(path for path in folder.glob("_build*.so"))
loader = importlib.machinery.ExtensionFileLoader("_build", str(path))
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_build", loader))
loader.exec_module(module)
facts = {name: str(value) for name, value in vars(module).items() if not name.startswith("_")}
import torch
import abawkit.ops.torch_library
torch.ops.load_library(folder / sys.argv[2])
print(json.dumps(facts))
"""
"""Loads what was compiled, in a process of its own: a library that ends its process is then an error."""


@dataclass(frozen=True)
class Build:
    """A build in the cache.

    Attributes:
        folder: That holds it.
        facts: How it was built, as `abawkit.ops.native_library.read_build_facts` has them.
        sources: Digest of the sources that it was compiled from.
        sha256: Of its library.
    """

    folder: Path
    facts: dict[str, str]
    sources: str
    sha256: str

    @property
    def library(self) -> Path:
        """The file that torch loads."""
        return self.folder / LIBRARY

    def refusal(self) -> str:
        """Why this build can't be used; empty where it can."""
        if self.facts["abawkit"] != abawkit.__version__ or self.sources != digest_sources():
            return f"the build in {self.folder} is of another abawkit; rebuild: {COMMAND}"
        try:
            whole = sha256_of(self.library) == self.sha256
        except OSError as error:
            return f"the build in {self.folder} can't be read ({error.strerror}); rebuild: {COMMAND}"
        return "" if whole else f"the build in {self.folder} is damaged (its SHA-256 differs); rebuild: {COMMAND}"


def find_builds_folder() -> Path:
    """Where the user's builds are: ``$XDG_CACHE_HOME/abawkit/native``, or ``~/.cache/abawkit/native``."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # `Path` raises without a home
    return Path(base) / "abawkit" / "native"


def name_build_folder(torch_version: str) -> Path:
    """Where the build for a version of torch is, whether there is one or not; machines and Pythons have their own."""
    name = f"torch-{torch_version}-{sys.implementation.cache_tag}-{platform.machine()}"
    return find_builds_folder() / re.sub(r"[^A-Za-z0-9.+_-]", "_", name)


def find_build(torch_version: str) -> Build | None:
    """The build for a version of torch, usable or not (`Build.refusal`); None where there is none."""
    folder = name_build_folder(torch_version)
    try:
        content = json.loads((folder / FACTS).read_bytes())
        facts = {str(name): str(value) for name, value in content["facts"].items()}
        if content["format"] != _FORMAT or not {"abawkit", "torch", "cuda"} <= facts.keys():
            return None
        return Build(folder, facts, str(content["sources"]), str(content["sha256"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def find_usable_build(torch_version: str, packaged: Path) -> Build | None:
    """The build that is used with a version of torch, or None where the package's own binary is, or nothing fits.

    Args:
        torch_version: Of the torch that runs.
        packaged: The library that the package holds, if it was compiled when abawkit was installed; it may be absent.
    """
    build = find_build(torch_version)
    if build is None or build.refusal():
        return None
    try:
        return build if build.library.stat().st_mtime >= packaged.stat().st_mtime else None
    except OSError:
        return build


def list_built_versions() -> list[str]:
    """Versions of torch that there are builds for, in this Python and on this kind of machine."""
    suffix = f"-{sys.implementation.cache_tag}-{platform.machine()}"
    folders = find_builds_folder().glob(f"torch-*{suffix}")
    return sorted(folder.name.removeprefix("torch-").removesuffix(suffix) for folder in folders)


@cache
def digest_sources() -> str:
    """Of the sources that this abawkit comes with; empty where they are absent."""
    root = find_shipped_root()
    files = sorted(path for name in NATIVE for path in _files(root / name))
    return sha256("\n".join(f"{path.relative_to(root)} {sha256_of(path)}" for path in files).encode()) if files else ""


def _files(path: Path) -> Iterator[Path]:
    return (found for found in (path.rglob("*") if path.is_dir() else [path]) if found.is_file())


@dataclass(frozen=True)
class Plan:
    """What is to be compiled.

    Attributes:
        torch: What it is compiled against.
        gpus: Compute capabilities of the GPUs that are here.
        options: Of CMake.
        words: What it is for, in words.
    """

    torch: Torch
    gpus: list[tuple[int, int]]
    options: dict[str, str]
    words: str


def plan_build(cuda: str | None = None) -> Plan:
    """Decides what to compile for: the torch that is installed, and the GPUs that are here.

    CUDA kernels are compiled for the GPUs that are here and, where a build for this torch has kernels for others, for
    those too, as several machines may share a home. A torch for CUDA without a GPU, as on the login node of a cluster,
    gets all architectures that nvcc knows; a torch for CPUs gets none.

    Args:
        cuda: ``auto``, ``require`` or ``skip``, as ABAWKIT_CUDA; None for what the environment says, else ``require``
            where there are GPUs that torch can use.

    Raises:
        NotBuiltError: If there is no torch.
    """
    torch = find_torch()
    usable = [gpu for gpu in find_gpus() if gpu >= LEAST_CAPABILITY] if torch.cuda else []
    wanted = cuda or os.environ.get("ABAWKIT_CUDA") or ("require" if usable else "auto" if torch.cuda else "skip")
    options = {"ABAWKIT_CUDA": wanted}
    words = f"torch {torch.version}, Python {platform.python_version()}"
    if wanted == "skip":
        return Plan(torch, usable, options, f"{words}, CPUs")
    if usable and not os.environ.get("ABAWKIT_CUDA_ARCHITECTURES"):
        before = find_build(torch.version)
        names = {f"{major}{minor}" for major, minor in usable}
        names |= set(before.facts.get("cuda_architectures", "").split()) if before else set()
        options["ABAWKIT_CUDA_ARCHITECTURES"] = ";".join(sorted(names, key=lambda name: (len(name), name)))
    gpus = ", ".join(f"{major}.{minor}" for major, minor in usable)
    return Plan(torch, usable, options, f"{words}, CPUs and GPUs" + (f" of compute capability {gpus}" if gpus else ""))


def is_built(plan: Plan) -> Build | None:
    """The build that is used here, if it is what a plan would compile, or None."""
    build = find_usable_build(plan.torch.version, PACKAGED)
    if build is None:
        return None
    names = set(build.facts.get("cuda_architectures", "").split())
    wanted = set(filter(None, plan.options.get("ABAWKIT_CUDA_ARCHITECTURES", "").split(";")))
    return build if plan.options["ABAWKIT_CUDA"] == "skip" or (names and wanted <= names) else None


def build_native(plan: Plan, *, jobs: int | None = None, say: Callable[[str], None] = lambda _: None) -> Build:
    """Compiles the operators into the user's cache; what was there before stays until the new build was loaded.

    Args:
        plan: What for.
        jobs: Compilers at the same time; by default as many as ninja starts.
        say: Called with lines for a person.

    Raises:
        ConfigError: If the cache can't be written to, or another process compiles.
        NotBuiltError: If something is missing, doesn't compile, or can't be loaded; where there is a log, it is named.
    """
    sources = find_shipped(NATIVE[0]).parent
    folder = name_build_folder(plan.torch.version)
    with _cache_folder() as root, _locked(root):
        staging = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
        log = root / LOG
        try:
            product = staging / "product"
            product.mkdir()
            try:
                text = compile_operators(
                    sources,
                    product,
                    abawkit.__version__,
                    staging,
                    torch=plan.torch,
                    options=plan.options,
                    jobs=jobs,
                )
                facts = _load(product)
            except NotBuiltError as error:
                if not error.output:
                    raise
                log.write_text(error.output)
                raise NotBuiltError(f"{error}\nthe whole output: {log}", error.output) from error
            say(text)
            content = {"format": _FORMAT, "facts": facts, "sources": digest_sources()}
            write_json(product / FACTS, {**content, "sha256": sha256_of(product / LIBRARY)})
            _replace(product, folder, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        log.unlink(missing_ok=True)
    build = find_build(plan.torch.version)
    assert build is not None, "it was written just now"  # noqa: S101
    return build


@contextmanager
def _cache_folder() -> Iterator[Path]:
    root = find_builds_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ConfigError(
            f"{root}: can't be written to ({error.strerror}); name a folder that can with XDG_CACHE_HOME"
        ) from error
    yield root


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One build at a time; what a killed one left is removed."""
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{root}: another `{COMMAND}` is at work; wait until it has ended") from error
        except OSError:  # a file system without locks: two builds then take time, and the last one stays
            pass
        else:
            for left in root.glob(".building-*"):
                shutil.rmtree(left, ignore_errors=True)
        yield


def _load(folder: Path) -> dict[str, str]:
    """Loads a build in a process of its own.

    Returns:
        How it was built.

    Raises:
        NotBuiltError: If it can't be loaded.
    """
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _LOAD, str(folder), LIBRARY],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise NotBuiltError(f"what was compiled can't be loaded: {last}", result.stderr)
    content: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {name: str(value) for name, value in content.items()}


def _replace(product: Path, folder: Path, staging: Path) -> None:
    """Puts a folder where another may be; processes that have loaded from that one keep its files."""
    if folder.exists():
        folder.rename(staging / "before")
    product.rename(folder)
