"""What every implementation does alike, whatever the sizes: values, gradients, statistics, and their precision."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from abawkit.ops import Gates, Parameters, Statistics, attention_mse, dual_direction_attention
from abawkit.ops.self_check import VANISHING, measure_relative_errors
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import Inputs, make_random_inputs

IMPLEMENTATIONS = ["reference", "native"]
SIZES = {
    "published": Sizes(512, 7, 7, 2, 16),
    "7x7, channels that 16 does not divide": Sizes(37, 7, 7, 2, 16),
    "all different": Sizes(24, 3, 5, 2, 4),
    "one row, one head": Sizes(20, 1, 6, 1, 8),
    "one column, three heads": Sizes(9, 5, 1, 3, 8),
    "one position": Sizes(16, 1, 1, 2, 20),
    "one channel, five heads": Sizes(1, 8, 9, 5, 3),
}

by_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
by_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)


class Run(NamedTuple):
    """All that a call computes: outputs, running statistics after it, gradients of features and parameters."""

    outputs: dict[str, Tensor]
    statistics: dict[str, Tensor]
    gradients: dict[str, Tensor]


def run(inputs: Inputs, name: str, *, training: bool, gates: bool = True) -> Run:
    features, parameters, statistics = (
        inputs.features.detach().requires_grad_(),
        Parameters(*(p.detach().requires_grad_() for p in inputs.parameters)),
        Statistics(*(s.clone() for s in inputs.statistics)),
    )
    embedding, found = dual_direction_attention(
        features, parameters, statistics, training=training, gates=gates, implementation=name
    )
    directions = torch.linspace(-1, 1, embedding.numel(), dtype=torch.float64, device=embedding.device).view(
        embedding.shape
    )
    loss = (embedding.double() * directions).sum()
    if found is not None and inputs.parameters.sizes.heads > 1:
        loss = loss + 1 / (attention_mse(found) + 0.1)
    elif found is not None:
        loss = loss + found.rows.double().square().sum() - found.columns.double().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    outputs = {"embedding": embedding.detach()}
    outputs |= {} if found is None else {"rows": found.rows.detach(), "columns": found.columns.detach()}
    tensors = {"features": features, **parameters._asdict()}
    gradients = {key: t.grad if t.grad is not None else torch.zeros_like(t) for key, t in tensors.items()}
    return Run(outputs, statistics._asdict(), gradients)


def as_type(inputs: Inputs, dtype: torch.dtype, weights: torch.dtype | None = None) -> Inputs:
    weights = weights or dtype
    return Inputs(
        inputs.features.to(dtype),
        Parameters(*(p.to(weights) for p in inputs.parameters)),
        Statistics(*(s.to(weights) for s in inputs.statistics)),
    )


@by_size
@pytest.mark.parametrize("training", [False, True])
def test_float32_is_as_precise_as_eager_pytorch(sizes: Sizes, training: bool) -> None:
    exact_inputs = make_random_inputs(6, sizes, dtype=torch.float64)
    exact_inputs = as_type(as_type(exact_inputs, torch.float32), torch.float64)  # the same numbers in both types
    exact = run(exact_inputs, "reference", training=training)
    inputs = as_type(exact_inputs, torch.float32)
    eager, native = (run(inputs, name, training=training) for name in IMPLEMENTATIONS)
    for part in Run._fields:
        expected, found = (
            measure_relative_errors(getattr(r, part), getattr(exact, part), vanishing=training) for r in (eager, native)
        )
        for key, error in found.items():
            if not (training and key == VANISHING):
                assert error <= 2 * expected[key] + 4e-6, f"{part} {key}"


@by_size
@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_is_as_precise_as_eager_pytorch(sizes: Sizes, training: bool) -> None:
    inputs = as_type(make_random_inputs(6, sizes), torch.bfloat16)
    exact = run(as_type(inputs, torch.float64), "reference", training=training)
    eager, native = (run(inputs, name, training=training) for name in IMPLEMENTATIONS)
    for part in ("outputs", "gradients"):
        expected = measure_relative_errors(getattr(eager, part), getattr(exact, part))
        for key, error in measure_relative_errors(getattr(native, part), getattr(exact, part)).items():
            if not (training and key == VANISHING):
                assert error <= 2 * expected[key] + 2**-8, f"{part} {key}"


@by_size
@pytest.mark.parametrize("training", [False, True])
def test_float64_gives_the_same_numbers(sizes: Sizes, training: bool) -> None:
    inputs = make_random_inputs(5, sizes, dtype=torch.float64)
    exact, native = (run(inputs, name, training=training) for name in IMPLEMENTATIONS)
    for part in Run._fields:
        for key, error in measure_relative_errors(getattr(native, part), getattr(exact, part)).items():
            if not (training and key == VANISHING):
                assert error < 1e-10, f"{part} {key}"


@pytest.mark.parametrize("training", [False, True])
@by_implementation
def test_gradients_are_those_of_finite_differences(name: str, training: bool) -> None:
    features, parameters, statistics = make_random_inputs(3, Sizes(3, 2, 4, 2, 2), dtype=torch.float64)
    leaves = [t.detach().requires_grad_() for t in (features, *parameters)]

    def outputs(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding, gates = dual_direction_attention(
            x,
            Parameters(*weights),
            None if training else statistics,
            training=training,
            implementation=name,
        )
        assert gates is not None
        return embedding, *gates

    assert torch.autograd.gradcheck(outputs, leaves, atol=1e-5)


@by_implementation
@pytest.mark.parametrize("gates", [False, True])
def test_no_image_gives_empty_results(name: str, gates: bool, sizes: Sizes) -> None:
    features, parameters, statistics = make_random_inputs(0, sizes)
    with torch.no_grad():
        embedding, found = dual_direction_attention(
            features, parameters, statistics, training=False, gates=gates, implementation=name
        )
    assert embedding.shape == (0, sizes.channels)
    assert (found is None) is not gates
    if found is not None:
        assert found.rows.shape == (0, sizes.heads, sizes.channels, sizes.height)
        assert found.columns.shape == (0, sizes.heads, sizes.channels, sizes.width)


@pytest.mark.parametrize("images", [1, 2, 15, 257])
@by_implementation
def test_evaluation_treats_each_image_alone(name: str, images: int, sizes: Sizes) -> None:
    features, parameters, statistics = make_random_inputs(images, sizes)
    with torch.no_grad():
        together, _ = dual_direction_attention(features, parameters, statistics, training=False, implementation=name)
        for i in {0, images // 2, images - 1}:
            alone, _ = dual_direction_attention(
                features[i : i + 1], parameters, statistics, training=False, implementation=name
            )
            tolerance = 0.0 if name == "native" else None
            torch.testing.assert_close(alone[0], together[i], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bias", [-torch.inf, -1000.0, -88.0, -87.0, 87.0, 88.0, 1000.0, torch.inf, torch.nan])
def test_gates_saturate_as_those_of_the_reference(bias: float, training: bool) -> None:
    features, parameters, statistics = make_random_inputs(3, SIZES["published"])
    parameters = parameters._replace(row_gate_bias=torch.full_like(parameters.row_gate_bias, bias))
    expected, found = (
        dual_direction_attention(features, parameters, statistics, training=training, implementation=name)[1]
        for name in IMPLEMENTATIONS
    )
    assert expected is not None
    assert found is not None
    torch.testing.assert_close(found.rows, expected.rows, rtol=1e-4, atol=1e-36, equal_nan=True)


def strided(x: Tensor) -> Tensor:
    return torch.stack([x, torch.full_like(x, torch.nan)], dim=-1)[..., 0]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every other number": strided,
    "turned": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "images last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "behind an odd address": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("size", ["published", "all different", "one position"])
def test_strides_change_nothing_but_rounding(size: str, layout: Callable[[Tensor], Tensor], training: bool) -> None:
    inputs = make_random_inputs(5, SIZES[size])
    plain, other = (
        run(inputs._replace(features=features), "native", training=training)
        for features in (inputs.features, layout(inputs.features))
    )
    for part in Run._fields:
        for key, error in measure_relative_errors(getattr(other, part), getattr(plain, part)).items():
            assert error < 1e-6 or (training and key == VANISHING), f"{part} {key}"


def test_gradients_of_channels_last_features_are_channels_last() -> None:
    inputs = make_random_inputs(5, SIZES["published"])
    features = inputs.features.contiguous(memory_format=torch.channels_last)
    result = run(inputs._replace(features=features), "native", training=True)
    assert result.gradients["features"].is_contiguous(memory_format=torch.channels_last)


def test_an_image_of_channels_last_features_is_channels_last_whatever_lies_between_images() -> None:
    inputs = make_random_inputs(4, SIZES["published"])
    features = inputs.features.contiguous(memory_format=torch.channels_last)[::2][:1]
    result = run(inputs._replace(features=features), "native", training=False)
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert result.gradients["features"].is_contiguous(memory_format=torch.channels_last)


NO_MEMORY = """
import pathlib, resource, torch
from abawkit.ops import dual_direction_attention
from abawkit.ops.testing import make_random_inputs
inputs = make_random_inputs(2)
dual_direction_attention(*inputs, training=True, implementation="native")
features = inputs.features.repeat(2000, 1, 1, 1)
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**24,) * 2)
dual_direction_attention(features, *inputs[1:], training=True, implementation="native")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="limits of memory are those of Linux")
def test_too_little_memory_for_a_result_is_said_to_be_that() -> None:
    """In words that training knows: it then advises a smaller batch."""
    command = [sys.executable, "-c", NO_MEMORY]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert "abawkit: can't allocate memory: 0.11" in result.stderr.splitlines()[-1]


