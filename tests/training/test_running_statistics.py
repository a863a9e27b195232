"""Running statistics: kept, and put back with or without the host's knowing."""

import pytest
import torch
from torch import Tensor, nn

from abawkit.training.step import RunningStatistics, keep_statistics


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(1).double(), nn.BatchNorm1d(2))


def buffer(network: nn.Module, name: str) -> Tensor:
    return dict(network.named_buffers())[name]


def values(network: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in network.buffers()]


def spoil(network: nn.Module) -> None:
    for number, tensor in enumerate(network.buffers()):
        tensor.fill_(float("nan") if tensor.is_floating_point() and number % 2 else 5 + number)


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a.nan_to_num(-9), b.nan_to_num(-9)) for a, b in zip(found, expected, strict=True))


def test_what_was_kept_comes_back_whatever_type_and_value_it_has(network: nn.Sequential) -> None:
    buffer(network, "0.running_mean")[1] = -2.5
    buffer(network, "1.num_batches_tracked").add_(2**40)
    statistics, before = RunningStatistics(network), values(network)
    for _ in range(2):
        statistics.keep()
        spoil(network)
        statistics.put_back()
        assert same(values(network), before)


def test_the_last_that_was_kept_comes_back(network: nn.Sequential) -> None:
    statistics = RunningStatistics(network)
    statistics.keep()
    buffer(network, "2.running_var").fill_(4.0)
    statistics.keep()
    spoil(network)
    statistics.put_back()
    assert buffer(network, "2.running_var").tolist() == [4.0, 4.0]


@pytest.mark.parametrize("counts", [False, True])
def test_a_tensor_decides_whether_they_come_back(network: nn.Sequential, counts: bool) -> None:
    statistics, before = RunningStatistics(network), values(network)
    statistics.keep()
    spoil(network)
    spoiled = values(network)
    statistics.put_back_unless(torch.tensor(counts))
    assert same(values(network), spoiled if counts else before)
    assert not same(before, spoiled)


def test_a_pass_within_the_block_is_not_counted(network: nn.Sequential) -> None:
    before = values(network[0])
    with keep_statistics(network):
        network[0](torch.randn(4, 3))
    assert same(values(network[0]), before)
    network[0](torch.randn(4, 3))
    assert not same(values(network[0]), before)
