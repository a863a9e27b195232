"""Checks the installation: what was found, and how to fix each problem."""

import os
import platform
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import abawkit
from abawkit.system.filesystems import find_file_system
from abawkit.system.native_build import COMMAND, LEAST_TORCH, NotBuiltError, add_remedy, find_gpus, find_programs
from abawkit.system.native_cache import find_builds_folder

PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "pydantic", "safetensors", "pillow", "simplejpeg")

CONSTRAINTS = Path(abawkit.__file__).parents[1] / "constraints.txt"
"""Of a checkout: the versions that the tests run with."""

MIN_DISK_BYTES = 8 * 10**9
"""Bytes: the packed frames of the official release take 6.4 GB."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        found: What was found.
        ok: Whether abawkit can work with it.
        fix: How to fix it; empty where nothing is wrong.
    """

    name: str
    found: str
    ok: bool = True
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where the key of `fix` is ``mend``."""
        return {"name": self.name, "found": self.found, "ok": self.ok, "mend": self.fix}


def check_installation(folder: Path) -> list[Finding]:
    """Runs all checks; `folder` is where curated sets and runs will be, whose disk is measured."""
    return [
        Finding("abawkit", abawkit.__version__),
        _check_python(),
        *(_check_package(name) for name in PACKAGES),
        *_check_torch(),
        _check_operators(),
        _check_decoder(),
        *_check_processors(),
        _check_disk(folder),
        _check_writable("folder", folder, "give another folder with --folder, or make this one writable"),
        _check_file_system(folder),
        _check_temporary(),
        _check_cache(),
        _check_shared_memory(),
    ]


def _check_python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("Python", platform.python_version(), good, "" if good else "install Python 3.11 or later")


def _check_package(name: str) -> Finding:
    pinned = " -c constraints.txt" if CONSTRAINTS.is_file() else ""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "not installed", False, f"pip install {name}{pinned}")
    least = _read_requirements().get(name, "")
    if least and _parse_release(found) < _parse_release(least):
        return Finding(name, f"{found}, older than {least}", False, f"pip install '{name}>={least}'{pinned}")
    return Finding(name, found)


def _read_requirements() -> dict[str, str]:
    """The lowest version of each package in abawkit's metadata; empty where it is not installed."""
    try:
        lines = requires("abawkit") or []
    except PackageNotFoundError:
        return {}
    found = (re.fullmatch(r"([\w.-]+) ?>=([\d.]+)", line.partition(";")[0].strip()) for line in lines)
    return {match[1].lower(): match[2] for match in found if match}


