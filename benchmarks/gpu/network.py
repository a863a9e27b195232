"""Images a second of the whole network, in evaluation and in a training step.

python -m benchmarks.gpu.network [--device cuda] [--network ddamfn] [--images 256 64]
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import nn

from abawkit.errors import OpUnavailableError
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.ops import attention_mse, use
from abawkit.ops.timing import time_wall

FORMATS: Final = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
IMPLEMENTATIONS: Final = ("native", "reference")
ROUNDS: Final = 3


def make_step(
    network: nn.Module, x: torch.Tensor, cast: Callable[[], AbstractContextManager[Any]]
) -> Callable[[], None]:
    """A training step on one batch: forward with gates, a loss of every output, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        with cast():
            outputs = network(x, gates=True)
        loss = outputs.va.float().sum() + outputs.expression.float().sum() + outputs.au.float().sum()
        (loss + attention_mse(outputs.gates)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_evaluation(
    network: nn.Module, x: torch.Tensor, cast: Callable[[], AbstractContextManager[Any]]
) -> Callable[[], None]:
    """What prediction runs on one batch."""

    def evaluate() -> None:
        with torch.inference_mode(), cast():
            network(x, gates=False)

    return evaluate


def measure(name: str, device: torch.device, images: list[int]) -> Iterator[dict[str, Any]]:
    """A row for each memory format, precision, implementation and number of images.

    float32 is float32: convolutions don't round to TF32.
    """
    network = DDAMFN(NETWORKS[name]).to(device)
    side = network.config.resolution
    for (layout, form), bfloat16, ops, n in itertools.product(FORMATS.items(), (True, False), IMPLEMENTATIONS, images):
        network.to(memory_format=form)  # type: ignore[call-overload]
        cast = (lambda: torch.autocast(device.type, torch.bfloat16)) if bfloat16 else nullcontext
        x = torch.randn(n, 3, side, side, device=device).contiguous(memory_format=form)
        row: dict[str, Any] = {"layout": layout, "precision": "bfloat16" if bfloat16 else "float32"}
        row |= {"ops": ops, "images": n}
        try:
            with use(ops):
                network.train()
                training = time_wall({"": make_step(network, x, cast)}, ROUNDS, device)[""]
                network.eval()
                evaluation = time_wall({"": make_evaluation(network, x, cast)}, ROUNDS, device)[""]
        except OpUnavailableError as error:
            yield {**row, "reason": str(error).splitlines()[0]}
            continue
        row |= {"training_images_per_second": 1000 * n / training}
        yield {**row, "evaluation_images_per_second": 1000 * n / evaluation}


def main() -> None:
    """Prints all rows as JSON, and each on stderr as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default="ddamfn", choices=NETWORKS)
    parser.add_argument("--images", type=int, nargs="+", default=[256, 64])
    options = parser.parse_args()
    cudnn: Any = torch.backends.cudnn
    cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.manual_seed(0)
    rows = []
    for row in measure(options.network, torch.device(options.device), options.images):
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    print(json.dumps({"network": options.network, "rows": rows}))


if __name__ == "__main__":
    main()
