"""Inference: probabilities that do not depend on how frames are batched."""

import numpy as np
import pytest
import torch

from abawkit.errors import ConfigError
from abawkit.models.config import NETWORKS
from abawkit.models.inference import BATCH, infer, pick_device
from abawkit.models.network import DDAMFN
from abawkit.tables import Array

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.2)  # type: ignore[arg-type]
    return network


@pytest.fixture(scope="module")
def pixels() -> Array:
    return np.random.default_rng(0).integers(0, 256, (13, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", [1, 5, 12, 13])
def test_probabilities_do_not_depend_on_the_batches(
    network: DDAMFN, pixels: Array, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = infer(network, pixels, CPU)
    monkeypatch.setitem(BATCH, "cpu", batch)
    for found, expected in zip(infer(network, pixels, CPU), whole, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_network_in_training_is_put_into_evaluation(network: DDAMFN, pixels: Array) -> None:
    buffers = [buffer.clone() for buffer in network.buffers()]
    expected = infer(network, pixels, CPU)
    network.train()
    found = infer(network, pixels, CPU)
    assert not network.training
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), buffers, strict=True))


def test_bfloat16_is_float32_but_for_rounding_and_the_heads_do_not_round(network: DDAMFN, pixels: Array) -> None:
    exact, rounded = infer(network, pixels, CPU), infer(network, pixels, CPU, "bfloat16")
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == np.float32
        assert not np.array_equal(found, expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)
    bits = rounded.va.view(np.uint32) & 0xFFFF
    assert bits.any()  # more digits than bfloat16 has
    again = infer(network, pixels, CPU, "bfloat16")
    assert all(np.array_equal(a, b) for a, b in zip(again, rounded, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(infer(network, pixels, CPU), exact, strict=True))


def test_what_comes_out_are_probabilities(network: DDAMFN, pixels: Array) -> None:
    va, expression, au = infer(network, pixels, CPU)
    assert (va.shape, expression.shape, au.shape) == ((13, 2), (13, 8), (13, 12))
    assert {va.dtype, expression.dtype, au.dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(expression.sum(axis=1), 1, atol=1e-6)
    assert (np.abs(va) <= 1).all()
    assert ((au >= 0) & (au <= 1)).all()
    assert (np.ptp(va, axis=0) > 0).all()  # the frames are told apart


def test_no_frames_give_no_rows(network: DDAMFN) -> None:
    va, expression, au = infer(network, np.zeros((0, 112, 112, 3), np.uint8), CPU)
    assert (va.shape, expression.shape, au.shape) == ((0, 2), (0, 8), (0, 12))
    assert va.dtype == expression.dtype == au.dtype == np.float32


def test_frames_that_lie_strided_in_memory_are_read_right(network: DDAMFN, pixels: Array) -> None:
    expected = infer(network, pixels[::-2].copy(), CPU)
    for found, wanted in zip(infer(network, pixels[::-2], CPU), expected, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", ["warp-drive", "cuda:99", ""])
def test_a_device_that_is_not_here_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' can't be used here"):
        pick_device(name)


def test_a_device_that_is_here_is_taken() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda")
