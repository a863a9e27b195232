"""Compares an implementation with the reference, on the device where it will be used.

Before the first call of a kind, `find_difference` compares a few small calls and keeps the result on disk for later
processes. `abawkit ops check` compares many more by `check`.
"""

import hashlib
import inspect
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

import abawkit
from abawkit.ops.base import EPS, Arguments, Call, Implementation, OperatorImplementation
from abawkit.ops.reference import Reference
from abawkit.ops.tensors import Gates, Parameters, Sizes, Statistics
from abawkit.ops.testing import Inputs, make_random_inputs
from abawkit.system.files import write_bytes

TOLERANCES: Final = {torch.float32: 4e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11, torch.float64: 1e-10}
"""Relative error that is allowed in addition to twice that of the reference in the same type."""

VANISHING: Final = "squeeze_bias"
"""A bias before a batch norm: in training its gradient is zero, and any other result is rounding."""

FORMATS: Final = (torch.contiguous_format, torch.channels_last)
LEAST_GAP: Final = 3e-6
"""Least difference of two heads, as a share of the larger one, where gradients are compared in float32: between nearly
equal heads, rounding decides to which of them the gradient flows, and both results are right."""


class Comparison(NamedTuple):
    """One tensor of one call, compared with the reference in float64.

    Attributes:
        tensor: The tensor and the call: ``embedding of 5 images, contiguous``.
        error: Largest difference, relative to the tensor's largest magnitude; NaN where a number is missing.
        bound: The error that is allowed.
    """

    tensor: str
    error: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the bound; a NaN is not."""
        return self.error <= self.bound

    @property
    def excess(self) -> float:
        """The error as a multiple of the bound; infinite where a number is missing."""
        return self.error / self.bound if self.error == self.error else float("inf")


class Results(NamedTuple):
    """The results of a call.

    Attributes:
        outputs: ``embedding``, ``rows`` and ``columns``.
        statistics: Running statistics after the call; empty where the call does not change them.
        gradients: Of the features and of each parameter; empty where none were computed.
    """

    outputs: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


def compare_attention(implementation: Implementation, call: Call, images: Sequence[int]) -> Iterator[Comparison]:
    """Compares an implementation with the reference for one kind of call, in both memory formats; see `check`."""
    for count in images:
        inputs, exact = choose_inputs(count, call)
        options = {"training": call.training, "gradients": call.gradients}
        # both formats, as the order of their sums differs: the larger error of the two is that of rounding
        rounded = [compute(Reference(), _convert(inputs, form=form), **options) for form in FORMATS]
        for form in FORMATS:
            words = f"{count} images, {describe_format(form)}"
            moved = _convert(inputs, device=call.device, form=form)
            yield from _compare_results(compute(implementation, moved, **options), exact, rounded, call, words)
            if not (call.training or call.gradients):
                yield from _compare_batches(implementation, moved, exact, rounded, call, words)


Compare = Callable[[Any, Call, Sequence[int]], Iterator[Comparison]]
"""Compares an implementation with the reference, for one kind of call and some numbers of images."""


def check(
    implementation: OperatorImplementation,
    call: Call,
    *,
    images: Sequence[int] = (5,),
    compare: Compare = compare_attention,
) -> list[Comparison]:
    """Compares an implementation with the reference for one kind of call, in both memory formats.

    Inputs are random with a fixed seed. The reference runs on the CPU, in float64 for the values and in the call's type
    for the allowed error: twice its own, and `TOLERANCES`. Evaluation without gradients is also compared for one image,
    and for so many copies of the images that an implementation takes its path for large batches.

    Args:
        implementation: Any but the reference, which can serve the call.
        call: The kind of call.
        images: Numbers of images, each at least 2.
        compare: Of the operator.

    Returns:
        A comparison for each tensor of each call.
    """
    # a new thread has none of the caller's modes: autocast, inference mode, ...
    with ThreadPoolExecutor(1, "abawkit-self-check") as executor:
        return executor.submit(lambda: list(compare(implementation, call, images))).result()


def find_difference(
    implementation: OperatorImplementation, call: Call, package: str, compare: Compare = compare_attention
) -> str:
    """Why an implementation must not serve a kind of call; empty where its results are right.

    Args:
        implementation: Any but the reference, which can serve the call.
        call: The kind of call.
        package: Its package, with the version.
        compare: Of the operator.
    """
    kept = _find_cache() / f"{_make_key(implementation, call, package, compare)}.json"
    try:
        reason = json.loads(kept.read_text(encoding="utf-8"))["reason"]
        if isinstance(reason, str):
            return reason
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not checked yet, or not readable
    try:
        comparisons = check(implementation, call, compare=compare)
    except (Exception, SystemExit) as error:  # a plug-in raises anything; memory may be short for now
        text = str(error).splitlines()
        return (
            f"its self-check on {describe_device(call.device)} ended with {type(error).__name__}: {(text or [''])[0]}"
        )
    reason = describe_differences(comparisons, call.device)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(kept, json.dumps({"reason": reason, "call": repr(call)}).encode())
    except Exception:  # without the file, each process checks again
        return reason
    return reason


def describe_differences(comparisons: Iterable[Comparison], device: torch.device) -> str:
    """A phrase for the comparisons that exceed their bound, with the largest error; empty where none does."""
    compared = list(comparisons)
    wrong = [c for c in compared if not c.holds]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda c: c.excess)
    return (
        f"its self-check on {describe_device(device)} failed: {len(wrong)} of {len(compared)} tensors differ from the "
        f"reference's, most of all the {worst.tensor}: relative error {worst.error:.2g}, allowed {worst.bound:.2g}"
    )


def describe_device(device: torch.device) -> str:
    """The name of a processor or GPU, where the system has one."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        try:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
        return (names or [platform.machine()])[0]
    return str(device)


