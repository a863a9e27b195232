"""The mixed block with products in bfloat16: what is rounded, by the reference and by the native kernels."""

import pytest
import torch
from torch import Tensor

from abawkit.ops import BlockParameters, BlockSizes, mixed_block, use, use_bfloat16_products
from abawkit.ops.base import EPS, BlockArguments, Call
from abawkit.ops.folding import FoldCache
from abawkit.ops.mixed_block_check import compare_block
from abawkit.ops.mixed_block_library import INFER
from abawkit.ops.mixed_block_native import NativeBlock
from abawkit.ops.mixed_block_reference import BlockReference, multiply
from abawkit.ops.operators import MIXED_BLOCK
from abawkit.ops.precision import are_products_rounded
from abawkit.ops.self_check import check
from abawkit.ops.testing import CHECKED_BLOCKS, make_random_block

SIZES = CHECKED_BLOCKS[2]
CALL = Call(torch.device("cpu"), torch.float32, SIZES, training=False, gradients=False, bfloat16_products=True)
native = pytest.mark.skipif(bool(NativeBlock().reasons(CALL)), reason=f"{NativeBlock().reasons(CALL)}")


def rounded(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


def test_the_reference_rounds_the_factors_of_both_passes() -> None:
    x, weight, gradient = torch.randn(2, 5, 3, 4), torch.randn(7, 5, 1, 1), torch.randn(2, 7, 3, 4)
    leaves = x.requires_grad_(), weight.requires_grad_()
    result = multiply(*leaves, True)
    assert torch.equal(result, torch.nn.functional.conv2d(rounded(x), rounded(weight)))
    of_x, of_weight = torch.autograd.grad(result, leaves, gradient)
    expected_x = torch.einsum("nohw,oc->nchw", rounded(gradient), rounded(weight[:, :, 0, 0]))
    expected_weight = torch.einsum("nohw,nchw->oc", rounded(gradient), rounded(x))
    torch.testing.assert_close(of_x, expected_x)
    torch.testing.assert_close(of_weight[:, :, 0, 0], expected_weight)


@native
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sizes", CHECKED_BLOCKS, ids=BlockSizes.describe)
def test_the_native_block_passes_the_check(sizes: BlockSizes, training: bool) -> None:
    call = CALL._replace(sizes=sizes, training=training, gradients=training)
    found = check(NativeBlock(), call, images=(3,), compare=MIXED_BLOCK.compare)
    assert all(comparison.holds for comparison in found), max(found, key=lambda c: c.excess)


def test_the_check_finds_an_implementation_that_does_not_round_in_training() -> None:
    class Exact(BlockReference):
        def forward(self, arguments: BlockArguments) -> Tensor:
            return super().forward(arguments._replace(bfloat16_products=not arguments.bfloat16_products))

    call = CALL._replace(sizes=CHECKED_BLOCKS[0], training=True, gradients=True)
    assert not all(comparison.holds for comparison in compare_block(Exact(), call, (3,)))


@native
def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, parameters, statistics = make_random_block(5, SIZES)
    leaves = [p.requires_grad_() for p in parameters.flat]
    before, seen = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with use("native"), use_bfloat16_products():
                with torch.no_grad():
                    evaluated = mixed_block(x, parameters, statistics, residual=True, training=False)
                given = BlockParameters.from_flat(leaves)
                trained = mixed_block(x, given, None, residual=True, training=True)
            seen.append([evaluated, trained, *torch.autograd.grad(trained.square().sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for others in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], others, strict=True))


@native
def test_the_backward_pass_rounds_wherever_it_runs() -> None:
    x, parameters, _ = make_random_block(3, SIZES)
    x.requires_grad_()
    with use("native"), use_bfloat16_products():
        result = mixed_block(x, parameters, None, residual=True, training=True)
        (within,) = torch.autograd.grad(result.sum(), x, retain_graph=True)
    (after,) = torch.autograd.grad(result.sum(), x)
    assert torch.equal(within, after)


@pytest.mark.parametrize("name", ["reference", pytest.param("native", marks=native)])
def test_kept_weights_are_those_of_the_precision(name: str) -> None:
    x, parameters, statistics = make_random_block(2, SIZES)
    cache, found = FoldCache(), []
    with torch.no_grad(), use(name):
        for wanted in (False, True, False, True):
            with use_bfloat16_products() if wanted else torch.no_grad():
                found.append(mixed_block(x, parameters, statistics, residual=True, training=False, cache=cache))
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    error = ((found[0] - found[1]).abs().max() / found[0].abs().max()).item()
    assert 1e-4 < error < 2e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_than_float32_are_left_alone(dtype: torch.dtype) -> None:
    x, parameters, statistics = make_random_block(2, SIZES, dtype=dtype)
    with torch.no_grad(), use("reference"):
        expected = mixed_block(x, parameters, statistics, residual=True, training=False)
        with use_bfloat16_products():
            assert torch.equal(mixed_block(x, parameters, statistics, residual=True, training=False), expected)


def test_under_autocast_nothing_else_is_rounded() -> None:
    x, parameters, statistics = make_random_block(2, SIZES)
    with torch.no_grad(), use("reference"), torch.autocast("cpu", torch.bfloat16):
        expected = mixed_block(x, parameters, statistics, residual=True, training=False)
        with use_bfloat16_products():
            assert torch.equal(mixed_block(x, parameters, statistics, residual=True, training=False), expected)
            assert not are_products_rounded(x)


def test_nothing_is_rounded_in_a_compiled_graph() -> None:
    x, parameters, statistics = make_random_block(2, SIZES)

    def apply(x: Tensor) -> Tensor:
        return mixed_block(x, parameters, statistics, residual=True, training=False, implementation="reference")

    with torch.no_grad(), use_bfloat16_products():
        compiled = torch.compile(apply, fullgraph=True, backend="eager")(x)
    with torch.no_grad():
        torch.testing.assert_close(compiled, apply(x))


@native
@pytest.mark.parametrize("sizes", CHECKED_BLOCKS[1:3], ids=BlockSizes.describe)
def test_torch_accepts_the_operator(sizes: BlockSizes) -> None:
    x, parameters, statistics = make_random_block(2, sizes, (5, 4))
    packed = NativeBlock().fold(parameters, statistics, sizes, eps=EPS, bfloat16_products=True)
    torch.library.opcheck(INFER, (x, *packed))