def _parse_release(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (2, 13, 0) of 2.13.0+cpu."""
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part)  # type: ignore[index]


def _check_torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken torch raises anything; the other checks go on
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        pinned = " -c constraints.txt" if CONSTRAINTS.is_file() else ""
        yield Finding("torch works", f"no: {reason}", False, f"pip install --force-reinstall torch{pinned}")
        return
    if _parse_release(torch.__version__) < LEAST_TORCH:
        yield Finding("torch works", "too old to load weights safely", False, "pip install 'torch>=2.10'")
    yield Finding("torch threads", str(torch.get_num_threads()))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            yield Finding(f"GPU {i}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
        return
    compiled = torch.version.cuda
    if compiled and shutil.which("nvidia-smi"):
        fix = f"update the NVIDIA driver to one for CUDA {compiled}"
        yield Finding("GPU", f"there is a driver, but torch (CUDA {compiled}) finds no device", False, fix)
    elif not compiled and find_gpus():
        found = f"there is an NVIDIA GPU, but torch {torch.__version__} is a build for CPUs"
        yield Finding("GPU", found, False, f"install a build of torch for CUDA, then run `{COMMAND}`")
    else:
        yield Finding("GPU", "none; training runs on the CPU")


def _check_operators() -> Finding:
    """The operators that run here, and why better ones do not."""
    try:
        return _find_operators()
    except Exception as error:  # torch is broken, which has a finding of its own
        return Finding("operators", f"not checked: {(str(error) or type(error).__name__).splitlines()[0]}")


def _find_operators() -> Finding:
    import torch

    from abawkit.errors import OpUnavailableError
    from abawkit.ops.availability import list_devices
    from abawkit.ops.base import Call
    from abawkit.ops.native_library import GPU_TOO_OLD
    from abawkit.ops.registry import VARIABLE, Offer, find_best, find_request, select
    from abawkit.ops.testing import DDAMFN_SIZES

    words: list[str] = []
    passed: dict[str, tuple[Offer, str]] = {}
    for device in list_devices():
        calls = [Call(device, torch.float32, DDAMFN_SIZES, training=t, gradients=t) for t in (False, True)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the finding has the same reasons
                names = dict.fromkeys(select(call).name for call in calls)
        except OpUnavailableError as error:
            fix = f"unset {VARIABLE}, or name one that runs" if find_request() else "run `abawkit ops` to see why"
            return Finding("operators", f"none: {str(error).splitlines()[0]}", False, fix)
        words.append(f"{' and '.join(names)} on {device}")
        found = [] if find_request() else [find_best(call) for call in calls]
        passed |= {offer.name: (offer, "; ".join(reasons)) for f in found for offer, reasons in f.passed}
    fix = ""
    for offer, reason in passed.values():
        words.append(f"not {offer.name}: {reason}")
        if offer.name == "native":
            fix = fix if reason.startswith(GPU_TOO_OLD) else _describe_build()
        elif offer.implementation is None:
            fix = f"update {offer.package}, or uninstall it"
    return Finding("operators", "; ".join(words), not fix, fix)


def _describe_build() -> str:
    """How to compile the native operators, with what has to be installed first."""
    try:
        find_programs()
    except NotBuiltError as error:
        return add_remedy(str(error))
    return COMMAND


def _check_decoder() -> Finding:
    """Decodes a frame: an import alone can succeed without the library behind it."""
    try:
        import io

        from PIL import Image

        from abawkit.frames.decode import decode

        buffer = io.BytesIO()
        Image.new("RGB", (112, 112), (200, 100, 50)).save(buffer, "JPEG")
        decode(buffer.getvalue(), "doctor.jpg")
    except Exception as error:
        return Finding("JPEG decoder", f"fails: {error}", False, "pip install --force-reinstall simplejpeg pillow")
    return Finding("JPEG decoder", "works")


def _check_processors() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0))
    yield Finding("processors", f"{usable} of {os.cpu_count()}")
    quota = read_cpu_quota(Path("/sys/fs/cgroup"))
    if quota is None:
        yield Finding("CPU quota", "none")
    else:
        good = quota >= usable - 0.5
        fix = f"set OMP_NUM_THREADS={max(1, round(quota))}, or threads wait for each other"
        yield Finding("CPU quota", f"{quota:g} processors", good, "" if good else fix)


def read_cpu_quota(cgroup: Path) -> float | None:
    """CPU quota of the container, in processors, from its control groups (version 2 or 1); None without a limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in ("max", "-1") else int(limit) / int(period)


def _check_disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    fix = "" if free >= MIN_DISK_BYTES else "free some, or use another disk: the official frames take 6.4 GB packed raw"
    return Finding("disk", f"{free / 1e9:.1f} GB free in {folder.resolve()}", free >= MIN_DISK_BYTES, fix)


def _check_writable(name: str, folder: Path, fix: str) -> Finding:
    """Writes a file: permissions alone don't tell of a read-only or full disk, and root has them all."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return Finding(name, f"{folder.absolute()} can't be written to: {error.strerror or error}", False, fix)
    return Finding(name, f"{folder.absolute()} can be written to")


def _check_file_system(folder: Path) -> Finding:
    """The type of the file system, with what it does not promise; there is nothing to fix."""
    system = find_file_system(folder)
    return Finding("file system", ": ".join(filter(None, (system.type or "not known", system.explain_weakness()))))


def _check_temporary() -> Finding:
    try:
        folder = Path(tempfile.gettempdir())
    except OSError:
        return Finding("temporary files", "no writable folder", False, "set TMPDIR to a folder that can be written to")
    return _check_writable("temporary files", folder, "set TMPDIR to a folder that can be written to")


def _check_cache() -> Finding:
    """Where self-checks and builds of the operators are kept; a folder that is not there yet has to be made."""
    folder = find_builds_folder().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return _check_writable("cache", existing, "set XDG_CACHE_HOME to a folder that can be written to")


def _check_shared_memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108 - measured, not used
    if not folder.is_dir():
        fix = "mount /dev/shm, which processes pass frames through"
        return Finding("shared memory", "no /dev/shm here", False, fix)
    free = shutil.disk_usage(folder).free
    good = free >= 64 * 2**20
    fix = "" if good else "start the container with --shm-size=1g"
    return Finding("shared memory", f"{free / 2**20:.0f} MiB free in {folder}", good, fix)
