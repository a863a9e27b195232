"""What the measuring measures: the right work, against a right opponent, and ratios that follow from its own times."""

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from abawkit.ops import bench as module
from abawkit.ops import dual_direction_attention, registry, timing
from abawkit.ops.base import Call
from abawkit.ops.bench import Measured, bench, measure_saved_bytes
from abawkit.ops.bench_variants import fold, folded_attention, make_evaluation_variants, make_training_variants
from abawkit.ops.reference import Reference
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import Inputs
from abawkit.ops.timing import Rotation

pytestmark = pytest.mark.usefixtures("fresh_registry")


class EvaluationOnly(Reference):
    name: ClassVar[str] = "vendor/quick"

    def reasons(self, call: Call) -> list[str]:
        return ["it has no backward"] if call.training else []


@pytest.fixture
def offers(fresh_registry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference, and one that is the reference in evaluation alone."""
    made = Reference(), EvaluationOnly()
    found = tuple(registry.Offer(one.name, "", "", 0, one) for one in made)
    monkeypatch.setattr(registry, "_load_offers", lambda _: found)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which everything takes two seconds, so that nothing is repeated and every ratio is known."""
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks))


@pytest.mark.usefixtures("offers", "clock")
def test_everything_that_can_serve_is_measured_and_the_rest_named(sizes: Sizes) -> None:
    said: list[str] = []
    result = bench([1, 3], sizes=sizes, rounds=2, compiled=False, say=said.append)
    works = [(m.work, m.images, list(m.milliseconds)) for m in result.measured]
    assert works == [
        ("evaluation", 1, ["reference", "vendor/quick"]),
        ("evaluation", 3, ["reference", "vendor/quick"]),
        ("training forward", 3, ["reference"]),
        ("training forward and backward", 3, ["reference"]),
    ]
    assert result.left_out == {
        "vendor/quick, training": "it has no backward",
        "training with N = 1": "statistics of a batch need at least 2 images",
    }
    assert said == ["evaluation, N = 1", "evaluation, N = 3", "training, N = 3"]
    assert (result.dtype, result.device, result.threads) == ("float32", "cpu", torch.get_num_threads())


@pytest.mark.usefixtures("offers", "clock")
def test_the_ratios_are_those_of_the_times(sizes: Sizes) -> None:
    evaluation = bench([3], ["evaluation"], sizes=sizes, rounds=1, compiled=False)
    (row,) = evaluation.as_dict()["measured"]
    assert row["milliseconds"] == {"reference": 2000.0, "vendor/quick": 2000.0}
    ratios = {"to_eager": 1.0, "to_compiled": None, "of_stream": 1.0, "of_saved": None}
    assert row["ratios"] == {"vendor/quick": {**ratios, "kernels_to_eager": None, "kernels_of_stream": None}}
    assert row["differences"] == {"reference": 0.0, "vendor/quick": 0.0}
    assert (row["kernels"], row["kernel_stream"], row["copies"]) == ({}, None, 1)  # there are none on a CPU
    assert evaluation.cache == 0


def test_the_best_variant_of_the_compiler_is_the_opponent() -> None:
    times = {"reference": 12.0, "vendor/quick": 2.0, "torch.compile": 8.0, "torch.compile, folded": 6.0}
    kernels = {"reference": 8.0, "vendor/quick": 0.5}
    measured = Measured("evaluation", 4, times, 1.0, {"reference": 100, "vendor/quick": 8}, {}, kernels, 0.5)
    assert measured.names == ["vendor/quick"]
    assert (measured.to_eager("vendor/quick"), measured.to_compiled("vendor/quick")) == (6.0, 3.0)
    assert measured.of_stream("vendor/quick", copied=False) == 0.5
    assert measured.of_stream("vendor/quick", copied=True) == 0.25  # a copy moves each byte twice
    assert measured.of_saved("vendor/quick") == 0.08
    assert measured.kernels_to_eager("vendor/quick") == 16.0
    assert measured.kernels_of_stream("vendor/quick") == 0.5
    assert measured.kernels_to_eager("vendor/other") is measured.kernels_of_stream("vendor/other") is None


