"""What the whole network gains over eager PyTorch in the published layout: the table of docs/benchmarks.md.

    python benchmarks/network.py [--rounds 9] [--threads 2] [--networks ddamfn ddamfn-nano] [--quick]

Eager has contiguous images, batch norms as they are, the reference operators and AdamW as torch sets it; abawkit is
what `predict`, validation and training run. Both are in one process, in rounds that take each in turn. The largest
relative error against float64 stands beside each; `--quick` takes few rounds, and exits with 1 where abawkit's
error is more than twice eager's.
"""

import argparse
import copy
import sys
from statistics import median

import numpy as np

from abawkit.bench.networks import (
    CPU,
    Run,
    evaluate_eagerly,
    evaluate_placed,
    make_evaluation_work,
    make_random_images,
    make_random_network,
    make_step_work,
    place_copy,
)
from abawkit.bench.run import read_machine
from abawkit.execution import cpu_threads
from abawkit.models.config import NETWORKS
from abawkit.models.inference import BATCH, infer, make_model_input
from abawkit.models.network import Outputs
from abawkit.ops.timing import time_rounds

ROUNDING = 4e-6
"""Relative error that is always allowed."""


def measure_error(found: Outputs, exact: Outputs) -> float:
    """The largest difference of an output, relative to its largest magnitude."""
    pairs = list(zip(found[:3], exact[:3], strict=True))
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)


def print_row(network: str, work: str, images: int, seconds: dict[str, list[float]], errors: str) -> None:
    """A row of the table: images a second, medians and best, and the ratios of both."""
    rates = [(images / median(s), images / min(s)) for s in (seconds["eager"], seconds["abawkit"])]
    cells = [f"{usual:,.0f} ({best:,.0f})" for usual, best in rates]
    eager, own = seconds["eager"], seconds["abawkit"]
    ratio = f"{median(eager) / median(own):.2f} ({min(eager) / min(own):.2f})"
    print(f"| {network} | {work} | {images} | {' | '.join(cells)} | {ratio} | {errors} |", flush=True)


def measure_network(name: str, batches: list[int], rounds: int, *, passes: bool) -> bool:
    """Measures one network, and says whether abawkit's errors are at most twice eager's."""
    network, right = make_random_network(name), True
    eager = copy.deepcopy(network).eval().requires_grad_(False)
    placed, exact = place_copy(eager), copy.deepcopy(eager).double()
    for n in batches:
        images = make_random_images(network, min(n, 8))
        truth = evaluate_eagerly(exact, images.double())
        found = evaluate_eagerly(eager, images), evaluate_placed(placed, make_model_input(images))
        errors = [measure_error(outputs, truth) for outputs in found]
        right = right and errors[1] <= 2 * errors[0] + ROUNDING
        seconds = time_rounds(make_evaluation_work(network, n), rounds, CPU)
        print_row(name, "evaluation", n, seconds, " / ".join(f"{error:.1e}" for error in errors))
    if passes:
        side = network.config.resolution
        pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
        images = make_random_images(network, len(pixels))
        work: dict[str, Run] = {
            "eager": lambda: evaluate_eagerly(eager, images),
            "abawkit": lambda: infer(placed, pixels, CPU),
        }
        seconds = time_rounds(work, max(1, rounds // 3), CPU)
        print_row(name, f"`infer`, {BATCH['cpu']} at a time", len(pixels), seconds, "-")
    print_row(name, "training step", max(batches), time_rounds(make_step_work(network, max(batches)), rounds, CPU), "-")
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
        print(read_machine().describe())
        print(f"images a second, medians of {options.rounds} rounds, and the best in brackets\n")
        print("| network | work | N | eager | abawkit | ratio | errors |")
        print("|---|---|---|---|---|---|---|")
        right = [
            measure_network(name, options.images, options.rounds, passes=not options.quick) for name in options.networks
        ]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
