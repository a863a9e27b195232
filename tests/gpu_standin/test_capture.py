"""Rules of graph capture: what they forbid is refused by the stand-in, and the operators keep to them."""

from collections.abc import Callable

import pytest
import torch

from abawkit.ops.testing import make_random_inputs
from tests.gpu_standin.test_operators import SIZES, by_operator, calls_of, on

FORBIDDEN: dict[str, Callable[[torch.Tensor], object]] = {
    "a number read back": lambda x: x[0].item(),
    "a copy from pageable memory": lambda x: x.copy_(torch.ones(8), non_blocking=True),
    "a copy into pageable memory": lambda x: torch.empty(8).copy_(x, non_blocking=True),
    "a synchronisation of the device": lambda _: torch.cuda.synchronize(),
    "a synchronisation of the stream": lambda _: torch.cuda.current_stream().synchronize(),
}


@pytest.mark.parametrize("operation", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_a_capture_forbids_is_an_error(operation: Callable[[torch.Tensor], object]) -> None:
    x = torch.ones(8).cuda()

    def capture() -> None:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            x.zero_()  # torch warns of graphs that are empty
            operation(x)

    current = torch.cuda.current_stream()
    with pytest.raises(RuntimeError, match="captur"):
        capture()
    torch.cuda.set_stream(current)  # torch leaves the capture's, where its end fails as well
    torch.cuda.synchronize()  # outside all is well again


def test_what_a_capture_allows_passes() -> None:
    x, y, pinned = torch.ones(8).cuda(), torch.zeros(8).cuda(), torch.full((8,), 3.0).pin_memory()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y.copy_(x)
        x.copy_(pinned, non_blocking=True)
        torch.empty(2**24, device="cuda")  # torch's own pool
    assert y.cpu().eq(0).all()  # a capture runs nothing
    graph.replay()
    assert y.cpu().eq(1).all()
    graph.replay()
    assert y.cpu().eq(3).all()


@by_operator
def test_an_operator_is_captured_and_replayed(operator: str) -> None:
    inputs, others = (on("cuda", make_random_inputs(3, SIZES["all different"], seed=seed)) for seed in (0, 1))
    call = calls_of(inputs)[operator]
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()
    graph.replay()
    for one, other in zip(found, call(), strict=True):
        assert torch.equal(one.cpu(), other.cpu())
    before = [t.cpu() for t in found]
    inputs.features.copy_(others.features)  # a graph reads what is there when it is replayed
    graph.replay()
    expected = call()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.cpu(), other.cpu())
    assert not torch.equal(found[0].cpu(), before[0])
