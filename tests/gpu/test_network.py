"""The whole network on a device against float64 on the CPU: outputs, all gradients, running statistics."""

import copy
import functools
import statistics
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.models.network import DDAMFN, OUTPUTS
from abawkit.ops import attention_mse, use
from tests.gpu.networks import draw_network

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
FLOORS = {"float32": 1e-5, "bfloat16": 2**-8}
"""What is allowed beside three times the error of eager PyTorch on the CPU. With TF32, whose 11 bits give 5e-4 in each
convolution, no float32 would come near it."""


def images(count: int, network: DDAMFN) -> Tensor:
    side = network.config.resolution
    return torch.from_numpy(np.random.default_rng(5).normal(0, 1, (count, 3, side, side)).astype(np.float32))


def run(
    network: DDAMFN, x: Tensor, *, training: bool, cast: AbstractContextManager[Any] | None = None
) -> dict[str, Tensor]:
    """Outputs, gradients of all parameters and, in training, running statistics; in float64 on the CPU."""
    network.train(training)
    with cast or nullcontext():
        outputs = network(x, gates=True)
    assert outputs.gates is not None
    heads = {"va": outputs.va, "expression": outputs.expression, "au": outputs.au}
    loss = attention_mse(outputs.gates).double()
    for head in heads.values():
        directions = torch.linspace(-1, 1, head.numel(), dtype=torch.float64).view_as(head)
        loss = loss + (head.double() * directions.to(head.device)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    found: dict[str, Tensor | None] = {f"gradient of {key}": p.grad for key, p in network.named_parameters()}
    running = {key: b for key, b in network.named_buffers() if key.endswith(("running_mean", "running_var"))}
    found |= {**heads, **(running if training else {})}
    return {key: t.detach().cpu().double() for key, t in found.items() if t is not None}


def errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """The error of each tensor as a share of its norm, or of a hundredth of the largest gradient's.

    In training some gradients are zero by construction, as a batch norm takes away what their parameter adds: what is
    found of them is rounding alone.
    """
    assert found.keys() == exact.keys()
    gradients = max(t.norm().item() for key, t in exact.items() if key.startswith("gradient of "))

    def scale(key: str) -> float:
        return float(max(exact[key].norm().item(), gradients / 100 if key.startswith("gradient of ") else 1e-30))

    return {key: (found[key] - t).norm().item() / scale(key) for key, t in exact.items()}


@functools.cache
def expected(name: str, precision: str, *, training: bool) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Float64 on the CPU, and the errors that eager PyTorch makes there in the given precision."""
    network = draw_network(name)
    x = images(4, network)
    with use("reference"):
        exact = run(copy.deepcopy(network).double(), x.double(), training=training)
        own = run(network, x, training=training, cast=autocast("cpu", precision))
    return exact, errors(own, exact)


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_network_is_as_precise_as_eager_pytorch_on_the_cpu(
    device: str, layout: str, precision: str, training: bool
) -> None:
    """Each head, and the median over gradients and statistics: single ones jump where a maximum changes sides."""
    name = "ddamfn" if device == "cuda" else "ddamfn-nano"
    exact, allowed = expected(name, precision, training=training)
    network = draw_network(name).to(device)
    x = images(4, network).to(device).contiguous(memory_format=LAYOUTS[layout])
    network.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
    with use("native"):
        found = errors(run(network, x, training=training, cast=autocast(device, precision)), exact)
    for head in OUTPUTS:
        assert found[head] <= 3 * allowed[head] + FLOORS[precision], head
    assert statistics.median(found.values()) <= 3 * statistics.median(allowed.values()) + FLOORS[precision]


def test_two_runs_give_the_same_bits(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cuDNN's deterministic algorithms, as training sets them."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    network = draw_network().to(device)
    x = images(5, network).to(device)
    with use("native"):
        first, second = (run(copy.deepcopy(network), x, training=True) for _ in range(2))
    assert [key for key, t in first.items() if not torch.equal(t, second[key])] == []


@pytest.mark.gpu
def test_a_forward_pass_can_be_captured_and_replayed() -> None:
    network = draw_network().to("cuda").eval()
    given, others = (images(6, network)[part].to("cuda") for part in (slice(3), slice(3, 6)))
    with use("native"), torch.inference_mode():
        expected_answer = network(others, gates=False).expression.clone()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            network(given, gates=False)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = network(given, gates=False).expression
        given.copy_(others)
        graph.replay()
        assert torch.equal(answer, expected_answer)