@pytest.mark.usefixtures("offers", "clock")
@pytest.mark.parametrize("last", [False, True])
def test_features_have_the_memory_format_that_was_asked_for(
    sizes: Sizes, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    seen: list[bool] = []

    def spy(features: Tensor, *arguments: object, **options: object) -> object:
        seen.append(features.is_contiguous(memory_format=torch.channels_last))
        return dual_direction_attention(features, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "dual_direction_attention", spy)
    bench([3], sizes=sizes, rounds=1, compiled=False, channels_last=last)
    assert set(seen) == {last}


@pytest.mark.usefixtures("offers", "clock")
def test_a_machine_without_a_compiler_is_measured_without_it(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found\nat all")

    monkeypatch.setattr(torch, "compile", missing)
    result = bench([2], ["evaluation"], sizes=sizes, rounds=1)
    assert result.left_out == {"torch.compile": "No working C++ compiler found"}
    assert result.measured[0].compiled is None


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces, and leaves the code to torch: what is given to the compiler is tested, not the compiler."""
    compiled = torch.compile
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", lambda f, **options: compiled(f, backend="eager", **options))
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("offers", "clock", "eager_backend")
def test_every_variant_that_is_compiled_computes_what_the_reference_computes(sizes: Sizes) -> None:
    result = bench([3], sizes=sizes, rounds=1)
    evaluation, forward, both = result.measured
    variants = [name for name in evaluation.milliseconds if name.startswith("torch.compile")]
    assert variants == [
        f"torch.compile{form}{layout}"
        for form in ("", ", folded", ", folded, sums")
        for layout in ("", ", channels_last")
    ]
    assert all(0 <= difference < 1e-5 for difference in evaluation.differences.values())
    assert forward.differences.keys() == {"reference", "torch.compile", "torch.compile, sums"}
    assert all(0 <= difference < 1e-5 for difference in forward.differences.values())
    assert both.to_compiled("reference") == 1.0


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("sums", [False, True])
def test_folded_weights_are_the_reference(make: Callable[..., Inputs], heads: int, sums: bool) -> None:
    x, parameters, statistics = make(4, Sizes(16, 3, 5, heads, 4), dtype=torch.float64)
    found = folded_attention(x, fold(parameters, statistics, 1e-5), sums=sums)
    expected, _ = dual_direction_attention(x, parameters, statistics, training=False, implementation="reference")
    torch.testing.assert_close(found, expected)


def test_variants_are_made_for_both_memory_formats(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []

    def fake(function: Callable[[Tensor], Tensor], **options: object) -> Callable[[Tensor], Tensor]:
        assert options == {"fullgraph": True, "dynamic": False}

        def run(x: Tensor) -> Tensor:
            seen.append((x.is_contiguous(), x.is_contiguous(memory_format=torch.channels_last)))
            return function(x)

        return run

    monkeypatch.setattr(torch, "compile", fake)
    for variant in make_evaluation_variants(inputs, Rotation(inputs.features, 0)).values():
        variant()
    assert seen == [(True, False), (False, True)] * 3
    assert len(make_training_variants(inputs)["torch.compile"](inputs.features)) == 3


def test_what_is_saved_is_counted_once_and_without_what_was_there_before() -> None:
    x, weight = torch.ones(8, requires_grad=True), torch.ones(8, requires_grad=True)

    def run() -> Tensor:
        hidden = (x * weight).exp()  # the product saves its factors, exp its result
        return hidden * hidden[:4].sum()  # saves the same storage, and a sum of 4 bytes

    assert measure_saved_bytes(run, [x, weight]) == 8 * 4 + 4
    assert measure_saved_bytes(run, [x]) == 2 * 8 * 4 + 4
    with torch.no_grad():
        assert measure_saved_bytes(run, [x]) == 0