def test_constant_channels_are_normalised_without_cancellation() -> None:
    inputs = make_random_inputs(6, SIZES["published"])
    features = inputs.features.clone()
    features[:, ::3] = torch.linspace(-50, 50, features[0, ::3].numel() // 49).view(1, -1, 1, 1)
    inputs = inputs._replace(features=features)
    exact = run(as_type(inputs, torch.float64), "reference", training=True)
    eager, native = (run(inputs, name, training=True) for name in IMPLEMENTATIONS)
    for part in Run._fields:
        expected = measure_relative_errors(getattr(eager, part), getattr(exact, part))
        for key, error in measure_relative_errors(getattr(native, part), getattr(exact, part)).items():
            assert error <= 2 * expected[key] + 4e-6 or key == VANISHING, f"{part} {key}"


def test_equal_heads_share_the_gradient_as_torch_maximum_does() -> None:
    inputs = make_random_inputs(4, Sizes(18, 7, 7, 2, 16), dtype=torch.float64)
    heads = inputs.parameters.sizes.heads

    def same(t: Tensor) -> Tensor:
        return torch.cat([t[: len(t) // heads]] * heads)

    named = inputs.parameters._asdict()
    parameters = Parameters(*(t if key.startswith("pool") else same(t) for key, t in named.items()))
    exact, native = (
        run(inputs._replace(parameters=parameters), name, training=True, gates=False) for name in IMPLEMENTATIONS
    )
    for key, error in measure_relative_errors(native.gradients, exact.gradients).items():
        assert error < 1e-9 or key == VANISHING, key


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", ["published", "all different"])
def test_two_runs_give_the_same_bits_with_any_number_of_threads(size: str, training: bool) -> None:
    inputs = make_random_inputs(33, SIZES[size])
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 1, 2, 3):
            torch.set_num_threads(threads)
            runs.append(run(inputs, "native", training=training))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        for part in Run._fields:
            for key, value in getattr(runs[0], part).items():
                assert torch.equal(getattr(other, part)[key], value), f"{part} {key}"


def test_memory_that_threads_keep_between_calls_changes_nothing() -> None:
    many = [make_random_inputs(images, SIZES["published"], seed=images) for images in (2, 9, 64, 2, 9)]

    def found(inputs: Inputs) -> Run:
        return run(inputs, "native", training=True)

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as three:
        runs = list(zip(one.map(found, many), three.map(found, many), strict=True))
    for inputs, others in zip(many, runs, strict=True):
        with ThreadPoolExecutor(1) as fresh:
            alone = fresh.submit(found, inputs).result()
        for other in others:
            for part in Run._fields:
                for key, value in getattr(alone, part).items():
                    assert torch.equal(getattr(other, part)[key], value), f"{part} {key}"


def test_gates_are_left_out_where_they_are_not_wanted() -> None:
    inputs = make_random_inputs(4, SIZES["published"])
    with_gates, without = (run(inputs, "native", training=True, gates=gates) for gates in (True, False))
    assert torch.equal(with_gates.outputs["embedding"], without.outputs["embedding"])
    assert without.outputs.keys() == {"embedding"}


@by_implementation
def test_gates_lead_to_the_embedding_and_have_no_map_among_what_is_saved(name: str) -> None:
    sizes = SIZES["published"]
    features, parameters, statistics = make_random_inputs(2, sizes, gradients=True)
    shapes = []

    def note(t: Tensor) -> Tensor:
        shapes.append(tuple(t.shape))
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        _, gates = dual_direction_attention(features, parameters, statistics, training=True, implementation=name)
        assert isinstance(gates, Gates)
        attention_mse(gates)
    maps = [shape for shape in shapes if shape[-2:] == (7, 7) and shape not in ((2, 512, 7, 7), (512, 7, 7))]
    assert (maps == []) is (name == "native")


@by_implementation
def test_statistics_stay_where_none_are_given(name: str, inputs: Inputs) -> None:
    features, parameters, statistics = inputs
    tracked, _ = dual_direction_attention(features, parameters, statistics, training=True, implementation=name)
    free, _ = dual_direction_attention(features, parameters, None, training=True, implementation=name)
    assert torch.equal(tracked, free)


@pytest.mark.parametrize("training", [False, True])
def test_one_image_has_no_statistics(inputs: Inputs, training: bool) -> None:
    features, parameters, statistics = inputs
    for count in (0, 1):
        with pytest.raises(ValueError, match="statistics of a batch need at least 2 images"):
            dual_direction_attention(features[:count], parameters, statistics, training=True)
    with pytest.raises(ValueError, match=r"got features \(3, 24, 5, 3\), expected \(N, 24, 3, 5\)"):
        dual_direction_attention(features.transpose(2, 3), parameters, statistics, training=training)
    with pytest.raises(ValueError, match="evaluation needs running statistics"):
        dual_direction_attention(features, parameters, None, training=False)
