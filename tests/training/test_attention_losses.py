"""The two attention losses against attention maps that are written out."""

import sys
from itertools import combinations

import pytest
import torch
from torch import Tensor

from abawkit.ops import Gates, attention_mse
from abawkit.training.losses import ATTENTION_LOSSES


def random_gates(heads: int) -> Gates:
    generator = torch.Generator().manual_seed(heads)
    return Gates(*(torch.rand(3, heads, 5, side, generator=generator, dtype=torch.float64) for side in (7, 6)))


def explicit_mse(gates: Gates) -> Tensor:
    maps = gates.rows.unsqueeze(-1) * gates.columns.unsqueeze(-2)
    pairs = list(combinations(range(maps.shape[1]), 2))
    return torch.stack([((maps[:, i] - maps[:, j]) ** 2).mean() for i, j in pairs]).mean()


def loss(kind: str, gates: Gates) -> Tensor:
    return {str(name): value for name, value in ATTENTION_LOSSES.items()}[kind](attention_mse(gates))


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_diversity_is_the_inverse_of_the_mean_over_pairs(heads: int) -> None:
    gates = random_gates(heads)
    expected = 1 / (explicit_mse(gates) + sys.float_info.epsilon)
    assert loss("diversity", gates).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_consistency_is_the_mean_over_pairs(heads: int) -> None:
    gates = random_gates(heads)
    assert loss("consistency", gates).item() == pytest.approx(explicit_mse(gates).item(), rel=1e-12)


def test_one_falls_as_heads_part_and_the_other_as_they_meet() -> None:
    gates = random_gates(2)
    mean = gates.rows.mean(dim=1, keepdim=True)
    nearer = Gates(mean + 0.5 * (gates.rows - mean), gates.columns)
    assert loss("diversity", nearer) > loss("diversity", gates)
    assert loss("consistency", nearer) < loss("consistency", gates)


def test_equal_heads_have_a_finite_diversity() -> None:
    gates = random_gates(1)
    twice = Gates(gates.rows.expand(-1, 2, -1, -1), gates.columns.expand(-1, 2, -1, -1))
    assert loss("diversity", twice).item() == pytest.approx(1 / sys.float_info.epsilon)


@pytest.mark.parametrize("kind", ["diversity", "consistency"])
def test_gradients_are_the_derivatives(kind: str) -> None:
    rows, columns = (gate.requires_grad_() for gate in random_gates(2))
    assert torch.autograd.gradcheck(lambda r, c: loss(kind, Gates(r, c)), (rows, columns), rtol=1e-3)
