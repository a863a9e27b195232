"""Runs tests for GPUs, wherever they are, with torch's own kernels computed on the host: ``pytest -p``."""

from collections.abc import Iterator

import pytest

from tests.gpu_standin.host_kernels import host_kernels_in_all_threads


@pytest.fixture(autouse=True)
def _host_kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("gpu") is None:
        yield
        return
    with host_kernels_in_all_threads():
        yield
