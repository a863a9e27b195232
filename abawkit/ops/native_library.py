"""The compiled operators: finds the binary, checks that it fits this torch and GPU, and loads it."""

import ctypes
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

import abawkit
from abawkit.ops.processes import ADD
from abawkit.system.files import sha256_of
from abawkit.system.native_build import COMMAND, LEAST_CAPABILITY, LEAST_TORCH, LIBRARY
from abawkit.system.native_cache import Build, find_build, find_usable_build, list_built_versions

FOLDER: Final = Path(__file__).parent
"""Folder of the binary that was built when abawkit was installed, if there is one."""

REBUILD: Final = COMMAND

GPU_TOO_OLD: Final = "the CUDA kernels need a GPU of compute capability 8.0 or later"
"""Beginning of a refusal that no other build can change."""

_NO_NVCC: Final = "nvcc was not found"
_REMEDIES: Final = {_NO_NVCC: "install the CUDA toolkit", "ABAWKIT_CUDA=skip was set": "leave it unset"}
"""Remedies for the causes that CMakeLists.txt writes; any other cause is an error line of nvcc."""


def _parse_version(version: str) -> tuple[int, int]:
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int(minor)


@functools.cache
def find_cached_build() -> Build | None:
    """The build of `abawkit ops build` for this torch, if it is usable and newer than the package's own."""
    return find_usable_build(torch.__version__, FOLDER / LIBRARY)


@functools.cache
def read_build_facts() -> dict[str, str]:
    """The build options of the binary; empty where there is none. It need not fit this torch.

    Keys: ``abawkit``, ``compiler``, ``instruction_sets``, ``cuda`` (its version, or empty), ``cuda_refusal`` (why it is
    empty), ``cuda_architectures``, ``cuda_ptx``, ``torch``.
    """
    if build := find_cached_build():
        return build.facts
    try:
        module = importlib.import_module("abawkit.ops._build")
    except ImportError:
        return {}
    return {name: str(value) for name, value in vars(module).items() if not name.startswith("_")}


def explain_refusal(facts: dict[str, str], torch_version: str) -> str:
    """Why a binary with these facts can't be loaded into this torch; empty where it can."""
    if facts["abawkit"] != abawkit.__version__:
        return f"the binary is of abawkit {facts['abawkit']}, this is {abawkit.__version__}; rebuild: {REBUILD}"
    running, built = _parse_version(torch_version), _parse_version(facts["torch"])
    if running < LEAST_TORCH or running[0] != built[0]:
        return (
            f"the binary was built for torch {LEAST_TORCH[0]}.{LEAST_TORCH[1]} to {built[0]}.x (with {facts['torch']}),"
            f" torch {torch_version} runs; rebuild: {REBUILD}"
        )
    return ""


def explain_gpu_refusal(facts: dict[str, str], capability: tuple[int, int]) -> str:
    """Why a binary has no kernel for a GPU of this compute capability; empty where it has.

    Machine code runs on GPUs of its own major version and at least its minor one, PTX on all later ones; code for 90a
    on 9.0 alone. Source: CUDA C++ Programming Guide, sections on binary and PTX compatibility.
    """
    if not facts["cuda"]:
        cause = facts.get("cuda_refusal") or _NO_NVCC
        remedy = _REMEDIES.get(cause, "correct that (CUDAHOSTCXX names another host compiler)")
        return f"the binary was built without CUDA, as {cause}; {remedy}, then run `{REBUILD}`"
    for name in facts["cuda_architectures"].split():
        major, minor = divmod(int(name.rstrip("af")), 10)
        later = name.isdigit() and capability[0] == major and capability[1] > minor
        if later or capability == (major, minor):
            return ""
    if facts["cuda_ptx"] and capability >= divmod(int(facts["cuda_ptx"]), 10):
        return ""
    if capability < LEAST_CAPABILITY:
        here = f"{capability[0]}.{capability[1]}"
        return f"{GPU_TOO_OLD}, this one has {here}"
    wanted = f"{capability[0]}{capability[1]}"
    return (
        f"the binary has kernels for compute capabilities {facts['cuda_architectures']}, this GPU has {wanted}; "
        f"rebuild: {REBUILD}"
    )


