"""Training of the native mixed block: numbers, bits, running statistics, and how it behaves in autograd."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.ops import BlockSizes, mixed_block, use
from abawkit.ops.base import EPS, MOMENTUM, BlockArguments, Call
from abawkit.ops.mixed_block_check import compare_block, compute_block, measure_block_errors
from abawkit.ops.mixed_block_native import NativeBlock
from abawkit.ops.mixed_block_reference import BlockReference
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockStatistics
from abawkit.ops.operators import MIXED_BLOCK
from abawkit.ops.self_check import TOLERANCES, check
from abawkit.ops.testing import CHECKED_BLOCKS, BlockInputs, make_random_block
from abawkit.training.step import keep_statistics
from tests.ops.test_mixed_block import block, run_parts

CALL = Call(torch.device("cpu"), torch.float32, CHECKED_BLOCKS[2], training=True, gradients=True)
WIDE_KERNEL = BlockSizes(5, (31, 1, 3), (4, 20, 16), 37, 33)
pytestmark = pytest.mark.skipif(bool(NativeBlock().reasons(CALL)), reason=f"{NativeBlock().reasons(CALL)}")


def train(x: Tensor, sizes: BlockSizes, seed: int = 0) -> dict[str, Tensor]:
    """All results of a training call of the native block."""
    _, parameters, statistics = make_random_block(1, sizes, seed=seed)
    return compute_block(NativeBlock(), BlockInputs(x, parameters, statistics), sizes, CALL._replace(sizes=sizes))


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("sizes", CHECKED_BLOCKS, ids=BlockSizes.describe)
def test_training_passes_the_check(sizes: BlockSizes, gradients: bool) -> None:
    call = CALL._replace(sizes=sizes, gradients=gradients)
    found = check(NativeBlock(), call, images=(3,), compare=MIXED_BLOCK.compare)
    assert any("running project_variance" in c.tensor for c in found)
    assert all(comparison.holds for comparison in found), max(found, key=lambda c: c.excess)


def test_the_check_finds_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(BlockReference):
        def forward(self, arguments: BlockArguments) -> Tensor:
            p = arguments.parameters
            return super().forward(arguments._replace(parameters=p._replace(slope=p.slope.detach() * 2 - p.slope)))

    found = list(compare_block(Wrong(), CALL, (3,)))
    assert {c.tensor.split(" of 3")[0] for c in found if not c.holds} >= {"gradient of slope"}


@pytest.mark.parametrize("side", [(1, 1), (1, 9), (13, 2), (8, 17)])
@pytest.mark.parametrize("images", [2, 5])
def test_any_size_is_as_precise_as_eager_pytorch(images: int, side: tuple[int, int]) -> None:
    for sizes in (*CHECKED_BLOCKS[:3], WIDE_KERNEL, WIDE_KERNEL._replace(stride=2)):
        if sizes is CHECKED_BLOCKS[0] and images > 2:
            continue
        call = CALL._replace(sizes=sizes)
        given = make_random_block(images, sizes, side, seed=images)
        wide = BlockInputs(
            given.x.double(),
            BlockParameters.from_flat([p.double() for p in given.parameters.flat]),
            BlockStatistics(*(s.double() for s in given.statistics)),
        )
        exact = compute_block(BlockReference(), wide, sizes, call)
        eager, found = (
            measure_block_errors(compute_block(i, given, sizes, call), exact, sizes, call)
            for i in (BlockReference(), NativeBlock())
        )
        # Of two values of a channel, a norm makes -1 and 1: what is left of most gradients is rounding.
        few = images * -(-side[0] // sizes.stride) * -(-side[1] // sizes.stride) <= 4
        for name, error in found.items():
            if not few and "squeeze_bias" not in name:
                assert error <= 2 * eager[name] + 2 * TOLERANCES[torch.float32], (name, sizes, error, eager[name])
            assert error == error, name


def test_strides_of_the_input_do_not_change_a_bit() -> None:
    x = torch.randn(3, CALL.sizes.inputs, 9, 6)  # type: ignore[union-attr]
    expected = train(x.contiguous(memory_format=torch.channels_last), CHECKED_BLOCKS[2])
    strided = torch.empty(3, x.shape[1], 6, 9).transpose(2, 3).copy_(x)
    for given in (x, strided):
        assert all(torch.equal(value, expected[name]) for name, value in train(given, CHECKED_BLOCKS[2]).items())


@pytest.mark.parametrize("sizes", [CHECKED_BLOCKS[0], CHECKED_BLOCKS[1], CHECKED_BLOCKS[2]], ids=BlockSizes.describe)
def test_bits_depend_neither_on_threads_nor_on_the_run(sizes: BlockSizes) -> None:
    x, before = torch.randn(11, sizes.inputs, 14, 9), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append(train(x, sizes))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


@pytest.mark.parametrize("kind", [(1, True), (2, False)])
def test_the_module_trains_as_its_parts_do(kind: tuple[int, bool]) -> None:
    stride, residual = kind
    whole = block(stride=stride, residual=residual)
    parts = run_parts(copy.deepcopy(whole))
    for _ in range(2):
        x = torch.randn(4, 6, 7, 5)
        found, expected = whole(x), parts(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        for result in (found, expected):
            result.square().sum().backward()
    others = dict(parts.named_buffers()) | {name: p.grad for name, p in parts.named_parameters() if p.grad is not None}
    assert len(others) == 9 + len(list(parts.parameters()))
    for name, value in (*whole.named_buffers(), *((n, p.grad) for n, p in whole.named_parameters())):
        if name != "attention.squeeze.bias":
            torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-4)
    assert int(whole.project.norm.num_batches_tracked) == 2  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in whole.named_buffers()}
    with keep_statistics(whole):
        assert torch.equal(whole(x), found)
    assert all(torch.equal(value, before[name]) for name, value in whole.named_buffers())
    whole.project.norm.eval()
    assert not whole._is_operator(x)


def test_an_input_and_parameters_without_gradients() -> None:
    x, parameters, statistics = make_random_block(3, CHECKED_BLOCKS[2], (5, 3))
    leaves = [p.detach().requires_grad_(i % 2 == 0) for i, p in enumerate(parameters.flat)]
    given = BlockParameters.from_flat(leaves)
    result = mixed_block(x, given, statistics, residual=True, training=True, implementation="native")
    result.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is None
    assert all((leaf.grad is not None) == leaf.requires_grad for leaf in leaves)


def test_autograd_refuses_what_it_refuses_of_torch() -> None:
    x, parameters, _ = make_random_block(3, CHECKED_BLOCKS[2], (5, 3))
    x.requires_grad_()
    result = mixed_block(x, parameters, None, residual=True, training=True, implementation="native").square().sum()
    (first,) = torch.autograd.grad(result, x, retain_graph=True)
    (second,) = torch.autograd.grad(result, x, create_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="no second derivative"):
        second.sum().backward()  # type: ignore[no-untyped-call]
    torch.autograd.grad(result, x)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(result, x)
    one = torch.randn(1, 17, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        mixed_block(one, parameters, None, residual=True, training=True, implementation="native")


def test_running_statistics_of_any_type_move_and_are_counted_as_changed() -> None:
    x, parameters, statistics = make_random_block(4, CHECKED_BLOCKS[1], (5, 3))
    expected = BlockStatistics(*(s.clone() for s in statistics))
    wide = BlockStatistics(*(s.double() for s in statistics))
    options: dict[str, Any] = {"stride": 2, "training": True, "momentum": 0.3}
    with torch.no_grad():
        mixed_block(x, parameters, expected, implementation="reference", **options)
        for found in (statistics, wide):
            before = [s._version for s in found]
            mixed_block(x, parameters, found, implementation="native", **options)
            assert all(s._version > version for s, version in zip(found, before, strict=True))
            for value, right in zip(found, expected, strict=True):
                torch.testing.assert_close(value.float(), right, rtol=1e-5, atol=1e-6)


def test_less_than_half_of_what_eager_saves_is_saved() -> None:
    def count_bytes(name: str) -> int:
        kept: dict[int, int] = {}
        x, parameters, statistics = make_random_block(8, CHECKED_BLOCKS[0])
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        given = BlockParameters.from_flat([p.requires_grad_() for p in parameters.flat])
        weights = {p.untyped_storage().data_ptr() for p in given.flat}

        def keep(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            mixed_block(x, given, statistics, residual=True, training=True, implementation=name)
        return sum(kept.values())

    assert count_bytes("native") <= 0.45 * count_bytes("reference")


@pytest.mark.parametrize("sizes", CHECKED_BLOCKS[1:], ids=BlockSizes.describe)
def test_torch_accepts_the_operators(sizes: BlockSizes) -> None:
    bfloat16 = sizes.stride == 2
    x, parameters, statistics = make_random_block(2, sizes, (5, 3))
    leaves = [p.requires_grad_() for p in parameters.flat]
    options = sizes.stride, sizes.residual, EPS
    operators = torch.ops.abawkit
    torch.library.opcheck(operators.mixed_block_forward.default, (x.requires_grad_(), leaves, *options, bfloat16))
    with torch.no_grad():
        out, *saved = operators.mixed_block_forward(x, leaves, *options, bfloat16)
        inputs = torch.randn_like(out), x.detach(), [p.detach() for p in leaves], saved, *options
        for wanted in (False, True):
            torch.library.opcheck(operators.mixed_block_backward.default, (*inputs, wanted, bfloat16))
        counts = [30, 20, 2 * out.shape[2] * out.shape[3]]
        torch.library.opcheck(operators.mixed_block_update.default, (list(statistics), saved[-1], counts, MOMENTUM))


def test_a_training_call_is_compiled_in_one_graph() -> None:
    x, parameters, statistics = make_random_block(3, CHECKED_BLOCKS[2], (5, 3))
    given = BlockParameters.from_flat([p.requires_grad_() for p in parameters.flat])

    def apply(x: Tensor, running: BlockStatistics) -> Tensor:
        return mixed_block(x, given, running, residual=True, training=True, implementation="native")

    results = []
    for function in (apply, torch.compile(apply, fullgraph=True, backend="aot_eager")):
        running = BlockStatistics(*(s.clone() for s in statistics))
        found = function(x, running)
        gradients = torch.autograd.grad(found.square().sum(), given.flat)
        results.append((found, *gradients, *running))
    for expected, value in zip(*results, strict=True):
        assert torch.equal(expected, value)


def test_other_calls_take_the_reference() -> None:
    modules, x = block(residual=False), torch.randn(3, 6, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert modules(x).dtype == torch.bfloat16
    assert copy.deepcopy(modules).double()(x.double()).dtype == torch.float64
    with use("reference"):
        expected = modules(x)
        assert torch.equal(run_parts(copy.deepcopy(modules))(x), expected)
