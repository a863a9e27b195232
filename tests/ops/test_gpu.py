"""Native on NVIDIA GPUs: precision, streams, graphs, devices. What can be is tried on the CPU, too."""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.ops import Gates, Parameters, Statistics, attention_mse, dual_direction_attention, use
from abawkit.ops.base import Call
from abawkit.ops.native import pack
from abawkit.ops.registry import select
from abawkit.ops.self_check import TOLERANCES, VANISHING, measure_relative_errors
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES, Inputs, make_random_inputs
from tests.conftest import pytest_runtest_setup
from tests.ops.test_contract import IMPLEMENTATIONS, LAYOUTS, SIZES, Run, as_type, run
from tests.ops.test_operators import OPS, checked, images, network

Step = Callable[[], list[Tensor]]

ALL = {"contiguous": lambda x: x, **LAYOUTS}
DENSE = ("contiguous", "channels last")

pytestmark = pytest.mark.usefixtures("plain_float32")
by_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
by_training = pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])


def types(*dtypes: torch.dtype) -> pytest.MarkDecorator:
    """Device and type: on the CPU all but float16, which native has no kernel for there."""
    cases = [pytest.param("cpu", t, id=f"cpu-{t}") for t in dtypes if t != torch.float16]
    cases += [pytest.param("cuda", t, id=f"cuda-{t}", marks=pytest.mark.gpu) for t in dtypes]
    return pytest.mark.parametrize(("device", "dtype"), cases)


by_type = types(*TOLERANCES)


def on(device: str | torch.device, inputs: Inputs, layout: str = "contiguous") -> Inputs:
    features, parameters, statistics = inputs
    return Inputs(
        ALL[layout](features.to(device)),
        Parameters(*(p.to(device) for p in parameters)),
        Statistics(*(s.to(device) for s in statistics)),
    )


def run_on(device: str | torch.device, inputs: Inputs, name: str, *, training: bool, layout: str = "contiguous") -> Run:
    """`run` on a device; the results are brought back."""
    with torch.device(device):  # for what `run` itself makes
        found = run(on(device, inputs, layout), name, training=training)
    return Run(*({key: t.cpu() for key, t in part.items()} for part in found))


def check_precision(device: str, inputs: Inputs, *, training: bool, layout: str = "contiguous") -> None:
    """Within twice eager PyTorch's error on the same device, against float64 on the CPU."""
    dtype = inputs.features.dtype
    exact = run(as_type(inputs, torch.float64), "reference", training=training)
    eager, native = (run_on(device, inputs, name, training=training, layout=layout) for name in IMPLEMENTATIONS)
    low = dtype in (torch.bfloat16, torch.float16)  # rounding of running statistics is that of their type, twice over
    for part in ("outputs", "gradients") if low else Run._fields:
        expected, found = (
            measure_relative_errors(getattr(r, part), getattr(exact, part), vanishing=training) for r in (eager, native)
        )
        for key, error in found.items():
            if not (training and key == VANISHING):
                assert error <= 2 * expected[key] + TOLERANCES[dtype], f"{part} {key}"


# --- numbers


@by_training
@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.gpu
def test_every_type_is_as_precise_as_eager_pytorch(size: str, dtype: torch.dtype, layout: str, training: bool) -> None:
    check_precision("cuda", as_type(make_random_inputs(6, SIZES[size]), dtype), training=training, layout=layout)


@by_training
@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - set(DENSE)))
@by_device
def test_other_strides_give_the_same_numbers(device: str, layout: str, training: bool, sizes: Sizes) -> None:
    check_precision(device, make_random_inputs(5, sizes), training=training, layout=layout)


@by_training
@pytest.mark.parametrize("count", [1, 31, 257])
@types(torch.float32, torch.bfloat16, torch.float64)
def test_any_number_of_images(device: str, dtype: torch.dtype, count: int, training: bool, sizes: Sizes) -> None:
    check_precision(device, as_type(make_random_inputs(count, sizes), dtype), training=training and count > 1)


@pytest.mark.parametrize("count", [1, 64, 257])
@types(torch.float32, torch.bfloat16, torch.float16)
def test_images_of_the_published_size_in_evaluation_without_gradients(
    device: str, dtype: torch.dtype, count: int
) -> None:
    """What predicts: folded weights, which no test above takes."""
    count = min(count, 64) if device == "cpu" else count
    inputs = as_type(make_random_inputs(count), dtype)
    with torch.no_grad():
        exact = named(attend(*as_type(inputs, torch.float64), "reference"))
        for layout in DENSE:
            given = on(device, inputs, layout)
            eager, native = (named([t.cpu() for t in attend(*given, name)]) for name in IMPLEMENTATIONS)
            expected = measure_relative_errors(eager, exact)
            for key, error in measure_relative_errors(native, exact).items():
                assert error <= 2 * expected[key] + TOLERANCES[dtype], f"{key} {layout}"


