"""The binding on a CUDA torch: dispatch, numbers, streams, devices, and what a call asks of the runtime."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from abawkit.ops import Parameters, Statistics, dual_direction_attention, use
from abawkit.ops.base import Call
from abawkit.ops.native import pack
from abawkit.ops.registry import select
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES, Inputs, make_random_inputs
from tests.gpu_standin.runtime_calls import clear_calls, count_calls, read_operators

SIZES = {"published": DDAMFN_SIZES, "all different": Sizes(channels=24, height=3, width=5, heads=2, squeezed=4)}
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
OPERATORS = torch.ops.abawkit

by_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())


def on(device: str, inputs: Inputs) -> Inputs:
    features, parameters, statistics = inputs
    return Inputs(
        features.to(device),
        Parameters(*(p.to(device) for p in parameters)),
        Statistics(*(s.to(device) for s in statistics)),
    )


def calls_of(inputs: Inputs) -> dict[str, Callable[[], list[Tensor]]]:
    """Each operator as the dispatcher has it, without any other operator: its operands are made here."""
    features, parameters, _ = inputs
    sizes = parameters.sizes
    folded = pack(*on("cpu", inputs)[1:], eps=1e-5, dtype=torch.float32).to(features.device)
    flat = list(parameters)
    clear_calls()
    embedding, rows, columns, *saved = OPERATORS.dda_forward(features, flat, None, 1e-5, True)
    return {
        "inference": lambda: list(OPERATORS.dda_inference(features, folded, sizes.heads, sizes.squeezed, True)),
        "forward": lambda: list(OPERATORS.dda_forward(features, flat, None, 1e-5, True)),
        "backward": lambda: list(OPERATORS.dda_backward(embedding, rows, columns, features, flat, *saved, True, 1e-5)),
    }


by_operator = pytest.mark.parametrize("operator", ["inference", "forward", "backward"])


def test_kernels_of_torch_do_nothing_here() -> None:
    """Else the numbers below could come from anywhere."""
    x = torch.full((4,), 1234.5).cuda()
    assert x.cpu().eq(1234.5).all()  # a copy is one
    assert not (x + 1).cpu().eq(1235.5).any()  # but what was in memory


@pytest.mark.usefixtures("host_kernels")  # of the reference, with which the self-check compares
@pytest.mark.parametrize(("dtype", "training"), [(torch.float32, False), (torch.bfloat16, True)], ids=str)
def test_native_passes_its_self_check_and_is_chosen(
    dtype: torch.dtype, training: bool, recwarn: pytest.WarningsRecorder
) -> None:
    call = Call(torch.device("cuda", 0), dtype, SIZES["all different"], training=training, gradients=training)
    assert select(call).name == "native"
    assert not recwarn


@by_operator
def test_operators_run_without_any_kernel_of_torch(operator: str) -> None:
    """On a dense input nothing is copied, and nobody waits for the device."""
    call = calls_of(on("cuda", make_random_inputs(3, SIZES["published"])))[operator]
    call()  # the allocator has its memory
    with count_calls() as costs:
        call()
    assert [c.name for c in read_operators()] == [operator]
    assert (costs.operators, costs.kernels, costs.library_calls, costs.copies_within, costs.fills) == (1, 0, 0, 0, 0)
    assert (costs.synchronisations, costs.copies_in, costs.copies_out, costs.allocations) == (0, 0, 0, 0)


@by_size
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("operator", ["inference", "forward"])
def test_outputs_are_those_of_the_reference_without_any_kernel_of_torch(
    operator: str, dtype: torch.dtype, sizes: Sizes
) -> None:
    inputs = make_random_inputs(5, sizes, dtype=dtype)
    training = operator == "forward"
    parameters = Parameters(*(p.double() for p in inputs.parameters))
    statistics = Statistics(*(s.double() for s in inputs.statistics))
    with torch.no_grad():
        embedding, gates = dual_direction_attention(
            inputs.features.double(), parameters, statistics, training=training, implementation="reference"
        )
    assert gates is not None
    given = on("cuda", inputs)
    if training:
        found = OPERATORS.dda_forward(given.features, list(given.parameters), None, 1e-5, True)[:3]
    else:
        folded = pack(*inputs[1:], eps=1e-5, dtype=dtype).cuda()
        found = OPERATORS.dda_inference(given.features, folded, sizes.heads, sizes.squeezed, True)
    for one, other in zip(found, (embedding, *gates), strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


@by_size
@pytest.mark.usefixtures("host_kernels")
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_autograd_gives_the_gradients_of_the_reference(dtype: torch.dtype, training: bool, sizes: Sizes) -> None:
    inputs = make_random_inputs(5, sizes, dtype=dtype)
    gradients = []
    for device, name, kind in (("cpu", "reference", torch.float64), ("cuda", "native", dtype)):
        features, parameters, statistics = on(device, inputs)
        leaves = [t.detach().to(kind).requires_grad_() for t in (features, *parameters)]
        running = Statistics(*(s.to(kind) for s in statistics))
        embedding, gates = dual_direction_attention(
            leaves[0], Parameters(*leaves[1:]), running, training=training, implementation=name
        )
        assert gates is not None
        outputs = [embedding, *gates]
        gradients.append(torch.autograd.grad(outputs, leaves, [torch.ones_like(t) for t in outputs]))
    for exact, found in zip(*gradients, strict=True):
        scale = max(exact.abs().max().item(), 1.0)
        assert (found.cpu().double() - exact).abs().max().item() <= 5 * TOLERANCES[dtype] * scale


# --- streams and devices


@by_operator
def test_an_operator_is_queued_on_the_current_stream(operator: str) -> None:
    call = calls_of(on("cuda", make_random_inputs(3, SIZES["all different"])))[operator]
    clear_calls()
    call()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        call()
    call()
    assert [c.stream for c in read_operators()] == [0, side.cuda_stream, 0]
    assert side.cuda_stream != 0


@by_operator
def test_an_operator_runs_on_the_device_of_its_operands(operator: str) -> None:
    inputs = make_random_inputs(3, SIZES["all different"])
    first, second = (calls_of(on(device, inputs))[operator] for device in ("cuda:0", "cuda:1"))
    clear_calls()
    found = second()
    assert [c.device for c in read_operators()] == [1]
    assert torch.cuda.current_device() == 0
    assert {str(t.device) for t in found} == {"cuda:1"}
    for one, other in zip(found, first(), strict=True):
        assert torch.equal(one.cpu(), other.cpu())


def test_operands_of_two_devices_are_refused() -> None:
    inputs = make_random_inputs(3, SIZES["all different"])
    mixed = on("cuda:0", inputs)._replace(parameters=on("cuda:1", inputs).parameters)
    with pytest.raises(RuntimeError, match="on another device than the features"):
        OPERATORS.dda_forward(mixed.features, list(mixed.parameters), None, 1e-5, True)


def test_a_call_by_name_reaches_the_device_from_a_network(host_kernels: None) -> None:
    from abawkit.models.config import NETWORKS
    from abawkit.models.network import DDAMFN

    network = DDAMFN(NETWORKS["ddamfn-nano"]).eval()
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        with use("native"):
            network.cuda()(images.cuda())  # the self-check comes before the first call
            with count_calls() as costs:
                found = network(images.cuda())
    assert costs.operators == 1
    for one, other in zip(found[:3], expected[:3], strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-4)
