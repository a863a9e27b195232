"""The device that a test runs on: the CPU, which shows that the test itself works, and a GPU where there is one."""

import pytest


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(autouse=True)
def exact(plain_float32: None) -> None:
    """In every test of this folder float32 is float32."""
