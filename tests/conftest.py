"""A tiny synthetic release, its curated set and the example plugin, made once for all tests that need them.

Tests under the `gpu` marker are skipped or fail where there is no GPU to run them.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from abawkit.curation import curate, find_sources
from abawkit.ops.base import Call
from abawkit.ops.native import Native
from abawkit.ops.testing import DDAMFN_SIZES
from abawkit.synth import write_release

PLUGIN = Path(__file__).parents[1] / "examples/plugin"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes take longest, so they come first: at the end no worker waits for another."""
    items.sort(key=lambda item: not any(item.iter_markers("faults")) and not any(item.iter_markers("e2e")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests for GPUs where none can run them, or fails them where one was promised."""
    if item.get_closest_marker("gpu") is None:
        return
    if torch.cuda.is_available():
        call = Call(torch.device("cuda", 0), torch.float32, DDAMFN_SIZES, training=True, gradients=True)
        reason = "; ".join(Native().reasons(call))
    else:
        reason = "torch.cuda.is_available() is False"
    if reason and os.environ.get("ABAWKIT_REQUIRE_GPU") == "1":
        pytest.fail(f"no GPU to test on, and ABAWKIT_REQUIRE_GPU=1: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"no GPU to test on: {reason}")


@pytest.fixture
def plain_float32() -> Iterator[None]:
    """Float32 is float32 on a GPU too: by default its convolutions round to TF32, 11 bits."""
    cudnn: Any = torch.backends.cudnn
    settings = [cudnn.conv, torch.backends.cuda.matmul]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    yield
    for setting, precision in zip(settings, before, strict=True):
        setting.fp32_precision = precision


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What abawkit keeps for the user is kept for the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives a folder of this name, which the first worker that asks for it fills, for all; no test changes it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, fill: Callable[[Path], object]) -> Path:
        folder = base / "shared" / name
        folder.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.fstat(lock.fileno()).st_size:
                fill(folder)
                lock.write("filled")
        return folder

    return once


@pytest.fixture(scope="session")
def release(once: Callable[..., Path]) -> Path:
    return once("release", lambda folder: write_release(folder, size="tiny", workers=1))


@pytest.fixture(scope="session")
def curated(release: Path, once: Callable[..., Path]) -> Path:
    return once("curated", lambda folder: curate(find_sources(release), folder, policy="per-task", workers=1))


@pytest.fixture(scope="session")
def encoded(release: Path, once: Callable[..., Path]) -> Path:
    """The same curated set with frames of the encoded form."""

    def fill(folder: Path) -> None:
        curate(find_sources(release), folder, policy="per-task", pack="encoded", workers=1)

    return once("encoded", fill)


def install_plugin(folder: Path) -> None:
    target, copy = folder / "installed", folder / "source"
    (copy / "src/abawkit_example").mkdir(parents=True)
    for path in PLUGIN.rglob("*.[pt][yo]*"):  # a copy: building leaves files beside the sources
        if path.suffix in (".py", ".toml") and "build" not in path.parts:
            (copy / path.relative_to(PLUGIN)).write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    built = subprocess.run([*pip, *options, str(copy)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="session")
def plugin_environment(once: Callable[..., Path]) -> dict[str, str]:
    """An environment in which the plugin is installed: built by pip, without a network, into a folder of its own."""
    target = once("plugin", install_plugin) / "installed"
    clean = {name: value for name, value in os.environ.items() if name != "ABAWKIT_OPS"}
    return {**clean, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many inputs the fuzz targets were given."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "when")]
    counts = [dict(report.user_properties).get("fuzz", {}) for report in reports if report.when == "call"]
    if total := sum(sum(count.values()) for count in counts):
        terminalreporter.write_line(f"fuzz: {total:,} inputs")
