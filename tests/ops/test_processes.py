"""Batch norms of several processes, each on rows of its own, as one process has them on all rows.

Two threads stand for two processes: each has a shared batch of its own, and they meet in `Meeting.add`.
"""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.errors import OpUnavailableError, OpWarning
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.ops import BlockSizes, dual_direction_attention, mixed_block, norm_prelu, use, use_bfloat16_products
from abawkit.ops.availability import survey_operator
from abawkit.ops.base import Call
from abawkit.ops.mixed_block_native import NativeBlock
from abawkit.ops.mixed_block_tensors import BlockParameters
from abawkit.ops.native import Native
from abawkit.ops.norm_prelu_native import NativeNorm
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.operators import NORM_PRELU
from abawkit.ops.processes import SharedBatch, find_shared_batch, share_batch
from abawkit.ops.registry import find_implementation, refresh
from abawkit.ops.self_check import TOLERANCES
from abawkit.ops.tensors import Parameters, Sizes
from abawkit.ops.testing import CHECKED_BLOCKS, make_random_block, make_random_inputs, make_random_norm
from abawkit.training.synchronised_norms import synchronise_batch_norms

CPU = torch.device("cpu")
ROWS = (3, 2)
"""Of the two processes."""

NATIVE = NativeBlock().reasons(Call(CPU, torch.float32, CHECKED_BLOCKS[0], training=True, gradients=True))
native = pytest.mark.skipif(bool(NATIVE), reason=f"{NATIVE}")

Run = Callable[[slice], dict[str, Tensor]]
"""Both passes on some rows: what is of rows (its name ends with "rows"), gradients of parameters, and statistics."""


class Meeting:
    """Adds tensors up over two threads."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(len(ROWS), timeout=30)
        self._given: dict[int, Tensor] = {}
        self.sums = 0

    def add(self, rank: int, tensor: Tensor) -> None:
        self._given[rank] = tensor.clone()
        self._barrier.wait()
        total = sum(self._given[r] for r in range(len(ROWS)))
        self._barrier.wait()
        tensor.copy_(torch.as_tensor(total))
        self.sums += rank == 0


def run_processes(run: Run) -> tuple[dict[str, Tensor], int]:
    """The results of two processes as those of one, and the number of sums."""
    meeting = Meeting()

    def run_one(rank: int) -> dict[str, Tensor]:
        first = sum(ROWS[:rank])
        with synchronise_batch_norms(lambda tensor: meeting.add(rank, tensor)):
            return run(slice(first, first + ROWS[rank]))

    with ThreadPoolExecutor(len(ROWS)) as executor:
        results = list(executor.map(run_one, range(len(ROWS))))
    found = {}
    for name, value in results[0].items():
        parts = [result[name] for result in results]
        if name.startswith("running"):
            assert torch.equal(parts[0], parts[1]), name
        joined = torch.cat(parts) if name.endswith("rows") else parts[0] + parts[1]
        found[name] = value if name.startswith("running") else joined
    return found, meeting.sums


def collect(outputs: Sequence[Tensor], x: Tensor, parameters: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    """Outputs, and gradients of a loss that is a sum over rows."""
    generator = torch.Generator().manual_seed(1)
    ends = [torch.randn((sum(ROWS), *o.shape[1:]), generator=generator, dtype=torch.float64)[rows] for o in outputs]
    gradients = torch.autograd.grad(
        outputs, [x, *parameters.values()], [e.to(o) for e, o in zip(ends, outputs, strict=True)]
    )
    named = zip(["x rows", *parameters], gradients, strict=True)
    return {f"output {i} rows": o.detach() for i, o in enumerate(outputs)} | {f"gradient of {n}": g for n, g in named}


def run_block(sizes: BlockSizes, dtype: torch.dtype = torch.float32, implementation: str | None = None) -> Run:
    def run(rows: slice) -> dict[str, Tensor]:
        x, parameters, statistics = make_random_block(sum(ROWS), sizes, (7, 6), dtype=dtype)
        statistics = type(statistics)(*(s.clone() for s in statistics))
        x = x[rows].requires_grad_()
        leaves = [p.detach().requires_grad_() for p in parameters.flat]
        given, options = BlockParameters.from_flat(leaves), {"training": True, "implementation": implementation}
        y = mixed_block(x, given, statistics, sizes.stride, sizes.residual, **options)  # type: ignore[arg-type]
        named = {str(i): leaf for i, leaf in enumerate(leaves) if given.squeeze_bias is not leaf}  # its gradient is 0
        return collect([y], x, named, rows) | {f"running {k}": s for k, s in statistics._asdict().items()}

    return run


def run_norm(channels: int, dtype: torch.dtype = torch.float32, implementation: str | None = None) -> Run:
    def run(rows: slice) -> dict[str, Tensor]:
        x, parameters, statistics = make_random_norm(sum(ROWS), NormSizes(channels), (6, 5)).to(dtype)
        x, statistics = x[rows].requires_grad_(), type(statistics)(*(s.clone() for s in statistics))
        given = type(parameters)(*(p.detach().requires_grad_() for p in parameters))
        y = norm_prelu(x, given, statistics, training=True, implementation=implementation)
        return collect([y], x, given._asdict(), rows) | {f"running {k}": s for k, s in statistics._asdict().items()}

    return run


def run_attention(sizes: Sizes, dtype: torch.dtype = torch.float32, implementation: str | None = None) -> Run:
    def run(rows: slice) -> dict[str, Tensor]:
        x, parameters, statistics = make_random_inputs(sum(ROWS), sizes, dtype=dtype)
        x, given = x[rows].requires_grad_(), Parameters(*(p.detach().requires_grad_() for p in parameters))
        embedding, gates = dual_direction_attention(x, given, statistics, training=True, implementation=implementation)
        assert gates is not None
        named = {name: p for name, p in given._asdict().items() if name != "squeeze_bias"}
        found = collect([embedding, *gates], x, named, rows)
        return found | {f"running {k}": s for k, s in statistics._asdict().items()}

    return run


def assert_as_precise(found: dict[str, Tensor], make: Callable[..., Run], sizes: Any, dtype: torch.dtype) -> None:
    """Errors against one process in float64 stay within twice those of eager PyTorch, and the contract's floor."""
    everything = slice(0, sum(ROWS))
    exact = make(sizes, torch.float64, "reference")(everything)
    eager = make(sizes, dtype, "reference")(everything)
    for name, value in exact.items():
        largest = value.abs().max()
        error, own = ((each[name].double() - value).abs().max() / largest for each in (found, eager))
        assert error <= 2 * own + TOLERANCES[dtype], (name, float(error), float(own))