def compute(
    implementation: Implementation, inputs: Inputs, *, training: bool, gradients: bool, gates: bool = True
) -> Results:
    """Runs one call on the inputs' device and copies the results to the CPU."""
    statistics = Statistics(*(s.clone() for s in inputs.statistics))
    if not (training or gradients):
        with torch.no_grad():
            folded = implementation.fold(inputs.parameters, statistics, eps=EPS)
            return Results(_name_outputs(*implementation.infer(inputs.features, folded, gates=gates)), {}, {})
    leaves = [t.detach().requires_grad_(gradients) for t in (inputs.features, *inputs.parameters)]
    embedding, found = implementation.forward(
        Arguments(leaves[0], Parameters(*leaves[1:]), statistics, training, gates=gates)
    )
    outputs = [embedding, *(found or ())]
    names = ("features", *Parameters._fields)
    computed = torch.autograd.grad(outputs, leaves, _make_gradients(outputs)) if gradients else ()
    return Results(
        _name_outputs(embedding, found),
        {key: s.cpu() for key, s in statistics._asdict().items()} if training else {},
        {key: g.cpu() for key, g in zip(names, computed, strict=False)},
    )


def measure_relative_errors(
    found: Mapping[str, Tensor], exact: Mapping[str, Tensor], *, vanishing: bool = False
) -> dict[str, float]:
    """The largest error of each tensor, relative to its largest magnitude.

    Args:
        found: Tensors by name, on the CPU.
        exact: The same names and shapes, in float64.
        vanishing: Set for gradients in training. Where a batch norm's input is one number times a weight, the norm
            cancels that weight, up to eps, and its gradient is tiny: its error is then relative to the gradient of the
            norm's scale, if that is larger.
    """
    if found.keys() != exact.keys():
        raise ValueError(f"got {sorted(found)}, expected {sorted(exact)}")

    def magnitude(key: str, value: Tensor) -> Tensor:
        alone = {"row_weight": value.shape[-1] == 1, "column_weight": value.shape[-1] == 1}
        alone["squeeze_weight"] = value.shape[1:] == (1, 1)
        scale = exact[key.replace("_weight", "_scale")] if vanishing and alone.get(key) else value
        return torch.maximum(value.abs().max(), scale.abs().max()).clamp(min=1e-30)

    return {
        key: ((found[key].double() - value).abs().max() / magnitude(key, value)).item()
        for key, value in exact.items()
        if value.numel()
    }


def choose_inputs(count: int, call: Call) -> tuple[Inputs, Results]:
    """Random inputs in which no two heads are nearly equal, and their results in float64.

    Heads are compared only for gradients in float32: float64 rounds very little, and shorter types have larger bounds.
    """
    if not isinstance(call.sizes, Sizes):
        raise TypeError(f"got a call of {call.sizes.operator}, expected one of dual_direction_attention")
    for seed in itertools.count():
        inputs = make_random_inputs(count, call.sizes, seed=seed, dtype=call.dtype)
        exact = compute(
            Reference(), _convert(inputs, dtype=torch.float64), training=call.training, gradients=call.gradients
        )
        compared = call.gradients and call.dtype == torch.float32
        if not compared or find_smallest_gap(exact.outputs["rows"], exact.outputs["columns"]) >= LEAST_GAP:
            break
    return inputs, exact


