"""How time is measured: no input is found in a GPU's cache, and the kernels of a call are counted once."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity

from abawkit.ops import bench as bench_module
from abawkit.ops import bench_variants as compiled
from abawkit.ops import dual_direction_attention, timing
from abawkit.ops.bench import bench
from abawkit.ops.tensors import Sizes
from abawkit.ops.timing import Rotation, read_cache_bytes, read_kernel_times, time_kernels, time_rounds, time_wall

CPU = torch.device("cpu")


def addresses(rotation: Rotation, calls: int) -> list[int]:
    return [rotation().data_ptr() for _ in range(calls)]


def test_without_a_cache_it_is_the_tensor_itself() -> None:
    x = torch.ones(3)
    assert {id(Rotation(x, 0)()) for _ in range(3)} == {id(x)}
    assert read_cache_bytes(CPU) == 0


@pytest.mark.parametrize("cache", [1, 96, 100, 1000])
def test_twice_the_cache_is_used_before_a_copy_comes_again(cache: int) -> None:
    rotation = Rotation(torch.arange(24.0).view(2, 3, 2, 2), cache)  # of 96 bytes
    count = len(rotation.tensors)
    assert count == math.ceil(2 * cache / 96)
    first = addresses(rotation, count)
    assert len(set(first)) == count
    assert addresses(rotation, count) == first


def test_copies_are_leaves_like_the_tensor() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    for copy in Rotation(x, 4 * x.nbytes).tensors:
        assert torch.equal(copy, x)
        assert copy.stride() == x.stride()
        assert copy.requires_grad
        assert copy.is_leaf


def test_of_nothing_there_is_one() -> None:
    assert len(Rotation(torch.empty(0, 3), 100).tensors) == 1


@pytest.mark.parametrize("compile_too", [False, True])
def test_the_bench_takes_its_features_in_turn(
    sizes: Sizes, monkeypatch: pytest.MonkeyPatch, fresh_registry: None, compile_too: bool
) -> None:
    """As on a GPU with a cache of two batches: evaluation, training and what is compiled see four copies."""
    images = 3
    one = images * sizes.channels * sizes.height * sizes.width * 4
    for module in (bench_module, compiled):
        monkeypatch.setattr(module, "read_cache_bytes", lambda _: 2 * one)
    seen: dict[object, set[int]] = {}

    def spy(features: Tensor, *arguments: object, training: bool, **options: Any) -> Any:
        seen.setdefault(training, set()).add(features.data_ptr())
        return dual_direction_attention(features, *arguments, training=training, **options)  # type: ignore[arg-type]

    def traced(function: Callable[[Tensor], Tensor], **options: object) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            if x.dim() == 4:
                form = "compiled", x.is_contiguous(), torch.is_inference_mode_enabled()
                seen.setdefault(form, set()).add(x.data_ptr())
            return function(x)

        return run

    monkeypatch.setattr(bench_module, "dual_direction_attention", spy)
    monkeypatch.setattr(torch, "compile", traced)
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks))  # two seconds each: nothing is repeated
    result = bench([images], sizes=sizes, rounds=4, compiled=compile_too)
    assert result.cache == 2 * one
    assert {row.copies for row in result.measured} == {4}
    assert {len(copies) for copies in seen.values()} == {4}


def test_what_is_short_is_repeated_and_medians_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    lengths = {
        "short": iter([9.0, 0.0004, *[0.0004] * 2, *[0.002] * 2, *[0.0006] * 2]),
        "long": iter([9.0, 5, 6, 1, 2]),
    }

    def work(name: str) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            now += next(lengths[name])

        return run

    monkeypatch.setattr(timing, "perf_counter", lambda: now)
    found = time_wall({name: work(name) for name in lengths}, 3, CPU)
    assert found == pytest.approx({"short": 0.6, "long": 2000.0})  # of 0.4, 2 and 0.6, and of 6, 1 and 2 seconds


def test_no_round_begins_after_the_limit_but_three_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks))  # a second a call, and one to look at the limit
    work = {"a": lambda: None, "b": lambda: None}
    assert time_rounds(work, 5, CPU, limit=1.0) == {"a": [1.0] * 3, "b": [1.0] * 3}
    assert time_rounds(work, 2, CPU, limit=1.0) == {"a": [1.0] * 2, "b": [1.0] * 2}
    assert time_rounds(work, 5, CPU, limit=16.0) == {"a": [1.0] * 4, "b": [1.0] * 4}
    assert time_rounds(work, 5, CPU) == {"a": [1.0] * 5, "b": [1.0] * 5}


def test_what_is_long_is_called_once_before_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks))
    calls: list[None] = []
    for limit, before in ((5.0, 1), (20.0, 2)):
        calls.clear()
        time_rounds({"a": lambda: calls.append(None)}, 3, CPU, limit)
        assert len(calls) == 3 + before


def test_kernels_are_summed_by_name_without_what_the_host_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(name: str, us: float, kind: DeviceType = DeviceType.CUDA, annotation: bool = False) -> SimpleNamespace:
        time_range = SimpleNamespace(elapsed_us=lambda: us)
        return SimpleNamespace(name=name, device_type=kind, is_user_annotation=annotation, time_range=time_range)

    seen = [
        event("kernel a", 6.0),
        event("kernel b", 2.0),
        event("kernel a", 10.0),
        event("cudaLaunchKernel", 99.0, DeviceType.CPU),
        event("a named part of the program", 99.0, annotation=True),
    ]
    calls: list[str] = []

    class Profile:
        def __init__(self, activities: object) -> None:
            assert activities == [ProfilerActivity.CUDA]

        def __enter__(self) -> "Profile":
            calls.append("begin")
            return self

        def __exit__(self, *_: object) -> None:
            calls.append("end")

        def events(self) -> list[SimpleNamespace]:
            return seen

    monkeypatch.setattr(timing, "profile", Profile)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: calls.append("wait"))
    gpu = torch.device("cuda", 0)
    assert read_kernel_times(lambda: calls.append("call"), 2, gpu) == {"kernel a": 8.0, "kernel b": 1.0}
    assert calls == ["wait", "begin", "call", "call", "wait", "end"]
    assert time_kernels({"x": lambda: None}, 1, gpu) == {"x": pytest.approx(18 / 5 / 1000)}
    seen.clear()
    assert time_kernels({"x": lambda: None}, 1, gpu) == {}
    assert time_kernels({"x": lambda: None}, 1, CPU) == {}


@pytest.mark.gpu
def test_kernels_of_a_gpu_are_seen_and_its_cache_is_known() -> None:
    result = bench([4], rounds=2, device="cuda", compiled=False)
    assert result.cache > 2**20
    for row in result.measured:
        assert row.copies * 4 * 512 * 49 * 4 >= 2 * result.cache
        assert row.kernels.keys() == row.milliseconds.keys()
        assert all(milliseconds > 0 for milliseconds in row.kernels.values())
    assert result.measured[0].kernel_stream
