"""Random networks to measure: as eager PyTorch in the published layout, compiled, and as abawkit runs them."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from abawkit.models.config import NETWORKS
from abawkit.models.devices import use_bfloat16
from abawkit.models.inference import make_model_input, place_network
from abawkit.models.layers import MixedBlock
from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops import use
from abawkit.training.optimizers import make_optimizer
from abawkit.training.recipe import Optimizer

CPU: Final = torch.device("cpu")

Run = Callable[[], object]


def make_random_network(name: str) -> DDAMFN:
    """A network of `NETWORKS` with random weights and statistics, none of which is zero; residual blocks add little."""
    torch.manual_seed(0)
    network = DDAMFN(NETWORKS[name])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            mean, variance = module.running_mean, module.running_var
            assert mean is not None and variance is not None  # noqa: PT018, S101 - all of the network's norms keep them
            nn.init.normal_(mean, 0, 0.1)
            nn.init.uniform_(variance, 0.5, 1.5)
    for module in network.modules():
        if isinstance(module, MixedBlock):
            nn.init.uniform_(module.project.norm.weight, 0.1, 0.4)
    return network


def place_copy(network: DDAMFN) -> DDAMFN:
    """A copy of a network as abawkit runs it on a CPU."""
    placed = copy.deepcopy(network)
    place_network(placed, CPU)
    return placed


def evaluate_eagerly(network: DDAMFN, images: Tensor) -> Outputs:
    """The outputs by plain PyTorch.

    Args:
        network: In evaluation mode; none of its weights requires a gradient.
        images: (N, 3, S, S).
    """
    with use("reference"), torch.enable_grad():  # norms are not folded where gradients are enabled
        outputs: Outputs = network(images, gates=False)
    return outputs


def evaluate_placed(network: nn.Module, images: Tensor) -> Outputs:
    """The outputs as `abawkit.models.inference.infer` computes them, of a network and images in its memory format."""
    with torch.inference_mode():
        outputs: Outputs = network(images, gates=False)
    return outputs


def compile_for_evaluation(network: DDAMFN) -> Callable[[Tensor], Outputs]:
    """`torch.compile` of a copy in channels_last, with norms folded, compiled anew for each number of images."""
    placed = place_copy(network)
    compiled: Any = torch.compile(placed, dynamic=False, options={"freezing": True})

    def evaluate(images: Tensor) -> Outputs:
        with torch.no_grad():
            outputs: Outputs = compiled(images, gates=False)
        return outputs

    return evaluate


def make_step(network: nn.Module, images: Tensor, *, published: bool = False, bfloat16: bool = False) -> Run:
    """A training step: forward, backward and AdamW.

    Args:
        network: A `DDAMFN` in training mode, or `torch.compile` of one.
        images: (N, 3, S, S).
        published: Whether the operators are the reference's, and AdamW is as torch sets it.
        bfloat16: Whether the forward pass runs within `use_bfloat16`, as training does.
    """
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters) if published else make_optimizer(parameters, Optimizer(), 1e-3)

    def step() -> None:
        with use("reference") if published else nullcontext():
            optimizer.zero_grad()
            with use_bfloat16(images.device) if bfloat16 else nullcontext():
                outputs = network(images)
            sum(output.square().mean() for output in outputs[:3]).backward()
            optimizer.step()

    return step


def make_evaluation_work(network: DDAMFN, images: int, *, compiled: bool = False) -> dict[str, Run]:
    """Evaluation of random images by each way: ``eager``, ``torch.compile`` where requested, ``abawkit``."""
    eager = copy.deepcopy(network).eval().requires_grad_(False)
    placed = place_copy(eager)
    x = make_random_images(network, images)
    last = make_model_input(x)
    work: dict[str, Run] = {"eager": lambda: evaluate_eagerly(eager, x)}
    if compiled:
        evaluate = compile_for_evaluation(eager)
        work["torch.compile"] = lambda: evaluate(last)
    return work | {"abawkit": lambda: evaluate_placed(placed, last)}


def make_step_work(network: DDAMFN, images: int, *, compiled: bool = False) -> dict[str, Run]:
    """Training steps on random images by each way, as in `make_evaluation_work`."""
    eager = copy.deepcopy(network).train()
    x = make_random_images(network, images)
    last = make_model_input(x)
    work = {"eager": make_step(eager, x, published=True)}
    if compiled:
        traced: Any = torch.compile(place_copy(eager), dynamic=False)
        work["torch.compile"] = make_step(traced, last)
    return work | {"abawkit": make_step(place_copy(eager), last)}


def make_random_images(network: DDAMFN, images: int) -> Tensor:
    """Random images that a network takes, contiguous."""
    side = network.config.resolution
    return torch.randn(images, 3, side, side)


def count_multiply_adds(network: DDAMFN) -> int:
    """Multiply-adds of convolutions and products for one image."""
    with FlopCounterMode(display=False) as counted:
        evaluate_eagerly(copy.deepcopy(network).eval().requires_grad_(False), make_random_images(network, 1))
    return int(counted.get_total_flops()) // 2
