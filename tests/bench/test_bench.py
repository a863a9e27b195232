"""`abawkit.bench`: all ways of a kind of work compute the same, and reports are compared with known machines."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from abawkit.bench import run as module
from abawkit.bench.loader import make_loader_work
from abawkit.bench.networks import (
    count_multiply_adds,
    make_evaluation_work,
    make_random_network,
    make_step_work,
)
from abawkit.bench.operators import list_operator_work
from abawkit.bench.report import BenchReport, BenchRow, Machine, Rate, choose_known_machine, read_known_machines
from abawkit.bench.run import bench
from abawkit.models.config import NETWORKS, Split, StageConfig
from abawkit.models.network import Outputs

NANO = "ddamfn-nano"


def test_all_ways_of_evaluating_give_the_same() -> None:
    work = make_evaluation_work(make_random_network(NANO), 2)
    assert list(work) == ["eager", "abawkit"]
    eager, own = (run() for run in work.values())
    assert isinstance(eager, Outputs)
    assert isinstance(own, Outputs)
    for found, expected in zip(own[:3], eager[:3], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_all_ways_of_training_can_be_repeated_and_leave_the_network_alone() -> None:
    network = make_random_network(NANO)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for run in make_step_work(network, 2).values():
        run()
        run()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.fixture
def eager_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces, and leaves the code to torch: what is given to the compiler is tested, not the compiler."""
    compiled = torch.compile
    torch.compiler.reset()

    def trace(network: torch.nn.Module, dynamic: bool, options: object = None) -> object:
        del options
        return compiled(network, dynamic=dynamic, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("eager_compiler")
def test_compiled_networks_are_measured_where_requested() -> None:
    network = make_random_network(NANO)
    work = make_evaluation_work(network, 2, compiled=True)
    eager, compiled = work["eager"](), work["torch.compile"]()
    assert isinstance(eager, Outputs)
    assert isinstance(compiled, Outputs)
    torch.testing.assert_close(compiled.au, eager.au, rtol=1e-4, atol=1e-5)
    assert list(make_step_work(network, 2, compiled=True)) == ["eager", "torch.compile", "abawkit"]


def test_operators_are_those_of_the_network_and_both_ways_agree() -> None:
    names = []
    for name, images, work in list_operator_work(NETWORKS[NANO], [1, 3]):
        names.append((name, images))
        eager, own = (run() for run in work.values())
        assert isinstance(eager, Sequence)
        assert isinstance(own, Sequence)
        for found, expected in zip(own, eager, strict=True):
            assert isinstance(found, Tensor)
            if not name.startswith("train"):  # backward starts from random numbers
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    blocks = [f"{mode}block {n}{kind}" for n in (1, 2, 3) for kind in (" entry", "") for mode in ("", "train ")]
    attention = [("attention", 1), ("attention", 3), ("train attention", 3)]
    assert names == [*attention, *((name, 8) for name in ("train norm", *blocks, "stem"))]


def test_multiply_adds_are_those_of_convolutions_and_products() -> None:
    network = make_random_network(NANO)
    stage = StageConfig(width=16, entry=(Split(3, 8), Split(5, 8)), depth=1, residual=(Split(3, 8), Split(5, 8)))
    assert network.config.stages[0] == stage
    found = count_multiply_adds(network)
    stem = 56 * 56 * (3 * 8 * 9 + 8 * 9)
    first = 56 * 56 * 8 * 16 + 28 * 28 * (8 * 9 + 8 * 25 + 16 * 16)  # expansion at 56 x 56, the rest at 28 x 28
    assert stem + first < found < 20 * (stem + first)
    assert count_multiply_adds(make_random_network("ddamfn")) > 30 * found


def test_the_loader_gives_normalised_batches() -> None:
    with make_loader_work(5, 3) as work:
        batch = work["abawkit"]()
    assert isinstance(batch, Tensor)
    assert batch.shape == (3, 3, 112, 112)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert 0.5 < batch.std() < 2


def test_every_requested_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_IMAGES", {NANO: 2})
    said: list[str] = []
    report = bench(["network", "step", "loader"], quick=True, rounds=2, command="abawkit bench", say=said.append)
    assert said == ["network", "step", "loader"]
    assert [(row.part, row.work, row.images, row.rounds) for row in report.rows] == [
        ("network", f"evaluate {NANO}", 1, 2),
        ("network", f"evaluate {NANO}", 8, 2),
        ("step", f"train {NANO}", 2, 2),
        ("loader", "load and augment", 32, 2),
    ]
    for row in report.rows:
        rate = row.rates["abawkit"]
        assert rate.low is not None
        assert rate.high is not None
        assert 0 < rate.low <= rate.median <= rate.high
    assert report.rows[-1].speedup is None
    assert report.machine.threads == torch.get_num_threads()
    assert set(report.operators) == {"dual_direction_attention", "mixed_block", "norm_prelu", "stem"}
    assert BenchReport.model_validate(report.model_dump()) == report


def test_a_machine_without_a_compiler_is_measured_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "explain_missing_compiler", lambda *_: "no compiler")
    report = bench([], compiled=True)
    assert (report.rows, report.left_out) == ([], {"torch.compile": "no compiler"})


def make_report(machine: Machine, rate: float = 10.0, **rates: float) -> BenchReport:
    given = {"abawkit": rate, **rates}
    row = BenchRow(
        part="network",
        work="evaluate x",
        images=8,
        rounds=3,
        rates={who: Rate(median=value, low=value - 1, high=value + 2) for who, value in given.items()},
    )
    return BenchReport(machine=machine, version="1", command="c", operators={}, rows=[row], left_out={})


def test_ratios_and_spread_follow_from_the_rates() -> None:
    machine = Machine(processor="a", instruction_set="avx2", threads=2, torch="2")
    (row,) = make_report(machine, 12.0, eager=4.0).rows
    assert row.speedup == 3.0
    assert row.rates["abawkit"].spread == 1.5 / 12
    assert Rate(median=1.0).spread is None


def test_results_below_three_quarters_of_what_is_expected_are_named() -> None:
    machine = Machine(processor="a", instruction_set="avx2", threads=2, torch="2")
    expected = make_report(machine, 100.0)
    assert make_report(machine, 76.0).list_slow_rows(expected) == []
    slow = make_report(machine, 74.0)
    assert slow.list_slow_rows(expected) == slow.rows
    other = slow.model_copy(update={"rows": [slow.rows[0].model_copy(update={"images": 9})]})
    assert other.list_slow_rows(expected) == []
    assert expected.find_rate(other.rows[0]) is None


def test_the_known_machine_has_the_same_kernels_and_threads_and_if_possible_the_processor() -> None:
    here = Machine(processor="a", instruction_set="avx2", threads=2, torch="2")
    others = [
        make_report(here.model_copy(update=change))
        for change in ({"instruction_set": "avx512"}, {"threads": 4}, {"processor": "b"}, {"torch": "3"})
    ]
    assert choose_known_machine(here, others) is others[3]
    assert choose_known_machine(here, others[:3]) is others[2]
    assert choose_known_machine(here, others[:2]) is None


def test_known_machines_can_be_read_and_have_work_that_is_measured_here() -> None:
    known = read_known_machines()
    assert known
    works = {f"{mode} {name}" for mode in ("evaluate", "train") for name in module.MEASURED}
    for report in known:
        assert works & {row.work for row in report.rows}
        assert report.command
