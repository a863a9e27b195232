"""The device that a test runs on: the CPU, which shows that the test itself works, and a GPU where there is one."""

import os

import pytest

# cuBLAS reads it when it is first used, and adds in the same order each time only where it is set.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(autouse=True)
def exact(plain_float32: None) -> None:
    """In every test of this folder float32 is float32."""
