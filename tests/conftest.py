"""A tiny procedural release and its curated set, drawn once for all tests that need data."""

from pathlib import Path

import pytest
import torch

from abawkit.curation import curate, locate
from abawkit.synth import write_release


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    write_release(folder, size="tiny", workers=1)
    return folder


@pytest.fixture(scope="session")
def curated(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    curate(locate(release), folder, policy="per-task", workers=1)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many inputs the fuzz targets were given."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "when")]
    counts = [dict(report.user_properties).get("fuzz", {}) for report in reports if report.when == "call"]
    if total := sum(sum(count.values()) for count in counts):
        terminalreporter.write_line(f"fuzz: {total:,} inputs")
