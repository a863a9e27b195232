"""`abawkit bench`: the table fits a narrow terminal, says what is expected of this machine, and what is slower."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from abawkit.bench import report as reports
from abawkit.bench import run as module
from abawkit.bench.report import BenchReport, BenchRow, Machine, Rate
from abawkit.cli.app import app

MACHINE = Machine(processor="Some Processor", instruction_set="avx2", threads=2, torch="2.13.0+cpu")

Show = Callable[..., Result]


def make_report(machine: Machine = MACHINE, **rates: float) -> BenchReport:
    rows = [
        BenchRow(
            part=part,
            work=work,
            images=images,
            rounds=3,
            rates={who.replace("compiled", "torch.compile"): spread(rate) for who, rate in chosen.items()},
        )
        for part, work, images, chosen in (
            ("operators", "train block 3 entry", 8, rates),
            ("step", "evaluate ddamfn-nano", 32, {who: rate / 1000 for who, rate in rates.items()}),
            ("loader", "load and augment", 32, {"abawkit": 12345.0}),
        )
    ]
    operators = {"dual_direction_attention": "native", "mixed_block": "native in evaluation, reference in training"}
    return BenchReport(
        machine=machine, version="1", command="abawkit bench", operators=operators, rows=rows, left_out={}
    )


def spread(rate: float) -> Rate:
    return Rate(median=rate, low=0.95 * rate, high=1.05 * rate)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Prints a report as this machine's, where another is that of the known machine."""

    def show(report: BenchReport, *known: BenchReport, width: int = 80) -> Result:
        monkeypatch.setattr(module, "bench", lambda *_, **__: report)
        monkeypatch.setattr(reports, "read_known_machines", lambda: list(known))
        result = CliRunner().invoke(app, ["bench"], env={"COLUMNS": str(width)})
        assert result.exit_code == 0, result.output
        return result

    return show


def test_the_table_fits_80_columns_and_has_rates_ratios_and_what_is_expected(shown: Show) -> None:
    report = make_report(eager=13579.0, compiled=14000.0, abawkit=27158.0)
    lines = shown(report, make_report(eager=1.0, abawkit=27000.0)).stdout.splitlines()
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 80
    assert table[0] == "Some Processor, avx2, 2 threads, torch 2.13.0+cpu"
    assert table[1].split()[3:] == ["N", "eager", "compile", "abawkit", "±", "x", "expected"]
    assert table[3].split()[4:] == ["8", "13,579", "14,000", "27,158", "5%", "2.0", "27,000"]
    assert table[4].split()[2:] == ["32", "14", "14", "27", "5%", "2.0", "27"]
    assert table[5].split()[3:] == ["32", "12,345", "5%", "12,345"]
    assert "mixed_block: native in evaluation, reference in training" in lines
    said = "expected: Some Processor, avx2, 2 threads, torch 2.13.0+cpu (the same processor), by `abawkit bench`"
    assert lines[-1] == said


def test_what_is_slower_than_expected_is_named(shown: Show) -> None:
    other = MACHINE.model_copy(update={"processor": "Another"})
    text = shown(make_report(eager=1.0, abawkit=700.0), make_report(other, abawkit=1000.0)).stdout
    assert "(another processor), by" in text
    assert "\nslower than expected: train block 3 entry (8), evaluate ddamfn-nano (32)\n" in text


def test_without_a_known_machine_nothing_is_expected(shown: Show) -> None:
    other = MACHINE.model_copy(update={"threads": 64})
    text = shown(make_report(eager=1.0, abawkit=2.0), make_report(other, abawkit=1000.0)).stdout
    assert "expected: unknown, as no machine with these kernels and this number of threads has been measured" in text
    assert "x expected" not in " ".join(text.split())


def test_the_report_as_json_is_that_of_a_known_machine() -> None:
    result = CliRunner().invoke(app, ["bench", "network", "--quick", "--rounds", "1", "--threads", "1", "--json"])
    assert result.exit_code == 0, result.output
    report = BenchReport.model_validate(json.loads(result.stdout))
    assert report.command == "abawkit bench network --quick --rounds 1"
    assert [(row.work, row.images) for row in report.rows] == [("evaluate ddamfn-nano", 1), ("evaluate ddamfn-nano", 8)]
    assert result.stderr == "network\n"


def test_an_unknown_part_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "everything"])
    assert result.exit_code == 2
    assert "'operators', 'network', 'step', 'loader'" in " ".join(result.output.split())