@native
@pytest.mark.parametrize("sizes", [s for s in CHECKED_BLOCKS if s.expanded > 1], ids=BlockSizes.describe)
def test_native_mixed_blocks_of_two_processes_are_those_of_one(sizes: BlockSizes) -> None:
    found, sums = run_processes(run_block(sizes, implementation="native"))
    assert_as_precise(found, run_block, sizes, torch.float32)
    assert sums == 3 + 3  # one for each norm, in each pass


@native
def test_products_in_bfloat16_are_rounded_in_several_processes_too() -> None:
    def round_products(rows: slice) -> dict[str, Tensor]:
        with use_bfloat16_products():
            return run_block(CHECKED_BLOCKS[1], implementation="native")(rows)

    found, _ = run_processes(round_products)
    for name, value in round_products(slice(0, sum(ROWS))).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-2 * float(value.abs().max()), msg=name)


@native
@pytest.mark.parametrize("channels", [1, 8, 37])
def test_native_norms_with_prelu_of_two_processes_are_those_of_one(channels: int) -> None:
    found, sums = run_processes(run_norm(channels, implementation="native"))
    assert_as_precise(found, run_norm, channels, torch.float32)
    assert sums == 1 + 1


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [Sizes(80, 7, 7, 2, 16), Sizes(24, 3, 5, 3, 4)], ids=Sizes.describe)
def test_native_attention_of_two_processes_is_that_of_one(sizes: Sizes, dtype: torch.dtype) -> None:
    found, sums = run_processes(run_attention(sizes, dtype, "native"))
    assert_as_precise(found, run_attention, sizes, dtype)
    assert sums == 3 + 3  # rows and columns share theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make", "sizes", "norms"),
    [(run_block, CHECKED_BLOCKS[1], 3), (run_norm, 8, 1), (run_attention, Sizes(9, 5, 4, 2, 8), 4)],
)
def test_the_references_of_two_processes_are_those_of_one(
    make: Callable[..., Run], sizes: Any, norms: int, dtype: torch.dtype
) -> None:
    found, sums = run_processes(make(sizes, dtype, "reference"))
    assert_as_precise(found, make, sizes, dtype)
    assert sums == 2 * norms


def test_a_constant_channel_has_variance_zero_whatever_its_mean() -> None:
    def run(rows: slice) -> dict[str, Tensor]:
        x = torch.tensor([[0.1, 7e5], [0.1, 7e5]] * sum(ROWS), dtype=torch.float64)[rows]
        mean, variance = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        F.batch_norm(x, mean, variance, training=True, momentum=1.0)
        return {"running mean": mean, "running variance": variance}

    found, _ = run_processes(run)
    assert found["running mean"].tolist() == pytest.approx([0.1, 7e5], rel=1e-15)
    assert found["running variance"].tolist() == [0, 0]


