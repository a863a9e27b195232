"""Batch norm with PReLU: its definition, its native training, and how the network uses it."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from abawkit.models.layers import ConvBlock
from abawkit.ops import NormParameters, NormStatistics, norm_prelu, use
from abawkit.ops.base import EPS, MOMENTUM, Call, NormArguments
from abawkit.ops.norm_prelu_check import compare_norm, compute_norm
from abawkit.ops.norm_prelu_native import NativeNorm
from abawkit.ops.norm_prelu_reference import NormReference
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.operators import NORM_PRELU
from abawkit.ops.registry import list_implementations, select_norm
from abawkit.ops.self_check import TOLERANCES, check, measure_relative_errors
from abawkit.ops.testing import NormInputs, make_random_norm
from abawkit.training.step import keep_statistics

SIZES = NormSizes(24)
CALL = Call(torch.device("cpu"), torch.float32, SIZES, training=True, gradients=True)

native = pytest.mark.skipif(
    not list_implementations(NORM_PRELU) or bool(NativeNorm().reasons(CALL)),
    reason=f"no native norm_prelu, or installed before it: {NativeNorm().reasons(CALL)}",
)


def make_leaves(inputs: NormInputs) -> tuple[Tensor, NormParameters]:
    x, *parameters = (t.clone().requires_grad_() for t in (inputs.x, *inputs.parameters))
    return x, NormParameters(*parameters)


@pytest.mark.parametrize("training", [False, True])
def test_the_definition_has_the_bits_of_the_modules(training: bool) -> None:
    x, parameters, statistics = make_random_norm(3, SIZES, (5, 4))
    norm, activation = nn.BatchNorm2d(24).train(training), nn.PReLU(24)
    norm.load_state_dict(
        {"weight": parameters.scale, "bias": parameters.shift, "running_mean": statistics.mean}
        | {"running_var": statistics.variance, "num_batches_tracked": torch.tensor(0)}
    )
    activation.load_state_dict({"weight": parameters.slope})
    found = NormReference().forward(NormArguments(x, parameters, statistics, training))
    assert torch.equal(activation(norm(x)), found)
    assert norm.running_var is not None
    assert torch.equal(norm.running_var, statistics.variance)


@native
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("sizes", NORM_PRELU.checked, ids=str)
def test_native_training_passes_the_check(sizes: NormSizes, gradients: bool) -> None:
    call = CALL._replace(sizes=sizes, gradients=gradients)
    found = check(NativeNorm(), call, images=(5, 6), compare=NORM_PRELU.compare)
    assert any("running variance" in c.tensor for c in found)
    assert any("gradient of slope" in c.tensor for c in found) == gradients
    assert all(comparison.holds for comparison in found), max(found, key=lambda c: c.excess)


def test_the_check_finds_a_wrong_gradient() -> None:
    class Wrong(NormReference):
        def forward(self, arguments: NormArguments) -> Tensor:
            p = arguments.parameters
            return super().forward(arguments._replace(parameters=p._replace(slope=p.slope.detach() * 2 - p.slope)))

    found = list(compare_norm(Wrong(), CALL, (3,)))
    assert {c.tensor.split(" of 3")[0] for c in found if not c.holds} == {"gradient of slope"}


@native
@pytest.mark.parametrize("side", [(1, 1), (1, 9), (13, 2), (56, 56)])
@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 33])
@pytest.mark.parametrize("images", [1, 3])
def test_any_size_is_as_precise_as_eager_pytorch(images: int, channels: int, side: tuple[int, int]) -> None:
    if images * side[0] * side[1] < 2:
        return
    given = make_random_norm(images, NormSizes(channels), side, seed=images)
    exact = compute_norm(NormReference(), given.to(torch.float64), CALL)
    eager, found = (
        measure_relative_errors(compute_norm(each, given, CALL), exact) for each in (NormReference(), NativeNorm())
    )
    for name, error in found.items():
        assert error <= 2 * eager[name] + 2 * TOLERANCES[torch.float32], (name, error, eager[name])


@native
def test_strides_and_threads_do_not_change_a_bit() -> None:
    given, before = make_random_norm(37, SIZES, (29, 31)), torch.get_num_threads()
    last = given.x.contiguous(memory_format=torch.channels_last)
    strided = torch.empty(37, 24, 31, 29).transpose(2, 3).copy_(given.x)
    results = []
    try:
        for threads, x in ((1, last), (2, last), (3, last), (2, given.x), (2, strided)):
            torch.set_num_threads(threads)
            results.append(compute_norm(NativeNorm(), given._replace(x=x), CALL))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


@native
def test_numbers_that_are_not_finite_are_not_lost() -> None:
    given = make_random_norm(3, NormSizes(2), (5, 4))
    given.x[1, 0, 2, 3] = torch.nan
    expected = compute_norm(NormReference(), given, CALL)
    for name, value in compute_norm(NativeNorm(), given, CALL).items():
        assert torch.equal(value.isfinite(), expected[name].isfinite()), name
        assert not value.isfinite().all() or name in ("gradient of shift", "gradient of slope"), name


@native
def test_the_module_trains_as_its_parts_do() -> None:
    torch.manual_seed(0)
    whole = ConvBlock(3, 8, 3, stride=2)
    nn.init.normal_(whole.activation.weight, 0.2, 0.3)
    parts = copy.deepcopy(whole)
    for _ in range(2):
        x = torch.randn(4, 3, 9, 7)
        found = whole(x)
        with use("reference"):
            expected = parts(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        for result in (found, expected):
            result.square().sum().backward()
    others = dict(parts.named_parameters()) | dict(parts.named_buffers())
    for name, value in (*whole.named_parameters(), *whole.named_buffers()):
        torch.testing.assert_close(value, others[name], rtol=1e-4, atol=1e-5)
        if value.requires_grad:
            torch.testing.assert_close(value.grad, others[name].grad, rtol=1e-3, atol=1e-4)
    assert int(whole.norm.num_batches_tracked) == 2  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in whole.named_buffers()}
    with keep_statistics(whole):
        assert torch.equal(whole(x), found)
    assert all(torch.equal(value, before[name]) for name, value in whole.named_buffers())


@native
def test_running_statistics_of_any_type_move_and_are_counted_as_changed() -> None:
    x, parameters, statistics = make_random_norm(4, SIZES, (5, 3))
    expected = NormStatistics(*(s.clone() for s in statistics))
    wide = NormStatistics(*(s.double() for s in statistics))
    options: dict[str, Any] = {"training": True, "momentum": 0.3}
    norm_prelu(x, parameters, expected, implementation="reference", **options)
    for found in (statistics, wide):
        before = [s._version for s in found]
        norm_prelu(x, parameters, found, implementation="native", **options)
        assert all(s._version > version for s, version in zip(found, before, strict=True))
        for value, right in zip(found, expected, strict=True):
            torch.testing.assert_close(value.float(), right, rtol=1e-5, atol=1e-6)


@native
def test_autograd_refuses_what_it_refuses_of_torch() -> None:
    x, parameters = make_leaves(make_random_norm(3, SIZES, (5, 3)))
    result = norm_prelu(x, parameters, None, training=True, implementation="native").square().sum()
    (first,) = torch.autograd.grad(result, x, retain_graph=True)
    (second,) = torch.autograd.grad(result, x, create_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="no second derivative"):
        second.sum().backward()  # type: ignore[no-untyped-call]
    torch.autograd.grad(result, x)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(result, x)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_prelu(torch.randn(1, 24, 1, 1), parameters, None, training=True, implementation="native")


@native
def test_an_input_and_parameters_without_gradients() -> None:
    x, parameters, statistics = make_random_norm(3, SIZES, (5, 3))
    slope = parameters.slope.clone().requires_grad_()
    result = norm_prelu(x, parameters._replace(slope=slope), statistics, training=True, implementation="native")
    result.sum().backward()  # type: ignore[no-untyped-call]
    assert slope.grad is not None
    assert x.grad is parameters.scale.grad is None


@native
def test_a_third_less_is_saved_than_by_eager() -> None:
    def count_bytes(name: str) -> int:
        kept: dict[int, int] = {}
        x, parameters = make_leaves(make_random_norm(8, SIZES))
        given = x.contiguous(memory_format=torch.channels_last)

        def keep(t: Tensor) -> Tensor:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            norm_prelu(given, parameters, None, training=True, implementation=name)
        return sum(kept.values())

    assert count_bytes("native") <= 0.55 * count_bytes("reference")


@native
@pytest.mark.parametrize("channels", [1, 24])
def test_torch_accepts_the_operators(channels: int) -> None:
    inputs = make_random_norm(3, NormSizes(channels), (5, 3))
    x, parameters = make_leaves(inputs)
    operators = torch.ops.abawkit
    torch.library.opcheck(operators.norm_prelu_forward.default, (x, *parameters, EPS))
    with torch.no_grad():
        out, statistics = operators.norm_prelu_forward(x, *parameters, EPS)
        given = torch.randn_like(out), x.detach(), *(p.detach() for p in parameters), statistics, EPS
        torch.library.opcheck(operators.norm_prelu_backward.default, given)
        torch.library.opcheck(
            operators.mixed_block_update.default, (list(inputs.statistics), statistics, [45], MOMENTUM)
        )


@native
def test_a_training_call_is_compiled_in_one_graph() -> None:
    inputs = make_random_norm(3, SIZES, (5, 3))
    x, parameters = make_leaves(inputs)

    def apply(x: Tensor, running: NormStatistics) -> Tensor:
        return norm_prelu(x, parameters, running, training=True, implementation="native")

    results = []
    for function in (apply, torch.compile(apply, fullgraph=True, backend="aot_eager")):
        running = NormStatistics(*(s.clone() for s in inputs.statistics))
        found = function(x, running)
        gradients = torch.autograd.grad(found.square().sum(), (x, *parameters))
        results.append((found, *gradients, *running))
    for expected, value in zip(*results, strict=True):
        assert torch.equal(expected, value)


@native
def test_other_calls_take_the_reference() -> None:
    expected = ["it is for training in float32 on CPUs"]
    for change in ({"dtype": torch.float64}, {"training": False}, {"device": torch.device("meta")}):
        call = CALL._replace(**change)
        assert NativeNorm().reasons(call) == expected
        assert not NativeNorm().is_meant_for(call)
    with use("native"):
        assert select_norm(CALL).name == "native"
        assert select_norm(CALL._replace(dtype=torch.float64)).name == "reference"
    block, x = ConvBlock(3, 8), torch.randn(3, 3, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x).dtype == torch.bfloat16
    assert copy.deepcopy(block).double()(x.double()).dtype == torch.float64


def test_what_does_not_fit_is_refused() -> None:
    x, parameters, statistics = make_random_norm(3, SIZES)
    with pytest.raises(ValueError, match=r"got an input \(3, 7, 2, 2\), expected \(N, 24, H, W\)"):
        norm_prelu(torch.zeros(3, 7, 2, 2), parameters, statistics, training=True)
    with pytest.raises(ValueError, match="evaluation needs running statistics"):
        norm_prelu(x, parameters, None, training=False)
