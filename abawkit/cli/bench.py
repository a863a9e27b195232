"""``abawkit bench``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Json, Threads
from abawkit.errors import printable
from abawkit.execution import cpu_threads

if TYPE_CHECKING:
    from abawkit.bench.report import BenchReport


class _BenchPart(StrEnum):
    OPERATORS = "operators"
    NETWORK = "network"
    STEP = "step"
    LOADER = "loader"


@command
def bench(
    parts: Annotated[list[_BenchPart] | None, typer.Argument(help="What to measure; default: all four.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure torch.compile of networks and training steps too; takes minutes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure the small network alone, in seconds.")] = False,
    rounds: Annotated[
        int, typer.Option(min=1, help="Interleaved rounds, whose median counts; 3 if they are slow.")
    ] = 9,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure operators, networks, training step and loader on this machine's CPU, and compare with a known machine.

    The table has images a second: of eager PyTorch in the published layout, of torch.compile if requested, and of
    abawkit. Each is a median, "±" half the distance between the quartiles; "x" is the speed-up over eager,
    and "expected" is what abawkit reaches on the known machine that is most like this one.

    `abawkit ops bench` measures the implementations of the attention more closely, on GPUs too.

    Example: abawkit bench network step
    """
    from abawkit.bench.report import choose_known_machine, read_known_machines
    from abawkit.bench.run import BENCH_PARTS
    from abawkit.bench.run import bench as run

    chosen = [name for name in BENCH_PARTS if not parts or name in parts]
    with cpu_threads(threads):
        words = ["abawkit bench", *(chosen if parts else ()), *(["--quick"] if quick else ()), f"--rounds {rounds}"]
        how = " ".join([*words, *(["--compile"] if compiled else ())])
        report = run(chosen, quick=quick, rounds=rounds, compiled=compiled, command=how, say=print_message)
    if as_json:
        print_json(report.model_dump())
    else:
        _show_rates(report, choose_known_machine(report.machine, read_known_machines()))


def _show_rates(report: "BenchReport", known: "BenchReport | None") -> None:
    from abawkit.cli._output import show_table

    compiled = any("torch.compile" in row.rates for row in report.rows)
    heads = ["images a second", "N", "eager", *(["compile"] if compiled else ()), "abawkit", "±", "x"]
    rows = []
    for row in report.rows:
        own = row.rates["abawkit"]
        rates = [row.rates.get(name) for name in ("eager", *(["torch.compile"] if compiled else ()), "abawkit")]
        cells = [_format_rate(rate.median if rate else None) for rate in rates]
        spread = "" if own.spread is None else f"{own.spread:.0%}"
        cells += [spread, "" if row.speedup is None else f"{row.speedup:.1f}"]
        rows.append([row.work, str(row.images), *cells, *([_format_rate(known.find_rate(row))] if known else ())])
    show_table(report.machine.describe(), [*heads, *(["expected"] if known else ())], rows)
    for name, served in report.operators.items():
        _print_line(f"{name}: {served}")
    _show_comparison(report, known)
    for what, reason in report.left_out.items():
        print_message(f"not measured: {what}: {reason}")


def _show_comparison(report: "BenchReport", expected: "BenchReport | None") -> None:
    """Says what the expected rates are of, and what is slower here."""
    if expected is None:
        _print_line("expected: unknown, as no machine with these kernels and this number of threads has been measured")
        return
    same = "the same processor" if expected.machine.processor == report.machine.processor else "another processor"
    _print_line(f"expected: {expected.machine.describe()} ({same}), by `{expected.command}`")
    if slow := report.list_slow_rows(expected):
        _print_line(f"slower than expected: {', '.join(f'{row.work} ({row.images})' for row in slow)}")
        _print_line("other programs may be running; `abawkit doctor` and `abawkit ops` name what is missing")


def _print_line(text: str) -> None:
    from abawkit.cli._output import stdout

    stdout().print(printable(text), soft_wrap=True)


def _format_rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 20 else f"{rate:.2g}"