def test_a_network_of_two_processes_is_that_of_one() -> None:
    images = torch.randn(sum(ROWS), 3, 112, 112, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    initial = DDAMFN(NETWORKS["ddamfn-nano"])

    def train(rows: slice, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        network = copy.deepcopy(initial).to(dtype).train()
        x = images[rows].to(dtype).requires_grad_()
        outputs = network(x)
        named = {n: p for n, p in network.named_parameters() if not n.endswith("squeeze.bias")}
        found = collect([outputs.va, outputs.expression, outputs.au], x, named, rows)
        return found | {f"running {n}": b for n, b in network.named_buffers() if b.is_floating_point()}

    found, _ = run_processes(train)
    alone, exact = train(slice(0, sum(ROWS))), train(slice(0, sum(ROWS)), torch.float64)
    for name, value in exact.items():
        largest = max(float(value.abs().max()), 1e-30)
        error, own = (float((each[name].double() - value).abs().max()) / largest for each in (found, alone))
        assert error <= 3 * own + 1e-4, (name, error, own)


def test_evaluation_is_of_one_process_wherever_it_runs() -> None:
    """Validation by one process alone must not wait for the others."""

    def refuse(_: Tensor) -> None:
        raise AssertionError("a sum over processes")

    network = DDAMFN(NETWORKS["ddamfn-nano"]).eval()
    images = torch.randn(2, 3, 112, 112)
    with synchronise_batch_norms(refuse):
        network(images).va.sum().backward()
        with torch.no_grad():
            network(images)


def test_nothing_is_shared_after_the_block_or_in_other_threads() -> None:
    with synchronise_batch_norms(lambda _: None):
        assert find_shared_batch() is not None
        with ThreadPoolExecutor(1) as executor:
            assert executor.submit(find_shared_batch).result() is None
    assert find_shared_batch() is None


class LostError(Exception):
    """As a process that is gone."""


@native
@pytest.mark.parametrize(
    "make", [lambda: run_block(CHECKED_BLOCKS[1]), lambda: run_norm(8), lambda: run_attention(Sizes(9, 5, 4, 2, 8))]
)
@pytest.mark.parametrize("failing", [1, 2, -1], ids=["first", "second", "last"])
def test_what_a_sum_raises_ends_the_pass(make: Callable[[], Run], failing: int) -> None:
    """The error itself, so that a lost process is recognised."""
    sums: list[int] = []

    def add(_: Tensor) -> None:
        sums.append(1)
        if len(sums) == failing:
            raise LostError

    run = make()
    with synchronise_batch_norms(add):
        if failing < 0:
            run(slice(0, 3))
            failing = len(sums)
            sums.clear()
        with pytest.raises(LostError):
            run(slice(0, 3))
        assert len(sums) == failing
    assert run(slice(0, 3))  # the next call is as ever


@native
def test_a_backward_pass_outside_of_the_block_is_refused() -> None:
    x, parameters, _ = make_random_norm(3, NormSizes(8))
    x.requires_grad_()
    with share_batch(SharedBatch(lambda _: None)):
        result = norm_prelu(x, parameters, None, training=True, implementation="native")
    with pytest.raises(RuntimeError, match="both passes of a synchronised batch norm must run in"):
        result.sum().backward()  # type: ignore[no-untyped-call]


@native
def test_an_implementation_that_knows_no_other_processes_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(CPU, torch.float32, NormSizes(24), training=True, gradients=True, synchronised=True)
    refresh()
    monkeypatch.setattr(NativeNorm, "synchronises", False)
    with use("native"):
        assert find_implementation(call._replace(synchronised=False)).name == "native"
        with pytest.raises(OpUnavailableError, match="the statistics of one process alone"):
            find_implementation(call)
    with pytest.warns(OpWarning, match="the statistics of one process alone"):
        assert find_implementation(call).name == "reference"
    assert "cpu" in survey_operator(NORM_PRELU).alone["native"]  # as `abawkit ops` lists it
    monkeypatch.undo()
    refresh()
    assert find_implementation(call).name == "native"
    assert "cpu" not in survey_operator(NORM_PRELU).alone["native"]


def test_on_gpus_the_reference_serves_synchronised_norms() -> None:
    call = Call(torch.device("cuda", 0), torch.float32, Sizes(80, 7, 7, 2, 16), True, True, synchronised=True)
    assert not Native().is_meant_for(call)
    assert Native().is_meant_for(call._replace(synchronised=False))
    assert "with synchronised batch norms" in call.describe()