def attend(
    features: Tensor,
    parameters: Parameters,
    statistics: Statistics | None,
    name: str = "native",
    training: bool = False,
) -> list[Tensor]:
    """Embedding and gates."""
    embedding, gates = dual_direction_attention(
        features, parameters, statistics, training=training, implementation=name
    )
    assert gates is not None
    return [embedding, *gates]


def named(tensors: list[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("embedding", "rows", "columns"), tensors, strict=True))


@pytest.mark.parametrize("gradients", [False, True])
@by_type
def test_no_image_gives_empty_results(device: str, dtype: torch.dtype, gradients: bool, sizes: Sizes) -> None:
    features, parameters, statistics = make_random_inputs(0, sizes, dtype=dtype, device=device, gradients=gradients)
    embedding, rows, columns = attend(features, parameters, statistics)
    assert (embedding.shape, embedding.device, embedding.dtype) == ((0, sizes.channels), features.device, dtype)
    assert rows.shape == (0, sizes.heads, sizes.channels, sizes.height)
    assert columns.shape == (0, sizes.heads, sizes.channels, sizes.width)
    if gradients:
        torch.cat([t.flatten() for t in (embedding, rows, columns)]).sum().backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None and not p.grad.any() for p in parameters)


@by_training
@by_device
def test_gradients_are_those_of_finite_differences(device: str, training: bool) -> None:
    features, parameters, statistics = make_random_inputs(3, Sizes(3, 2, 4, 2, 2), dtype=torch.float64, device=device)
    leaves = [t.detach().requires_grad_() for t in (features, *parameters)]

    def outputs(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        return tuple(attend(x, Parameters(*weights), None if training else statistics, training=training))

    assert torch.autograd.gradcheck(outputs, leaves, atol=1e-5)  # of two backward passes, too, that must be equal


@by_training
@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("size", ["published", "all different"])
@by_type
def test_two_runs_give_the_same_bits(device: str, dtype: torch.dtype, size: str, layout: str, training: bool) -> None:
    inputs = make_random_inputs(33, SIZES[size], dtype=dtype)
    first, second = (run_on(device, inputs, "native", training=training, layout=layout) for _ in range(2))
    for part in Run._fields:
        for key, value in getattr(first, part).items():
            assert value.isfinite().all(), f"{part} {key}"
            assert torch.equal(getattr(second, part)[key], value), f"{part} {key}"


# --- streams, graphs, devices


def evaluation(inputs: Inputs) -> Step:
    """A call with what the inputs hold when it runs."""

    def step() -> list[Tensor]:
        with torch.no_grad():
            return attend(*inputs)

    return step


def training_step(inputs: Inputs, *, loss: bool = False) -> Step:
    """Forward and backward: outputs, a copy of the running statistics, moved, and the gradients of everything."""
    features, parameters, statistics = inputs
    leaves = [t.detach().requires_grad_() for t in (features, *parameters)]  # they share the inputs' memory

    def step() -> list[Tensor]:
        running = Statistics(*(s.clone() for s in statistics))
        outputs = attend(leaves[0], Parameters(*leaves[1:]), running, training=True)
        outputs += [attention_mse(Gates(*outputs[1:]))] if loss else []
        gradients = torch.autograd.grad(outputs, leaves, [t.detach().cos() for t in outputs])
        return [*(t.detach() for t in outputs), *running, *gradients]

    return step


STEPS: dict[str, Callable[[Inputs], Step]] = {
    "evaluation": evaluation,
    "forward and backward": training_step,
    "with the attention loss": lambda inputs: training_step(inputs, loss=True),
}
by_step = pytest.mark.parametrize("make_step", STEPS.values(), ids=STEPS.keys())


def recorded(step: Step, device: str) -> Step:
    """A graph of the step that replays it; on a CPU, where there is no such thing, the step itself."""
    if device == "cpu":
        return step
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()

    def replay() -> list[Tensor]:
        graph.replay()
        return [t.clone() for t in results]

    return replay


def fill(inputs: Inputs, others: Inputs) -> None:
    """Puts other numbers where these are."""
    with torch.no_grad():
        for old, new in zip(*([i.features, *i.parameters, *i.statistics] for i in (inputs, others)), strict=True):
            old.copy_(new)


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(one, other), f"tensor {i} of {len(found)}"


@by_step
@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("size", ["published", "all different"])
@types(torch.float32, torch.bfloat16)
def test_a_captured_graph_gives_what_the_call_gives(
    device: str, dtype: torch.dtype, size: str, layout: str, make_step: Callable[[Inputs], Step]
) -> None:
    inputs = on(device, make_random_inputs(9, SIZES[size], dtype=dtype), layout)
    replay = recorded(make_step(inputs), device)
    for seed in (1, 2):
        others = on(device, make_random_inputs(9, SIZES[size], dtype=dtype, seed=seed), layout)
        fill(inputs, others)
        assert_equal(replay(), make_step(others)())


@by_step
@by_device
def test_work_is_queued_on_the_current_stream(device: str, make_step: Callable[[Inputs], Step]) -> None:
    """What a stream still has to write is read after it was written, although nobody waits for any other stream."""
    others = on(device, make_random_inputs(9))
    expected = make_step(others)()
    inputs = Inputs(
        torch.zeros_like(others.features),
        Parameters(*(torch.zeros_like(p) for p in others.parameters)),
        Statistics(*(torch.ones_like(s) for s in others.statistics)),
    )
    step = make_step(inputs)
    with contextlib.ExitStack() as stack:
        if device == "cuda":
            torch.cuda.synchronize()
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stack.enter_context(torch.cuda.stream(side))
            # A tenth of a second: what ran elsewhere would find zeros and ones.
            torch.cuda._sleep(200_000_000)  # type: ignore[no-untyped-call]
        fill(inputs, others)
        found = step()
        assert_equal(found, expected)  # compares on this stream


@by_step
@pytest.mark.gpu
def test_a_second_device_is_served_while_the_first_is_current(make_step: Callable[[Inputs], Step]) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    inputs = make_random_inputs(9)
    torch.cuda.set_device(0)
    found = make_step(on("cuda:1", inputs))()
    assert {str(t.device) for t in found} == {"cuda:1"}
    assert torch.cuda.current_device() == 0
    for one, other in zip(found, make_step(on("cuda:0", inputs))(), strict=True):
        torch.testing.assert_close(one.cpu(), other.cpu(), rtol=1e-4, atol=1e-4)  # it may be another model


@pytest.mark.gpu
def test_weights_on_another_device_are_refused() -> None:
    inputs = make_random_inputs(3)
    mixed = on("cuda", inputs)._replace(parameters=inputs.parameters)
    with pytest.raises(RuntimeError):
        training_step(mixed)()


# --- what torch asks of operators


@pytest.mark.parametrize("gates", [False, True])
@by_type
def test_evaluation_passes_torchs_checks_of_operators(
    device: str, dtype: torch.dtype, gates: bool, sizes: Sizes
) -> None:
    chosen(device, dtype)
    features, parameters, statistics = make_random_inputs(3, sizes, dtype=dtype, device=device)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    folded = pack(parameters, statistics, eps=1e-5, dtype=wide)
    checked(OPS.dda_inference, features, folded, sizes.heads, sizes.squeezed, gates)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch looks at it, not we
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("layout", DENSE)
@by_device
def test_training_passes_torchs_checks_of_operators(device: str, layout: str, given: bool, sizes: Sizes) -> None:
    chosen(device, torch.float32)
    features, parameters, statistics = on(device, make_random_inputs(3, sizes), layout)
    flat_statistics = statistics.flat() if given else None
    leaves = [t.detach().requires_grad_() for t in (features, *parameters)]
    checked(OPS.dda_forward, leaves[0], leaves[1:], flat_statistics, 1e-5, True)
    embedding, rows, columns, *saved = OPS.dda_forward(features, list(parameters), flat_statistics, 1e-5, True)
    rest = (features, list(parameters), *saved, not given, 1e-5)
    checked(OPS.dda_backward, embedding, rows, columns, *rest)
    checked(OPS.dda_backward, embedding, None, None, *rest)


@by_training
@by_device
def test_autocast_gives_its_own_type_and_float32_gradients_of_weights(device: str, training: bool) -> None:
    whole, low = network().train(training).to(device), network().train(training).to(device)
    x = images(6).to(device)
    with use("native"):
        expected, _ = whole(x)
        with torch.autocast(device, torch.bfloat16):
            embedding, distance = low(x)
            (embedding.float().sum() + distance).backward()
    assert embedding.dtype == torch.bfloat16
    assert (embedding.float() - expected).abs().max() < 0.05 * expected.abs().max()
    assert {p.grad.dtype for p in low.parameters() if p.grad is not None} == {torch.float32}


@by_training
@by_type
def test_native_is_what_is_chosen(
    device: str, dtype: torch.dtype, training: bool, fresh_registry: None, recwarn: pytest.WarningsRecorder
) -> None:
    assert chosen(device, dtype, training=training, name=None) == "native"
    assert not recwarn


def chosen(device: str, dtype: torch.dtype, *, training: bool = False, name: str | None = "native") -> str:
    """The choice for a call; operators are there once it was made."""
    kind = torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else torch.device(device)
    return select(Call(kind, dtype, DDAMFN_SIZES, training=training, gradients=training), name).name


# --- a promised GPU


@pytest.mark.parametrize(("promise", "required"), [("1", ", and ABAWKIT_REQUIRE_GPU=1"), ("", "")])
def test_a_missing_gpu_skips_with_a_reason_and_fails_where_one_was_promised(
    promise: str, required: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABAWKIT_REQUIRE_GPU", promise)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    marked: Any = SimpleNamespace(get_closest_marker={"gpu": pytest.mark.gpu}.get)
    with pytest.raises(pytest.fail.Exception if promise else pytest.skip.Exception) as outcome:
        pytest_runtest_setup(marked)
    assert str(outcome.value) == f"no GPU to test on{required}: torch.cuda.is_available() is False"