def find_smallest_gap(rows: Tensor, columns: Tensor) -> float:
    """The smallest difference between the two largest heads anywhere, as a share of the larger; infinite for one head.

    Args:
        rows: Gates (N, K, C, H).
        columns: Gates (N, K, C, W).
    """
    if rows.shape[1] < 2:
        return float("inf")
    first, second = (rows.unsqueeze(-1) * columns.unsqueeze(-2)).topk(2, dim=1).values.unbind(1)
    return ((first - second) / first).min().item()


def describe_format(form: torch.memory_format) -> str:
    """``contiguous`` or ``channels_last``."""
    return str(form).removeprefix("torch.").replace("_format", "")


def _compare_batches(
    implementation: Implementation, inputs: Inputs, exact: Results, rounded: Sequence[Results], call: Call, words: str
) -> Iterator[Comparison]:
    """One image alone, and the same images so many times that a GPU is full several times over."""
    processors = (
        torch.cuda.get_device_properties(call.device).multi_processor_count if call.device.type == "cuda" else 4
    )
    times = -(-(8 * processors + 1) // len(inputs.features))
    for picked, name in ((slice(0, 1), f"the first of {words}"), (None, f"{times} times {words}")):
        features = inputs.features.repeat(times, 1, 1, 1) if picked is None else inputs.features[picked]
        if inputs.features.is_contiguous(memory_format=torch.channels_last):
            features = features.contiguous(memory_format=torch.channels_last)
        given = inputs._replace(features=features)
        for gates in (True, False):
            expected, *allowed = (
                {
                    key: t.repeat(times, *[1] * (t.dim() - 1)) if picked is None else t[picked]
                    for key, t in results.outputs.items()
                    if gates or key == "embedding"
                }
                for results in (exact, *rounded)
            )
            found = compute(implementation, given, training=False, gradients=False, gates=gates)
            which = name if gates else f"{name}, without gates"
            yield from _compare_results(
                found, Results(expected, {}, {}), [Results(one, {}, {}) for one in allowed], call, which
            )


def _compare_results(
    found: Results, exact: Results, rounded: Sequence[Results], call: Call, words: str
) -> Iterator[Comparison]:
    kinds = ("", "running ", "gradient of ")
    for kind, ours, true, *references in zip(kinds, found, exact, *rounded, strict=True):
        if kind == "running " and call.dtype in (torch.bfloat16, torch.float16):
            continue  # they are rounded to that type twice over, by the reference as well
        vanishing = call.training and kind == "gradient of "
        errors, *own = (measure_relative_errors(r, true, vanishing=vanishing) for r in (ours, *references))
        for key, error in errors.items():
            if not (vanishing and key == VANISHING):
                bound = 2 * max(o[key] for o in own) + TOLERANCES[call.dtype]
                yield Comparison(f"{kind}{key} of {words}", error, bound)


def _convert(
    inputs: Inputs,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    form: torch.memory_format = torch.preserve_format,
) -> Inputs:
    features, parameters, statistics = inputs
    features = features if form == torch.preserve_format else features.contiguous(memory_format=form)
    return Inputs(
        features.to(device, dtype),
        Parameters(*(p.to(device, dtype) for p in parameters)),
        Statistics(*(s.to(device, dtype) for s in statistics)),
    )


def _name_outputs(embedding: Tensor, gates: Gates | None) -> dict[str, Tensor]:
    outputs = {"embedding": embedding} | (gates._asdict() if gates else {})
    return {key: t.detach().cpu() for key, t in outputs.items()}


def _make_gradients(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Random gradients of the outputs: the same for every device, rounded to the outputs' type."""
    generator = torch.Generator().manual_seed(1)
    random = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in outputs]
    return [d.to(t.dtype).to(t.device) for d, t in zip(random, outputs, strict=True)]


def _make_key(implementation: OperatorImplementation, call: Call, package: str, compare: Compare) -> str:
    """Digest of everything that the result of a check depends on."""
    parts = [
        abawkit.__version__,
        torch.__version__,
        package,
        implementation.name,
        implementation.fingerprint(call.device),
        describe_device(call.device),
        _read_driver(call.device),
        str(call.dtype),
        *map(str, call.sizes),
        str(call.training),
        str(call.gradients),
        *(hashlib.sha256(Path(code).read_bytes()).hexdigest() for code in (__file__, inspect.getfile(compare))),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _read_driver(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def _find_cache() -> Path:
    """Folder of kept results, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # `Path` raises without a home
    return Path(base) / "abawkit" / "operator-checks"