@functools.cache
def probe_gpu(index: int) -> str:
    """Why the CUDA code of the loaded binary can't run on torch's GPU of this index; empty where it can."""
    function = ctypes.CDLL(str(_find_library())).abawkit_cuda_refusal
    function.argtypes = [ctypes.c_int32, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)]
    function.restype = ctypes.c_char_p
    driver, runtime = ctypes.c_int(), ctypes.c_int()
    reason = bytes(function(index, ctypes.byref(driver), ctypes.byref(runtime))).decode(errors="replace")
    if not reason:
        return ""
    return describe_cuda_failure(reason, driver.value, runtime.value, torch.version.cuda)


def describe_cuda_failure(reason: str, driver: int, runtime: int, torch_cuda: str | None) -> str:
    """A message with a remedy for an error of the CUDA runtime.

    Args:
        reason: The error message of the runtime.
        driver: The newest CUDA that the driver supports, 13020 for 13.2; 0 where unknown.
        runtime: The CUDA that the binary was built with, in the same form.
        torch_cuda: The CUDA that torch was built with, or None.
    """

    def version(number: int) -> str:
        return f"CUDA {number // 1000}.{number % 1000 // 10}" if number else "unknown"

    remedy = f"rebuild: {REBUILD}"
    if 0 < driver < runtime:
        remedy = f"update the NVIDIA driver, or, with the nvcc of {version(driver)}, {remedy}"
    return (
        f"its CUDA kernels can't be started: {reason} (driver: {version(driver)}, "
        f"torch: {f'CUDA {torch_cuda}' if torch_cuda else 'a build for CPUs'}, binary: {version(runtime)}); {remedy}"
    )


@functools.cache
def load() -> str:
    """Loads the operators, once. Returns why they can't be loaded, or an empty text."""
    facts = read_build_facts()
    if not facts:
        return _explain_absence()
    if reason := explain_refusal(facts, torch.__version__):
        return reason
    for module in ("torch_library", "mixed_block_library", "norm_prelu_library", "stem_library"):
        importlib.import_module(f"abawkit.ops.{module}")
    load_library: Callable[[Path], None] = torch.ops.load_library
    try:
        load_library(_find_library())
    except OSError as error:
        return f"can't be loaded ({error.__cause__ or error}); rebuild: {REBUILD}"
    return _set_sum()


def _set_sum() -> str:
    """Hands the sum over processes to the loaded operators. Returns why they don't take it, or an empty text."""
    try:
        ctypes.CDLL(str(_find_library())).abawkit_set_sum(ADD)
    except AttributeError:
        return f"the binary is older than synchronised batch norms; rebuild: {REBUILD}"
    return ""


def explain_missing_operator(name: str) -> list[str]:
    """Why the binary does not serve an operator on CPUs, in one phrase; empty where it does."""
    if reason := load():
        return [reason]
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"abawkit::{name}", "CPU"):
        return [f"the binary is older than this operator; rebuild: {REBUILD}"]
    return []


def _explain_absence() -> str:
    """Why there is no binary: the cached build is unusable or for another torch, or the note of the installation."""
    build = find_build(torch.__version__)
    if build and (reason := build.refusal()):
        return reason
    if versions := [version for version in list_built_versions() if version != torch.__version__]:
        return f"not built for torch {torch.__version__}, only for {', '.join(versions)}; build: {REBUILD}"
    note = FOLDER / "build_note.txt"
    reason = note.read_text().strip() if note.is_file() else ""
    if not reason:
        return f"not built; build: {REBUILD}"
    return f"not built: {reason}" if REBUILD in reason else f"not built: {reason}; run `{REBUILD}`"


@functools.cache
def digest_library() -> str:
    """SHA-256 of the compiled operators."""
    return sha256_of(_find_library())


def _find_library() -> Path:
    build = find_cached_build()
    return build.library if build else FOLDER / LIBRARY


def find_binary() -> Path | None:
    """The binary for this torch, which may not fit; None where there is none."""
    return _find_library() if read_build_facts() else None


@functools.cache
def has_bfloat16_products() -> bool:
    """Whether the CPU kernels multiply in bfloat16 on this processor; False without native operators."""
    if not read_build_facts():
        return False
    function = ctypes.CDLL(str(_find_library())).abawkit_has_bfloat16_products
    function.restype = ctypes.c_bool
    return bool(function())


def read_instruction_set() -> str:
    """The instruction set of the CPU kernels: the best of this processor, or that of ABAWKIT_CPU."""
    function = ctypes.CDLL(str(_find_library())).abawkit_instruction_set
    function.restype = ctypes.c_char_p
    return bytes(function()).decode()
