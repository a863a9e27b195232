"""Inputs of the operator for any sizes, a registry that remembers nothing, and tests that need a GPU."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from abawkit.ops import registry
from abawkit.ops.base import Call
from abawkit.ops.examples import Inputs, random_inputs
from abawkit.ops.native import Native
from abawkit.ops.parameters import Sizes

SMALL = Sizes(channels=24, height=3, width=5, heads=2, squeezed=4)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests for GPUs where none can run them, or fails them where one was promised."""
    if item.get_closest_marker("gpu") is None:
        return
    if torch.cuda.is_available():
        call = Call(torch.device("cuda", 0), torch.float32, SMALL, training=True, gradients=True)
        reason = "; ".join(Native().reasons(call))
    else:
        reason = "torch.cuda.is_available() is False"
    if reason and os.environ.get("ABAWKIT_REQUIRE_GPU") == "1":
        pytest.fail(f"no GPU to test on, and ABAWKIT_REQUIRE_GPU=1: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"no GPU to test on: {reason}")


@pytest.fixture
def make() -> Callable[..., Inputs]:
    """`random_inputs(images, sizes, seed=, dtype=, device=, gradients=, weights_dtype=)`."""
    return random_inputs


@pytest.fixture
def sizes() -> Sizes:
    """Sizes that are quick, and all different, so that no two can be mixed up unnoticed."""
    return SMALL


@pytest.fixture
def inputs(sizes: Sizes) -> Inputs:
    """Three images of small sizes, in float32."""
    return random_inputs(3, sizes)


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing chosen or warned of before, and nothing of this test after it."""
    monkeypatch.delenv("ABAWKIT_OPS", raising=False)
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()
