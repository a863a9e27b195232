"""Folded weights are made once, and again after every change."""

import copy
import pickle

import pytest
import torch

from abawkit.models.attention import DualDirectionAttention
from abawkit.ops import use
from abawkit.ops.native import Native


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each folding."""
    found: list[int] = []
    fold = Native.fold
    with use("native"), torch.no_grad():
        attention()(X)  # the self-check of this kind of call folds too

    def counted(self: Native, *args: object, **kwargs: object) -> object:
        found.append(1)
        return fold(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Native, "fold", counted)
    return found


def attention() -> DualDirectionAttention:
    torch.manual_seed(0)
    module = DualDirectionAttention(20, 4, 3, 2).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


X = torch.randn(2, 20, 4, 3, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_unchanged_weights_are_folded_once(folds: list[int]) -> None:
    module = attention()
    with use("native"):
        for _ in range(3):
            module(X)
    assert len(folds) == 1


CHANGES = {
    "an optimiser's step": lambda m: m.row_weight.add_(0.1),
    "loading a state dict": lambda m: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}),
    "running statistics": lambda m: m.pool_norm.running_mean.add_(1.0),
    "another parameter in its place": lambda m: setattr(m, "pool_weight", torch.nn.Parameter(m.pool_weight * 2)),
    "a module in its place": lambda m: setattr(m, "row_gate", torch.nn.Conv1d(16, 40, 1, groups=2)),
    "a change through .data between modes": lambda m: (m.train(), m.row_weight.data.mul_(3), m.eval()),
    "another type and back": lambda m: m.half().float(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@torch.no_grad()
def test_changed_weights_are_folded_anew(folds: list[int], change) -> None:  # type: ignore[no-untyped-def]
    module = attention()
    with use("native"):
        module(X)
        change(module)
        found, _ = module(X)
    with use("reference"):
        expected, _ = module(X)
    assert len(folds) == 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_weights_made_in_inference_mode_are_folded_each_time(folds: list[int]) -> None:
    module = attention()
    with use("native"):
        module(X)
        module(X)
    assert len(folds) == 2


@torch.no_grad()
def test_a_copy_and_a_pickle_start_without_folded_weights(folds: list[int]) -> None:
    module = attention()
    with use("native"):
        expected, _ = module(X)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - our own bytes
            other.row_weight.mul_(2)
            assert not torch.equal(other(X)[0], expected)
        assert torch.equal(module(X)[0], expected)
    assert len(folds) == 3
