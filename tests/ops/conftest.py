"""Inputs of the operator for any sizes, and a registry that remembers nothing."""

from collections.abc import Callable, Iterator

import pytest

from abawkit.ops import registry
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import Inputs, make_random_inputs

SMALL = Sizes(channels=24, height=3, width=5, heads=2, squeezed=4)


@pytest.fixture
def make() -> Callable[..., Inputs]:
    """`random_inputs(images, sizes, seed=, dtype=, device=, gradients=, weights_dtype=)`."""
    return make_random_inputs


@pytest.fixture
def sizes() -> Sizes:
    """Sizes that are quick, and all different, so that no two can be mixed up unnoticed."""
    return SMALL


@pytest.fixture
def inputs(sizes: Sizes) -> Inputs:
    """Three images of small sizes, in float32."""
    return make_random_inputs(3, sizes)


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing chosen or warned of before, and nothing of this test after it."""
    monkeypatch.delenv("ABAWKIT_OPS", raising=False)
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()
