"""Benchmark of implementations against the reference and `torch.compile` of it: medians of interleaved rounds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, Literal

import torch
from torch import Tensor

from abawkit.ops.attention import dual_direction_attention
from abawkit.ops.base import Call
from abawkit.ops.bench_variants import COMPILED, Variant, make_evaluation_variants, make_training_variants
from abawkit.ops.folding import FoldCache
from abawkit.ops.registry import list_implementations
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES, Inputs, make_random_inputs
from abawkit.ops.timing import Rotation, read_cache_bytes, time_kernels, time_wall

Mode = Literal["evaluation", "training"]
Work = Literal["evaluation", "training forward", "training forward and backward"]

MODES: Final[tuple[Mode, ...]] = ("evaluation", "training")
REFERENCE: Final = "reference"
STREAM: Final = "stream"

_Run = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """Results for one kind of work on one number of images.

    Attributes:
        work: The kind of work.
        images: N.
        milliseconds: Median by implementation, or by variant of `torch.compile`.
        stream: In evaluation, milliseconds to sum the features with the same threads; on a GPU, to copy them.
        saved: In training, bytes kept for backward by implementation, without features and parameters.
        differences: Greatest difference from the reference's embedding, as a share of its greatest value.
        kernels: On a GPU, milliseconds of the kernels alone; `milliseconds` also has the time to launch them.
        kernel_stream: `stream` in the same way.
        copies: Copies of the features that were used in turn, so that none was in a GPU's cache; 1 on a CPU.
    """

    work: Work
    images: int
    milliseconds: dict[str, float]
    stream: float | None = None
    saved: dict[str, int] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    kernels: dict[str, float] = field(default_factory=dict)
    kernel_stream: float | None = None
    copies: int = 1

    @property
    def compiled(self) -> float | None:
        """Milliseconds of the fastest variant of `torch.compile`, if any was measured."""
        return min((t for name, t in self.milliseconds.items() if _is_compiled(name)), default=None)

    @property
    def names(self) -> list[str]:
        """The implementations, without the reference."""
        return [n for n in self.milliseconds if n != REFERENCE and not _is_compiled(n)]

    def to_eager(self, name: str) -> float:
        """Speed-up over the reference."""
        return self.milliseconds[REFERENCE] / self.milliseconds[name]

    def to_compiled(self, name: str) -> float | None:
        """Speed-up over the fastest variant of `torch.compile`."""
        return self.compiled / self.milliseconds[name] if self.compiled else None

    def of_stream(self, name: str, *, copied: bool) -> float | None:
        """Rate at which features are read, as a share of that of the sum, or of the copy's traffic."""
        return self.stream / self.milliseconds[name] / (2 if copied else 1) if self.stream else None

    def kernels_to_eager(self, name: str) -> float | None:
        """Speed-up of its kernels over those of the reference, where they were measured."""
        return self.kernels[REFERENCE] / self.kernels[name] if {REFERENCE, name} <= self.kernels.keys() else None

    def kernels_of_stream(self, name: str) -> float | None:
        """`of_stream` of kernels alone, against the copy's traffic, where they were measured."""
        return self.kernel_stream / self.kernels[name] / 2 if self.kernel_stream and name in self.kernels else None

    def of_saved(self, name: str) -> float | None:
        """Bytes kept for backward as a share of the reference's."""
        return self.saved[name] / self.saved[REFERENCE] if self.saved.get(REFERENCE) else None


@dataclass(frozen=True)
class Bench:
    """The results of a benchmark; see `bench`.

    Attributes:
        threads: Of the CPU.
        cache: Bytes of a GPU's second-level cache, in which no features are left; 0 on a CPU.
        torch: Its version.
        measured: By work and number of images.
        left_out: What was not measured, with the reason.
    """

    sizes: Sizes
    dtype: str
    device: str
    threads: int
    cache: int
    channels_last: bool
    torch: str
    rounds: int
    measured: list[Measured]
    left_out: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the ratios."""
        copied = self.device != "cpu"
        rows = []
        for m in self.measured:
            ratios = {
                name: {
                    "to_eager": m.to_eager(name),
                    "to_compiled": m.to_compiled(name),
                    "of_stream": m.of_stream(name, copied=copied),
                    "of_saved": m.of_saved(name),
                    "kernels_to_eager": m.kernels_to_eager(name),
                    "kernels_of_stream": m.kernels_of_stream(name),
                }
                for name in m.names
            }
            rows.append({**asdict(m), "ratios": ratios})
        return {**asdict(self), "sizes": self.sizes._asdict(), "measured": rows}


def bench(
    images: Sequence[int],
    modes: Sequence[Mode] = MODES,
    *,
    sizes: Sizes = DDAMFN_SIZES,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    rounds: int = 7,
    channels_last: bool = False,
    compiled: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measures every implementation that can serve, in evaluation and in training.

    In training the forward pass has gates and the backward pass starts from embedding and gates, as with the attention
    loss. On a GPU features are read from memory, not from its cache (`Rotation`); the few weights stay in the cache, as
    in use.

    Args:
        images: Values of N; training skips those below 2.
        modes: Evaluation, training or both.
        sizes: Of the operator.
        dtype: Of features and parameters.
        device: Of all tensors.
        rounds: Interleaved rounds, of which the median counts.
        channels_last: Whether features are in that memory format.
        compiled: Whether to measure `torch.compile` of the reference too, in its best variant.
        say: Called with a line before long work.
    """
    device, left_out = torch.device(device), {}
    if compiled and (reason := explain_missing_compiler(device, say)):
        compiled, left_out[COMPILED] = False, reason
    found: list[Measured] = []
    for mode in modes:
        training = mode == "training"
        names = []
        for offer in list_implementations():
            reasons = offer.reasons_for(Call(device, dtype, sizes, training, training))
            names += [] if reasons else [offer.name]
            left_out |= {f"{offer.name}, {mode}": "; ".join(reasons)} if reasons else {}
        for n in images:
            if training and n < 2:
                left_out[f"training with N = {n}"] = "statistics of a batch need at least 2 images"
                continue
            inputs = make_random_inputs(n, sizes, dtype=dtype, device=device, gradients=training)
            if channels_last:
                features = inputs.features.detach().contiguous(memory_format=torch.channels_last)
                inputs = inputs._replace(features=features.requires_grad_(training))
            say(f"{mode}, N = {n}{': torch.compile may take minutes' if compiled else ''}")
            measure = _measure_training if training else _measure_evaluation
            found += measure(inputs, names, rounds, compiled=compiled)
    kind = str(dtype).removeprefix("torch.")
    threads = torch.get_num_threads()
    version, cache = str(torch.__version__), read_cache_bytes(device)
    return Bench(sizes, kind, str(device), threads, cache, channels_last, version, rounds, found, left_out)


