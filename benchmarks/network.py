"""What the whole network gains over eager PyTorch in the published layout: the tables of docs/benchmarks.md.

    python benchmarks/network.py [--rounds 9] [--threads 2] [--networks ddamfn ddamfn-nano] [--compile] [--others]
                                 [--bfloat16] [--quick]

Eager has contiguous images, batch norms as they are, the reference operators and AdamW as torch sets it; abawkit is
what `predict`, validation and training run. `--compile` adds `torch.compile` of the network with norms folded, in
channels_last; `--others` ONNX Runtime and OpenVINO where they are installed; `--bfloat16` what `predict --precision
bfloat16` and the recipe's `precision = "bfloat16"` run. All are in one process, in rounds that take each in turn. The
largest relative error against float64 stands beside eager and abawkit; multiply-adds are those of convolutions and
products. `--quick` takes few rounds, and exits with 1 where abawkit's error is more than twice eager's.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from abawkit.bench.networks import (
    CPU,
    Run,
    count_multiply_adds,
    evaluate_eagerly,
    evaluate_placed,
    make_evaluation_work,
    make_random_images,
    make_random_network,
    make_step,
    make_step_work,
    place_copy,
)
from abawkit.bench.run import read_machine
from abawkit.execution import cpu_threads
from abawkit.models.config import NETWORKS
from abawkit.models.devices import use_bfloat16
from abawkit.models.inference import BATCH, infer, make_model_input
from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops.timing import time_rounds

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.runtimes import list_missing, make_runtimes

ROUNDING = 4e-6
"""Relative error that is always allowed."""

BFLOAT16 = "abawkit bf16"


def measure_error(found: Outputs, exact: Outputs) -> float:
    """The largest difference of an output, relative to its largest magnitude."""
    pairs = list(zip(found[:3], exact[:3], strict=True))
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)


class Table:
    """Rows of Markdown, printed as they are measured: images a second, medians, and the best in brackets."""

    def __init__(self, columns: list[str]) -> None:
        """Prints the head.

        Args:
            columns: Who is measured; the ratio is that of the last of eager and abawkit.
        """
        self.columns = columns
        heads = ["network", "work", "images", *columns, "abawkit to eager", "GMAC/s a core", "errors"]
        print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)

    def add(
        self,
        name: str,
        work: str,
        images: int,
        seconds: dict[str, list[float]],
        *,
        multiply_adds: int = 0,
        errors: Sequence[float] = (),
    ) -> None:
        """Prints a row.

        Args:
            name: Of the network.
            work: What was done.
            images: Of each call.
            seconds: Of the rounds, by who was measured.
            multiply_adds: For an image; 0 where they are not counted.
            errors: Of eager, abawkit, and abawkit in bfloat16.
        """
        cells = [name, work, str(images)]
        for who in self.columns:
            times = seconds.get(who)
            cells.append(f"{images / median(times):,.0f} ({images / min(times):,.0f})" if times else "-")
        eager, own = seconds["eager"], seconds["abawkit"]
        cells.append(f"{median(eager) / median(own):.2f} x ({min(eager) / min(own):.2f} x)")
        each = [multiply_adds * images / median(times) / torch.get_num_threads() / 1e9 for times in (eager, own)]
        cells.append(" / ".join(f"{rate:.1f}" for rate in each) if multiply_adds else "-")
        cells.append(" / ".join(f"{error:.1e}" for error in errors) or "-")
        print(f"| {' | '.join(cells)} |", flush=True)


def make_work(network: DDAMFN, images: int, options: argparse.Namespace) -> dict[str, Run]:
    """Evaluation by everyone who was requested."""
    work = make_evaluation_work(network, images, compiled=options.compiled)
    if options.others:
        plain = copy.deepcopy(network).eval().requires_grad_(False)
        work |= make_runtimes(plain, make_random_images(network, images), torch.get_num_threads())
    if options.bfloat16:
        placed, last = place_copy(network).eval(), make_model_input(make_random_images(network, images))
        work[BFLOAT16] = lambda: evaluate_rounded(placed, last)
    return work


def evaluate_rounded(network: DDAMFN, images: Tensor) -> Outputs:
    """The outputs as `infer` computes them in bfloat16."""
    with torch.inference_mode():
        with use_bfloat16(CPU):
            embedding, _ = network.embed(images, gates=False)
        return network.classify(embedding.float())


def measure_network(name: str, options: argparse.Namespace, table: Table) -> bool:
    """Measures one network, and says whether abawkit's errors are at most twice eager's."""
    network, right = make_random_network(name), True
    eager = copy.deepcopy(network).eval().requires_grad_(False)
    placed, exact, count = place_copy(eager), copy.deepcopy(eager).double(), count_multiply_adds(network)
    for n in options.images:
        images = make_random_images(network, min(n, 8))
        truth = evaluate_eagerly(exact, images.double())
        found = evaluate_eagerly(eager, images), evaluate_placed(placed, make_model_input(images))
        errors = [measure_error(outputs, truth) for outputs in found]
        if options.bfloat16:
            errors.append(measure_error(evaluate_rounded(placed, make_model_input(images)), truth))
        right = right and errors[1] <= 2 * errors[0] + ROUNDING
        seconds = time_rounds(make_work(network, n, options), options.rounds, CPU)
        table.add(name, "evaluation", n, seconds, multiply_adds=count, errors=errors)
    if not options.quick:
        side = network.config.resolution
        pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
        images = make_random_images(network, len(pixels))
        work: dict[str, Run] = {
            "eager": lambda: evaluate_eagerly(eager, images),
            "abawkit": lambda: infer(placed, pixels, CPU),
        }
        seconds = time_rounds(work, max(1, options.rounds // 3), CPU)
        table.add(name, f"`infer`, {BATCH['cpu']} at a time", len(pixels), seconds, multiply_adds=count)
    n = max(options.images)
    work = make_step_work(network, n, compiled=options.compiled)
    if options.bfloat16:
        step = make_step(place_copy(network).train(), make_model_input(make_random_images(network, n)), bfloat16=True)
        work[BFLOAT16] = step
    table.add(name, "training step", n, time_rounds(work, options.rounds, CPU))
    return right


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["ddamfn", "ddamfn-nano"])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--compile", dest="compiled", action="store_true", help="measure torch.compile too; minutes")
    parser.add_argument("--others", action="store_true", help="measure ONNX Runtime and OpenVINO where installed")
    parser.add_argument("--bfloat16", action="store_true", help="measure bfloat16 too")
    parser.add_argument("--quick", action="store_true", help="one round of the small network, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.networks, options.images = 1, ["ddamfn-nano"], [1, 4]
    with cpu_threads(options.threads):
        print(f"{read_machine().describe()}; images a second, medians of {options.rounds} rounds, best in brackets\n")
        who = ["eager", *(["torch.compile"] if options.compiled else ())]
        if options.others:
            network = make_random_network("ddamfn-nano").eval().requires_grad_(False)
            who += make_runtimes(network, make_random_images(network, 1), 1)
            print(f"not installed: {', '.join(list_missing()) or 'nothing'}\n")
        table = Table([*who, "abawkit", *([BFLOAT16] if options.bfloat16 else ())])
        right = [measure_network(name, options, table) for name in options.networks]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
