"""How far the gradient of the whole network lies from float64's: the table of docs/benchmarks.md.

    python benchmarks/gradients.py [--networks ddamfn ddamfn-nano] [--images 8] [--draws 4] [--threads 2]

Random weights, and random images of each draw; the loss is a random combination of the outputs, in float64. Errors are
lengths of differences, relative to the length of the exact gradient, over all parameters together.
"""

import argparse
import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import torch
from torch import Tensor

from abawkit.bench.networks import CPU, make_random_images, make_random_network, place_copy
from abawkit.bench.run import read_machine
from abawkit.execution import cpu_threads
from abawkit.models.config import NETWORKS
from abawkit.models.devices import use_bfloat16
from abawkit.models.inference import make_model_input
from abawkit.models.network import DDAMFN
from abawkit.ops import use

WAYS = ("eager", "eager, channels_last", "abawkit", "abawkit bf16")


def differentiate(
    network: DDAMFN, images: Tensor, within: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Tensor:
    """The gradient of all parameters in training, one after another, float64.

    Args:
        network: In training mode; its running statistics move.
        images: (N, 3, S, S), of the network's type.
        within: Makes the context of the forward pass.
    """
    with within():
        outputs = network(images)
    random = torch.Generator().manual_seed(0)
    parts = [(o.double() * torch.randn(o.shape, generator=random, dtype=torch.float64)).sum() for o in outputs[:3]]
    found = torch.autograd.grad(torch.stack(parts).sum(), list(network.parameters()))
    return torch.cat([g.double().flatten() for g in found])


def measure_gradients(network: DDAMFN, images: Tensor) -> dict[str, float]:
    """The relative error of each of `WAYS` against float64.

    Args:
        network: float32, contiguous; is not changed.
        images: (N, 3, S, S), float32, contiguous.
    """
    plain, placed, last = network.train(), place_copy(network).train(), make_model_input(images)
    with use("reference"):
        exact = differentiate(copy.deepcopy(plain).double(), images.double())
        found = {
            "eager": differentiate(copy.deepcopy(plain), images),
            "eager, channels_last": differentiate(copy.deepcopy(placed), last),
        }
    found["abawkit"] = differentiate(copy.deepcopy(placed), last)
    found["abawkit bf16"] = differentiate(copy.deepcopy(placed), last, lambda: use_bfloat16(CPU))
    return {way: ((gradient - exact).norm() / exact.norm()).item() for way, gradient in found.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["ddamfn", "ddamfn-nano"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with cpu_threads(options.threads):
        print(
            f"{read_machine().describe()}; {options.images} images, medians of {options.draws} draws and the largest\n"
        )
        print(f"| network | {' | '.join(WAYS)} |\n| --- |{' --: |' * len(WAYS)}")
        for name in options.networks:
            network = make_random_network(name)
            drawn = [
                measure_gradients(network, make_random_images(network, options.images)) for _ in range(options.draws)
            ]
            errors = [[each[way] for each in drawn] for way in WAYS]
            print(f"| `{name}` | {' | '.join(f'{median(e):.1e}, {max(e):.1e}' for e in errors)} |", flush=True)


if __name__ == "__main__":
    main()
