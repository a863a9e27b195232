"""Running statistics move as torch's batch norms move theirs, and whoever keeps something of them notices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.ops import Statistics, dual_direction_attention
from abawkit.ops.base import Call
from abawkit.ops.registry import select
from abawkit.ops.tensors import Sizes, update_statistics
from abawkit.ops.testing import make_random_inputs

OPS = torch.ops.abawkit
IMAGES = 3


@pytest.fixture(autouse=True)
def loaded(sizes: Sizes) -> None:
    """The operators are there once native was asked for."""
    select(Call(torch.device("cpu"), torch.float32, sizes, training=False, gradients=False), "native")


def running(sizes: Sizes, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [t.to(dtype) for t in make_random_inputs(2, sizes).statistics]


def normed(sizes: Sizes) -> list[Tensor]:
    """What the four batch norms could be given, in the order of `Statistics`."""
    c, h, w, k, m = sizes
    shapes = ((k * c, h), (k * c, w), (k * m, h + w), (c, 1))
    generator = torch.Generator().manual_seed(1)
    return [torch.randn((IMAGES, *shape), generator=generator, dtype=torch.float64) * 3 + 1 for shape in shapes]


def of_batch(inputs: list[Tensor], dtype: torch.dtype) -> Tensor:
    means = [t.mean((0, 2)) for t in inputs]
    return torch.stack([torch.cat(means), torch.cat([t.var((0, 2), unbiased=False) for t in inputs])]).to(dtype)


# Of the batch norms' own results, whichever of both types is the coarser.
PRECISION = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("batch", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", PRECISION)
def test_the_operator_does_what_batch_norms_do(
    sizes: Sizes, dtype: torch.dtype, batch: torch.dtype, momentum: float
) -> None:
    inputs, found = normed(sizes), running(sizes, dtype)
    expected = [t.double() for t in found]
    for x, mean, variance in zip(inputs, expected[0::2], expected[1::2], strict=True):
        F.batch_norm(x, mean, variance, training=True, momentum=momentum)
    OPS.dda_update(found, of_batch(inputs, batch), IMAGES, sizes.height, sizes.width, momentum)
    rtol = max(PRECISION[dtype], PRECISION[batch])
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=rtol, atol=rtol)


def test_the_operator_does_what_is_done_on_other_devices(sizes: Sizes) -> None:
    found, expected, batch = running(sizes), running(sizes), of_batch(normed(sizes), torch.float32)
    OPS.dda_update(found, batch, IMAGES, sizes.height, sizes.width, 0.3)
    update_statistics(Statistics(*expected), batch, 0.3, sizes, IMAGES)
    torch.testing.assert_close(found, expected)


def test_statistics_of_any_strides_move_in_place(sizes: Sizes) -> None:
    expected, batch = running(sizes), of_batch(normed(sizes), torch.float32)
    whole = [torch.stack([t, torch.full_like(t, 7.0)], dim=1) for t in expected]
    OPS.dda_update([t[:, 0] for t in whole], batch, IMAGES, sizes.height, sizes.width, 0.1)
    strided = torch.stack([batch, batch], dim=2)[..., 0]
    OPS.dda_update(expected, strided, IMAGES, sizes.height, sizes.width, 0.1)
    for found, one in zip(whole, expected, strict=True):
        assert torch.equal(found[:, 0], one)
        assert (found[:, 1] == 7).all()


@pytest.mark.parametrize("kept", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_training_moves_statistics_of_any_type(sizes: Sizes, dtype: torch.dtype, kept: torch.dtype) -> None:
    features, parameters, _ = make_random_inputs(4, sizes, dtype=dtype)
    found, expected = (Statistics(*running(sizes, kind)) for kind in (kept, torch.float64))
    dual_direction_attention(features, parameters, found, training=True, implementation="native")
    wide = [t.double() for t in parameters]
    dual_direction_attention(
        features.double(), type(parameters)(*wide), expected, training=True, implementation="reference"
    )
    rtol = max(1e-5, PRECISION[kept] * 2)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("backend", [None, "eager", "aot_eager"])
@pytest.mark.parametrize("gradients", [False, True])
def test_torch_counts_the_change(sizes: Sizes, gradients: bool, backend: str | None) -> None:
    features, parameters, statistics = make_random_inputs(4, sizes, gradients=gradients)

    def step(x: Tensor) -> Tensor:
        return dual_direction_attention(x, parameters, statistics, training=True, implementation="native")[0]

    torch.compiler.reset()
    call: Callable[[Tensor], Tensor] = torch.compile(step, fullgraph=True, backend=backend) if backend else step
    before = [t._version for t in statistics]
    call(features)
    assert all(t._version > count for t, count in zip(statistics, before, strict=True))


def test_the_operator_passes_torchs_checks_of_operators(sizes: Sizes) -> None:
    arguments = (running(sizes), of_batch(normed(sizes), torch.float32), IMAGES, sizes.height, sizes.width, 0.1)
    results = torch.library.opcheck(OPS.dda_update, arguments)
    assert set(results.values()) == {"SUCCESS"}, results


WRONG: dict[str, tuple[Callable[[list[Tensor], Tensor], tuple[Any, ...]], str]] = {
    "too few": (lambda r, b: (r[:-1], b, 3), "expected 8 running statistics"),
    "one image": (lambda r, b: (r, b, 1), "at least 2 images"),
    "integers": (lambda r, b: ([*r[:-1], r[-1].long()], b, 3), "must be float32, float64, bfloat16 or float16"),
    "two dimensions": (lambda r, b: ([*r[:-1], r[-1][None]], b, 3), "must be pairs of one dimension"),
    "a variance for each two means": (lambda r, b: ([*r[:-1], r[-1][::2]], b, 3), "must be pairs of one dimension"),
    "statistics of another size": (lambda r, b: (r, b[:, 1:], 3), "the statistics has"),
    "statistics of another type": (lambda r, b: (r, b.half(), 3), "the statistics has the wrong type"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_operands_are_refused_and_nothing_moves(
    sizes: Sizes, change: Callable[[list[Tensor], Tensor], tuple[Any, ...]], message: str
) -> None:
    found, expected = running(sizes), running(sizes)
    with pytest.raises(RuntimeError, match=message):
        OPS.dda_update(*change(found, of_batch(normed(sizes), torch.float32)), sizes.height, sizes.width, momentum=0.1)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
