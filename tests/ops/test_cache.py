"""Folded weights are made once, and again after every change."""

import copy
import pickle
from typing import Any

import pytest
import torch

from abawkit.models.attention import DualDirectionAttention
from abawkit.models.config import Split
from abawkit.models.layers import MixedBlock
from abawkit.ops import use
from abawkit.ops.mixed_block_tensors import FoldedBlock, fold_block
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


def block() -> MixedBlock:
    torch.manual_seed(0)
    module = MixedBlock(6, 6, (Split(3, 5), Split(5, 20)), residual=True).eval()
    for name, value in module.named_parameters():
        torch.nn.init.normal_(value, 1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module


Y = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


def change_eps(module: MixedBlock) -> None:
    for norm in module._norms():
        norm.eps = 0.5


BLOCK_CHANGES = {
    "an optimiser's step": lambda m: m.expand.conv.weight.mul_(1.5),
    "loading a state dict": lambda m: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}),
    "other tensors in place of all": lambda m: m.load_state_dict(
        {k: v * 2 for k, v in m.state_dict().items()}, assign=True
    ),
    "running statistics": lambda m: m.project.norm.running_mean.add_(1.0),
    "another buffer in its place": lambda m: setattr(m.expand.norm, "running_var", m.expand.norm.running_var * 3),
    "a module in its place": lambda m: setattr(m.attention, "squeeze", torch.nn.Conv2d(25, 8, 1)),
    "a module of a list": lambda m: m.depthwise.parts.__setitem__(
        1, torch.nn.Conv2d(20, 20, 5, padding=2, groups=20, bias=False)
    ),
    "another epsilon": change_eps,
    "a change through .data between modes": lambda m: (m.train(), m.expand.conv.weight.data.mul_(3), m.eval()),
    "another type and back": lambda m: m.half().float(),
}


@pytest.mark.parametrize("change", BLOCK_CHANGES.values(), ids=BLOCK_CHANGES.keys())
@torch.no_grad()
def test_a_changed_block_is_folded_anew(change) -> None:  # type: ignore[no-untyped-def]
    module = block()
    before = module(Y)
    assert torch.equal(module(Y), before)
    change(module)
    found = module(Y)
    with torch.enable_grad():
        expected = module(Y).detach()  # by its modules
    assert not torch.equal(found, before)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_unchanged_block_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module, folded = block(), []

    def counted(*arguments: Any) -> FoldedBlock:
        folded.append(1)
        return fold_block(*arguments)

    module(Y)  # the self-check folds too
    monkeypatch.setattr("abawkit.ops.mixed_block_reference.fold_block", counted)
    for _ in range(3):
        with use("reference"):
            module(Y)
            module(Y)
    assert len(folded) == 1
    assert module(Y[:, :, :3]).shape == (2, 6, 3, 4)


@torch.no_grad()
def test_copies_of_a_block_and_weights_for_one_call_are_followed() -> None:
    module = block()
    expected = module(Y)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - our own bytes
        assert torch.equal(other(Y), expected)
        other.project.norm.bias.add_(1)
        torch.testing.assert_close(other(Y), expected + 1, rtol=1e-4, atol=1e-5)
    bias = {"project.norm.bias": module.project.norm.bias + 1}
    torch.testing.assert_close(torch.func.functional_call(module, bias, Y), expected + 1, rtol=1e-4, atol=1e-5)
    assert torch.equal(module(Y), expected)
