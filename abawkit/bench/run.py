"""Measures operators, networks, training step and loader in interleaved rounds."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import torch

import abawkit
from abawkit.bench.loader import make_loader_work
from abawkit.bench.networks import CPU, Run, make_evaluation_work, make_random_network, make_step_work
from abawkit.bench.operators import list_operator_work
from abawkit.bench.report import BenchReport, BenchRow, Machine, Rate
from abawkit.models.attention import (
    describe_operators,
    list_convolution_calls,
    list_evaluation_calls,
    make_attention_call,
)
from abawkit.models.config import NETWORKS, NetworkConfig
from abawkit.ops.availability import read_native_facts
from abawkit.ops.bench import explain_missing_compiler
from abawkit.ops.self_check import describe_device
from abawkit.ops.timing import time_rounds

Part = Literal["operators", "network", "step", "loader"]

BENCH_PARTS: Final[tuple[Part, ...]] = ("operators", "network", "step", "loader")
ROUNDS: Final = 9
MEASURED: Final = ("ddamfn", "ddamfn-nano")
"""The networks that are measured."""

STEP_IMAGES: Final = {"ddamfn": 32, "ddamfn-nano": 64}
"""Images of a training step."""

LIMIT: Final = 15.0
"""Seconds after which no further round of the same work begins."""


def bench(
    parts: Sequence[Part] = BENCH_PARTS,
    *,
    quick: bool = False,
    rounds: int = ROUNDS,
    compiled: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Measures abawkit beside eager PyTorch in the published layout, in float32 on the CPU.

    Args:
        parts: What to measure.
        quick: Whether to leave out the larger network and number of images, which takes a sixth of the time.
        rounds: Interleaved rounds of each kind of work; fewer where they take longer than `LIMIT`.
        compiled: Whether to measure `torch.compile` of networks and steps too, which takes minutes.
        command: How it is measured, for the report.
        say: Called with a line before long work.
    """
    left_out: dict[str, str] = {}
    if compiled and (reason := explain_missing_compiler(CPU, say)):
        compiled, left_out["torch.compile"] = False, reason
    names, batches = (MEASURED[1:], (1, 8)) if quick else (MEASURED, (1, 8, 32))
    rows: list[BenchRow] = []
    for part in dict.fromkeys(parts):
        say(f"{part}: torch.compile takes minutes" if compiled and part in ("network", "step") else part)
        measure = partial(_measure, part, rounds)
        if part == "operators":
            for name, images, work in list_operator_work(NETWORKS[MEASURED[0]], batches):
                rows.append(measure(name, images, work))
        elif part == "network":
            for name in names:
                network = make_random_network(name)
                for images in batches:
                    work = make_evaluation_work(network, images, compiled=compiled)
                    rows.append(measure(f"evaluate {name}", images, work))
        elif part == "step":
            for name in names:
                work = make_step_work(make_random_network(name), STEP_IMAGES[name], compiled=compiled)
                rows.append(measure(f"train {name}", STEP_IMAGES[name], work))
        else:
            with make_loader_work(64 if quick else 512, 32) as work:
                rows.append(measure("load and augment", 32, work))
    return BenchReport(
        machine=read_machine(),
        version=abawkit.__version__,
        command=command,
        operators=_describe_operators(NETWORKS[MEASURED[0]]),
        rows=rows,
        left_out=left_out,
    )


def read_machine() -> Machine:
    """This machine, as torch and the native operators see it now."""
    instructions = read_native_facts().get("instruction_set_here", "none")
    return Machine(
        processor=describe_device(CPU),
        instruction_set=instructions,
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
    )


def _measure(part: Part, rounds: int, name: str, images: int, work: dict[str, Run]) -> BenchRow:
    seconds = time_rounds(work, rounds, CPU, LIMIT)
    rates = {}
    for who, times in seconds.items():
        each = [images / s for s in times]
        low, _, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        rates[who] = Rate(median=statistics.median(each), low=low, high=high)
    return BenchRow(part=part, work=name, images=images, rounds=len(next(iter(seconds.values()))), rates=rates)


def _describe_operators(config: NetworkConfig) -> dict[str, str]:
    """What serves a network here, in evaluation and in training."""
    calls = list_evaluation_calls(config, CPU, "float32")
    calls.append(make_attention_call(config, CPU, "float32", training=True))
    return describe_operators([*calls, *list_convolution_calls(config, CPU, "float32", training=True)])
