"""Where the time of the network goes, by kind of operator: the table of docs/benchmarks.md.

    python benchmarks/profile_network.py [--network ddamfn] [--images 32] [--rounds 3] [--threads 2]

Eager and abawkit are as in `benchmarks/network.py`. Times are those of torch's profiler, without what an operator
calls. An operator of the backward pass belongs to the module of the operator that it differentiates.
"""

import argparse
import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from abawkit.bench.networks import (
    Run,
    evaluate_eagerly,
    evaluate_placed,
    make_random_images,
    make_random_network,
    make_step,
    place_copy,
)
from abawkit.bench.run import read_machine
from abawkit.execution import cpu_threads
from abawkit.models.attention import DualDirectionAttention
from abawkit.models.config import NETWORKS
from abawkit.models.inference import make_model_input
from abawkit.models.layers import CoordinateAttention, MixedBlock
from abawkit.models.network import DDAMFN

KINDS: Final = (
    "convolutions and products",
    "depthwise convolutions",
    "batch norms",
    "PReLU",
    "coordinate attention",
    "dual-direction attention",
    "native mixed blocks",
    "native norms with PReLU",
    "native stem",
    "optimiser",
    "rest",
)

MODULES: Final = {CoordinateAttention: KINDS[4], DualDirectionAttention: KINDS[5]}
PREFIX: Final = "kind: "
ENGINE: Final = "autograd::engine::evaluate_function"


def annotate(network: nn.Module) -> None:
    """Has the profiler see which operators belong to a module of `MODULES`."""
    for module in network.modules():
        if kind := MODULES.get(type(module)):
            entered: list[Any] = []

            def enter(*_: object, kind: str = kind, entered: list[Any] = entered) -> None:
                entered.append(record_function(PREFIX + kind))
                entered[-1].__enter__()

            def leave(*_: object, entered: list[Any] = entered) -> None:
                entered.pop().__exit__(None, None, None)

            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)


def classify(name: str, shapes: list[list[int]]) -> str | None:
    """The kind of an operator by its name and the shapes of its arguments; None where its caller has it."""
    if "norm_prelu" in name:  # the operators and their backward pass
        return KINDS[7]
    if "stem_infer" in name:
        return KINDS[8]
    if name.startswith("abawkit::"):
        return KINDS[6] if "block" in name else KINDS[5]
    if "convolution" in name:
        weights = [shape for shape in shapes[:3] if len(shape) > 2]
        weight = weights[-1] if "backward" in name else weights[1] if len(weights) > 1 else []
        return KINDS[1] if len(weight) > 1 and weight[1] == 1 and weight[0] > 1 else KINDS[0]
    if name in ("aten::mm", "aten::addmm", "aten::bmm"):
        return KINDS[0]
    if "batch_norm" in name:
        return KINDS[2]
    if "prelu" in name:
        return KINDS[3]
    return KINDS[9] if name.startswith("Optimizer.") or "adam" in name else None


def list_callers(event: Any) -> Iterator[Any]:
    """An event of the profiler and what it lies in, from within."""
    while event is not None:
        yield event
        event = event.cpu_parent


def group_events(run: Run, rounds: int) -> dict[str, list[Any]]:
    """The profiler's events of some calls, by kind of operator."""
    run()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        for _ in range(rounds):
            run()
    events = list(seen.events() or ())
    modules: dict[int, str] = {}
    for event in events:  # modules of the forward pass, by the number that its backward pass has too
        kind = next((e.name.removeprefix(PREFIX) for e in list_callers(event) if e.name.startswith(PREFIX)), None)
        if kind and event.sequence_nr >= 0:
            modules[event.sequence_nr] = kind
    found: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        kind = None
        for caller in list_callers(event):
            if caller.name.startswith(PREFIX):
                kind = caller.name.removeprefix(PREFIX)
            elif caller.name.startswith(ENGINE):
                kind = modules.get(caller.sequence_nr, kind)
            else:
                kind = kind or classify(caller.name, caller.input_shapes or [])
        found[kind or KINDS[-1]].append(event)
    return found


def sum_times(run: Run, rounds: int) -> dict[str, float]:
    """Milliseconds of each kind of operator in one call."""
    return {
        kind: sum(event.self_cpu_time_total for event in events) / 1000 / rounds
        for kind, events in group_events(run, rounds).items()
    }


def make_work(network: DDAMFN, images: int) -> dict[str, Run]:
    """Evaluation and training step, each by eager and by abawkit."""
    x = make_random_images(network, images)
    last = make_model_input(x)
    eager, placed = copy.deepcopy(network), place_copy(network)
    trained = copy.deepcopy(network), place_copy(network)
    for each in (eager, placed, *trained):
        annotate(each)
    for module in trained[0].modules():  # as modules, by which the profiler tells kinds apart; the operator is the same
        if isinstance(module, MixedBlock):
            module._is_operator = lambda x: False  # type: ignore[method-assign]  # noqa: ARG005
    for each in (eager, placed):
        each.eval().requires_grad_(False)
    return {
        "evaluation, eager": lambda: evaluate_eagerly(eager, x),
        "evaluation, abawkit": lambda: evaluate_placed(placed, last),
        "step, eager": make_step(trained[0].train(), x, published=True),
        "step, abawkit": make_step(trained[1].train(), last),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="ddamfn")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with cpu_threads(options.threads):
        print(f"{read_machine().describe()}; `{options.network}`, {options.images} images, ms and share of the time\n")
        work = make_work(make_random_network(options.network), options.images)
        columns = {name: sum_times(run, options.rounds) for name, run in work.items()}
    print(f"| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for kind in KINDS:
        cells = [f"{t[kind]:,.1f} ({t[kind] / sum(t.values()):.0%})" if kind in t else "-" for t in columns.values()]
        print(f"| {kind} | {' | '.join(cells)} |")
    print(f"| all | {' | '.join(f'{sum(t.values()):,.1f}' for t in columns.values())} |")


if __name__ == "__main__":
    main()
