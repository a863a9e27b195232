"""The mixed block: its definition, its native evaluation, and which of them serves a call; `test_mixed_training`."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.errors import OpUnavailableError
from abawkit.models.config import Split
from abawkit.models.layers import MixedBlock
from abawkit.ops import BlockSizes, mixed_block, registry, use
from abawkit.ops.base import EPS, BlockArguments, Call
from abawkit.ops.mixed_block_check import compute_block
from abawkit.ops.mixed_block_native import NativeBlock
from abawkit.ops.mixed_block_reference import BlockReference
from abawkit.ops.operators import MIXED_BLOCK
from abawkit.ops.registry import list_implementations, select_block
from abawkit.ops.self_check import check
from abawkit.ops.testing import CHECKED_BLOCKS, make_random_block

CPU = torch.device("cpu")
SMALL = CHECKED_BLOCKS[2]
CALL = Call(CPU, torch.float32, SMALL, training=False, gradients=False)

registered = pytest.mark.skipif(
    not list_implementations(MIXED_BLOCK), reason="abawkit was installed before this operator: pip install ."
)
native = pytest.mark.skipif(
    bool(NativeBlock().reasons(CALL)), reason=f"no native mixed block: {NativeBlock().reasons(CALL)}"
)


def block(*, stride: int = 1, residual: bool = True) -> MixedBlock:
    torch.manual_seed(0)
    found = MixedBlock(6, 6, (Split(3, 5), Split(9, 20)), stride=stride, residual=residual)
    for name, value in found.named_parameters():
        torch.nn.init.normal_(value, 1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return found


def run_parts(modules: MixedBlock) -> MixedBlock:
    """Makes a block run its own modules in place of the operator."""
    modules._is_operator = lambda x: x is None  # type: ignore[method-assign]
    return modules


def infer(implementation: Any, x: Tensor, sizes: BlockSizes, seed: int = 0) -> Tensor:
    _, parameters, statistics = make_random_block(1, sizes, seed=seed)
    with torch.no_grad():
        found: Tensor = implementation.infer(x, implementation.fold(parameters, statistics, sizes, eps=EPS))
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [(1, True), (1, False), (2, False)])
def test_the_definition_has_the_bits_of_the_modules(kind: tuple[int, bool], training: bool) -> None:
    stride, residual = kind
    modules = block(stride=stride, residual=residual).train(training)
    twin = copy.deepcopy(modules)
    run_parts(modules)
    x = torch.randn(3, 6, 7, 5)
    parameters, statistics = twin.operands()
    found = BlockReference().forward(BlockArguments(x, parameters, statistics, training, stride, residual))
    with use("reference"):  # or the norms of the parts are native ones in training
        assert torch.equal(modules(x), found)
    for name, value in modules.named_buffers():
        assert name.endswith("num_batches_tracked") or torch.equal(value, dict(twin.named_buffers())[name])


@registered
def test_evaluation_without_gradients_is_the_operators() -> None:
    modules = block().eval()
    x = torch.randn(2, 6, 9, 4)
    expected = modules(x)
    assert expected.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(modules(x), expected.detach(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        modules.project.norm.bias.add_(1.0)  # folded weights are made anew
        torch.testing.assert_close(modules(x), expected.detach() + 1, rtol=1e-4, atol=1e-5)
    assert modules(torch.empty(0, 6, 9, 4)).shape == (0, 6, 9, 4)


@native
@pytest.mark.parametrize("sizes", CHECKED_BLOCKS, ids=BlockSizes.describe)
def test_the_native_block_passes_the_check(sizes: BlockSizes) -> None:
    found = check(NativeBlock(), CALL._replace(sizes=sizes), images=(3,), compare=MIXED_BLOCK.compare)
    assert all(comparison.holds for comparison in found), max(found, key=lambda c: c.excess)


@native
@pytest.mark.parametrize("side", [(1, 1), (1, 9), (13, 2), (14, 14)])
@pytest.mark.parametrize("images", [0, 1, 5])
def test_any_size_and_any_strides_give_the_references_result(images: int, side: tuple[int, int]) -> None:
    for sizes in CHECKED_BLOCKS:
        x = torch.randn(images, sizes.inputs, *side)
        expected = infer(BlockReference(), x, sizes)
        strided = torch.empty(images, sizes.inputs, *side[::-1]).transpose(2, 3).copy_(x)
        for given in (x, x.contiguous(memory_format=torch.channels_last), strided):
            found = infer(NativeBlock(), given, sizes)
            assert found.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@native
def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, before = torch.randn(3, SMALL.inputs, 14, 14), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results += [(infer(NativeBlock(), x, SMALL), infer(NativeBlock(), x[:1], SMALL))]
    finally:
        torch.set_num_threads(before)
    for whole, alone in results:
        assert torch.equal(whole, results[0][0])
        assert torch.equal(alone, results[0][1])


@native
@pytest.mark.parametrize("sizes", CHECKED_BLOCKS[1:], ids=BlockSizes.describe)
def test_torch_accepts_the_operator(sizes: BlockSizes) -> None:
    x, parameters, statistics = make_random_block(2, sizes, (5, 3))
    packed = NativeBlock().fold(parameters, statistics, sizes, eps=EPS)
    torch.library.opcheck(torch.ops.abawkit.mixed_block_infer.default, (x, *packed))


@native
def test_the_native_operator_is_exported() -> None:
    class Packed(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = torch.ops.abawkit.mixed_block_infer(x, *packed)
            return found

    x, parameters, statistics = make_random_block(2, SMALL, (5, 3))
    packed = NativeBlock().fold(parameters, statistics, SMALL, eps=EPS)
    program = torch.export.export(Packed(), (x,))
    assert torch.equal(program.module()(x), Packed()(x))


@registered
@pytest.mark.parametrize("name", ["reference", pytest.param("native", marks=native)])
def test_a_call_is_compiled_in_one_graph(name: str) -> None:
    x, parameters, statistics = make_random_block(2, SMALL, (5, 3))

    def apply(x: Tensor) -> Tensor:
        return mixed_block(x, parameters, statistics, residual=True, training=False, implementation=name)

    with torch.no_grad():
        expected = apply(x)
        found = torch.compile(apply, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    inputs = make_random_block(3, SMALL, (5, 3), dtype=torch.float64)
    found = compute_block(BlockReference(), inputs, SMALL, CALL._replace(training=True, gradients=True))
    gradients = {name: value for name, value in found.items() if name.startswith("gradient")}
    assert len(gradients) == 1 + len(inputs.parameters.flat)
    assert all(value.abs().max() > 0 for name, value in gradients.items() if "squeeze_bias" not in name)


def test_calls_that_the_native_block_is_not_for_have_a_reason() -> None:
    for change in ({"dtype": torch.float64}, {"gradients": True}, {"device": torch.device("meta")}):
        call = CALL._replace(**change)
        expected = ["it is for training, and evaluation without gradients, in float32 on CPUs"]
        assert NativeBlock().reasons(call) == expected
        assert not NativeBlock().is_meant_for(call)


@registered
def test_a_request_for_all_operators_leaves_out_calls_that_it_is_not_meant_for() -> None:
    double = CALL._replace(dtype=torch.float64)
    with use("native"):
        assert select_block(double).name == "reference"
        with pytest.raises(OpUnavailableError, match="can't serve evaluation of float64 on cpu"):
            select_block(double, "native")
    with use("reference"):
        assert select_block(CALL).name == "reference"


@registered
def test_a_binary_without_the_operator_is_passed_over(monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> None:
    monkeypatch.setattr("torch._C._dispatch_has_kernel_for_dispatch_key", lambda *_: False)
    monkeypatch.setattr("abawkit.ops.native_library.load", lambda: "")
    for training in (False, True):
        registry.refresh()
        with pytest.warns(match="mixed_block runs on reference, as native can't be used: the binary is older"):
            assert select_block(CALL._replace(training=training)).name == "reference"


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 5, 3, 3), {}, r"got an input \(2, 5, 3, 3\), expected \(N, 17, H, W\)"),
        ((2, 17, 0, 3), {}, "H and W at least 1"),
        ((2, 17, 3, 3), {"stride": 3}, "got stride 3, expected 1 or 2"),
        ((2, 17, 3, 3), {"stride": 2, "residual": True}, "a residual block needs stride 1"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    _, parameters, statistics = make_random_block(2, SMALL)
    with pytest.raises(ValueError, match=message):
        mixed_block(torch.zeros(shape), parameters, statistics, training=False, **options)
