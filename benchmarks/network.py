"""What the whole network gains over eager PyTorch in the published layout: the table of docs/benchmarks.md.

    python benchmarks/network.py [--rounds 9] [--threads 2] [--networks ddamfn ddamfn-nano] [--quick]

Eager has contiguous images, batch norms as they are, the reference operators and AdamW as torch sets it. The product
is what `predict`, validation and training run. Both are in one process, in rounds that take each in turn. The largest
relative error against float64 stands beside each; `--quick` takes few rounds, and exits with 1 where the product's
error is more than twice eager's.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from abawkit.execution import cpu_threads
from abawkit.models.config import NETWORKS
from abawkit.models.inference import BATCH, infer, make_model_input, place_network
from abawkit.models.layers import MixedBlock
from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops import use
from abawkit.ops.availability import read_native_facts
from abawkit.ops.self_check import describe_device
from abawkit.training.optimizers import make_optimizer
from abawkit.training.recipe import Optimizer

CPU = torch.device("cpu")
ROUNDING = 4e-6
"""Relative error that is always allowed."""

Run = Callable[[], object]


def make_network(name: str) -> DDAMFN:
    """A network with random weights and statistics, none of which is zero; residual blocks add little."""
    torch.manual_seed(0)
    network = DDAMFN(NETWORKS[name])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            mean, variance = module.running_mean, module.running_var
            assert mean is not None and variance is not None  # noqa: PT018 - all of the network's norms keep them
            torch.nn.init.normal_(mean, 0, 0.1)
            torch.nn.init.uniform_(variance, 0.5, 1.5)
    for module in network.modules():
        if isinstance(module, MixedBlock):
            torch.nn.init.uniform_(module.project.norm.weight, 0.1, 0.4)
    return network


def evaluate_eagerly(network: DDAMFN, images: Tensor) -> Outputs:
    """The outputs by plain PyTorch; norms are not folded where gradients are enabled, and no weight requires any."""
    with use("reference"), torch.enable_grad():
        outputs: Outputs = network(images, gates=False)
    return outputs


def evaluate(network: DDAMFN, images: Tensor) -> Outputs:
    """The outputs as `infer` computes them."""
    with torch.inference_mode():
        outputs: Outputs = network(images, gates=False)
    return outputs


def measure_error(found: Outputs, exact: Outputs) -> float:
    """The largest difference of an output, relative to its largest magnitude."""
    pairs = list(zip(found[:3], exact[:3], strict=True))
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)


def make_step(network: DDAMFN, images: Tensor, *, eager: bool) -> Run:
    """A training step: forward, backward and AdamW."""
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters) if eager else make_optimizer(parameters, Optimizer(), 1e-3)

    def step() -> None:
        with use("reference") if eager else nullcontext():
            optimizer.zero_grad()
            outputs = network(images)
            sum(output.square().mean() for output in outputs[:3]).backward()
            optimizer.step()

    return step


def time_rounds(work: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each function in each round; a call before the first one is not measured."""
    for run in work.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            began = perf_counter()
            run()
            seconds[name].append(perf_counter() - began)
    return seconds


def print_row(network: str, work: str, images: int, seconds: dict[str, list[float]], errors: str) -> None:
    """A row of the table: images a second, medians and best, and the ratios of both."""
    rates = [(images / median(s), images / min(s)) for s in (seconds["eager"], seconds["product"])]
    cells = [f"{usual:,.0f} ({best:,.0f})" for usual, best in rates]
    eager, product = seconds["eager"], seconds["product"]
    ratio = f"{median(eager) / median(product):.2f} ({min(eager) / min(product):.2f})"
    print(f"| {network} | {work} | {images} | {' | '.join(cells)} | {ratio} | {errors} |", flush=True)


def measure_network(name: str, batches: list[int], rounds: int, *, passes: bool) -> bool:
    """Measures one network, and says whether the product's errors are at most twice eager's."""
    eager = make_network(name)
    product = copy.deepcopy(eager)
    place_network(product, CPU)
    exact = copy.deepcopy(eager).double().eval().requires_grad_(False)
    side, right = eager.config.resolution, True
    for network in (eager, product):
        network.eval().requires_grad_(False)
    for n in batches:
        images = torch.randn(n, 3, side, side)
        work: dict[str, Run] = {
            "eager": partial(evaluate_eagerly, eager, images),
            "product": partial(evaluate, product, make_model_input(images)),
        }
        truth = evaluate_eagerly(exact, images[:8].double())
        errors = [
            measure_error(f(network, images[:8]), truth)
            for f, network in ((evaluate_eagerly, eager), (evaluate, product))
        ]
        right = right and errors[1] <= 2 * errors[0] + ROUNDING
        print_row(name, "evaluation", n, time_rounds(work, rounds), " / ".join(f"{error:.1e}" for error in errors))
    if passes:
        pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
        images = torch.randn(len(pixels), 3, side, side)
        work = {"eager": lambda: evaluate_eagerly(eager, images), "product": lambda: infer(product, pixels, CPU)}
        print_row(name, f"`infer`, {BATCH['cpu']} at a time", len(pixels), time_rounds(work, max(1, rounds // 3)), "-")
    for network in (eager, product):
        network.train().requires_grad_(True)
    images = torch.randn(max(batches), 3, side, side)
    work = {
        "eager": make_step(eager, images, eager=True),
        "product": make_step(product, make_model_input(images), eager=False),
    }
    print_row(name, "training step", len(images), time_rounds(work, rounds), "-")
    return right


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["ddamfn", "ddamfn-nano"])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--quick", action="store_true", help="one round of the small network, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.networks, options.images = 1, ["ddamfn-nano"], [1, 4]
    with cpu_threads(options.threads):
        print(f"{describe_device(CPU)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        for key, value in read_native_facts().items():
            if key in ("instruction_set_here", "compiler"):
                print(f"{key}: {value}")
        print(f"images a second, medians of {options.rounds} rounds, and the best in brackets\n")
        print("| network | work | N | eager | product | ratio | errors |")
        print("|---|---|---|---|---|---|---|")
        right = [
            measure_network(name, options.images, options.rounds, passes=not options.quick) for name in options.networks
        ]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