def _is_compiled(name: str) -> bool:
    return name.split(",")[0] == COMPILED


@torch.inference_mode()
def _measure_evaluation(inputs: Inputs, names: Sequence[str], rounds: int, *, compiled: bool) -> list[Measured]:
    x, parameters, statistics = inputs
    features = Rotation(x, read_cache_bytes(x.device))
    work: dict[str, Callable[[], Tensor]] = {}
    for name in names:
        cache = FoldCache()

        def attend(name: str = name, cache: FoldCache = cache) -> Tensor:
            return dual_direction_attention(
                features(), parameters, statistics, training=False, gates=False, implementation=name, cache=cache
            )[0]

        work[name] = attend
    if compiled:
        torch.compiler.reset()  # or variants of earlier sizes would use up its limit, and run without being compiled
        work |= make_evaluation_variants(inputs, features)
    expected = work[REFERENCE]().double()
    scale = expected.abs().max().clamp_min(1e-30) if expected.numel() else 1.0
    differences = {
        n: float(((f().double() - expected).abs() / scale).max()) if len(x) else 0.0 for n, f in work.items()
    }
    everything: dict[str, _Run] = {**work, STREAM: _make_stream(features)}
    times, kernels = (time(everything, rounds, x.device) for time in (time_wall, time_kernels))
    alone, alone_kernels = times.pop(STREAM), kernels.pop(STREAM, None)
    copies = len(features.tensors)
    return [Measured("evaluation", len(x), times, alone, {}, differences, kernels, alone_kernels, copies)]


def _make_stream(features: Rotation) -> _Run:
    """Sums the features, or on a GPU, copies them."""
    x = features.tensors[0]
    if not x.is_cuda:
        return x.sum
    targets = Rotation(torch.empty_like(x), read_cache_bytes(x.device))
    return lambda: targets().copy_(features())


def _measure_training(inputs: Inputs, names: Sequence[str], rounds: int, *, compiled: bool) -> list[Measured]:
    x, parameters, statistics = inputs
    features, leaves = Rotation(x, read_cache_bytes(x.device)), (x, *parameters)
    work: dict[str, Variant] = {}
    for name in names:

        def attend(x: Tensor, name: str = name) -> tuple[Tensor, ...]:
            found, gates = dual_direction_attention(x, parameters, statistics, training=True, implementation=name)
            assert gates is not None  # noqa: S101 - the default
            return found, *gates

        work[name] = attend
    saved = {name: measure_saved_bytes(partial(f, x), leaves) for name, f in work.items()}
    if compiled:
        torch.compiler.reset()
        work |= make_training_variants(inputs)
    ends = [torch.randn_like(part) for part in work[REFERENCE](x)]

    def both(f: Variant) -> object:
        own = features()
        return torch.autograd.grad(f(own), (own, *parameters), ends)

    expected = work[REFERENCE](x)[0].detach().double()
    scale = expected.abs().max()
    differences = {n: float((f(x)[0].detach().double() - expected).abs().max() / scale) for n, f in work.items()}
    forward: dict[str, _Run] = {name: (lambda f=f: f(features())) for name, f in work.items()}  # type: ignore[misc]
    whole: dict[str, _Run] = {name: partial(both, f) for name, f in work.items()}
    copies = len(features.tensors)

    def measured(kind: Work, runs: dict[str, _Run]) -> Measured:
        times, kernels = (time(runs, rounds, x.device) for time in (time_wall, time_kernels))
        return Measured(kind, len(x), times, None, saved, differences, kernels, None, copies)

    return [measured("training forward", forward), measured("training forward and backward", whole)]


def measure_saved_bytes(run: _Run, known: Sequence[Tensor]) -> int:
    """Bytes that a forward pass keeps for its backward pass, each storage once, without those of `known`."""
    own = {t.untyped_storage().data_ptr() for t in known}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their addresses from being used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(storage.nbytes() for storage in kept.values())


def explain_missing_compiler(device: torch.device, say: Callable[[str], None]) -> str:
    """Why `torch.compile` does not work here; empty where it does."""
    say("trying torch.compile")
    try:
        x = torch.ones(8, device=device)
        torch.compile(lambda t: t.sin() + 1)(x)
    except Exception as error:  # a different one for each missing part
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""
