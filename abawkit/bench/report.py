"""What `abawkit bench` has measured, on this machine or on a known one: the same JSON object."""

from importlib.resources import as_file, files
from typing import Final

from pydantic import BaseModel, ConfigDict

from abawkit.system.json_records import read_json

TOO_SLOW: Final = 0.75
"""Share of the expected rate below which a result is named."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Machine(_Record):
    """Where was measured.

    Attributes:
        processor: Its model, as the system names it.
        instruction_set: Of the native operators' kernels that run here; ``none`` without native operators.
        threads: Of the CPU.
        torch: Version.
    """

    processor: str
    instruction_set: str
    threads: int
    torch: str

    def describe(self) -> str:
        """The machine in words."""
        plural = "s" if self.threads > 1 else ""
        return f"{self.processor}, {self.instruction_set}, {self.threads} thread{plural}, torch {self.torch}"


class Rate(_Record):
    """Images or frames a second, over rounds.

    Attributes:
        median: Of all rounds.
        low: Lower quartile; None where it was not kept.
        high: Upper quartile.
    """

    median: float
    low: float | None = None
    high: float | None = None

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles, as a share of the median."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2 / self.median


class BenchRow(_Record):
    """One kind of work on one number of images.

    Attributes:
        part: The part of the benchmark that it belongs to.
        work: What was done, such as ``evaluate ddamfn``.
        images: How many at a time.
        rounds: Interleaved rounds.
        rates: By who did it: ``abawkit``, and where it can be compared ``eager`` and ``torch.compile``.
    """

    part: str
    work: str
    images: int
    rounds: int
    rates: dict[str, Rate]

    @property
    def speedup(self) -> float | None:
        """How many times faster than eager PyTorch, by medians."""
        return self.rates["abawkit"].median / self.rates["eager"].median if "eager" in self.rates else None


class BenchReport(_Record):
    """The results of `abawkit.bench.run.bench`; those of known machines are files beside this module.

    Attributes:
        machine: Where.
        version: Of abawkit.
        command: How it was measured.
        operators: The implementation of each operator that ran in the network.
        rows: The results.
        left_out: What was not measured, with the reason.
    """

    machine: Machine
    version: str
    command: str
    operators: dict[str, str]
    rows: list[BenchRow]
    left_out: dict[str, str]

    def find_rate(self, row: BenchRow) -> float | None:
        """This report's rate of abawkit for the work of a row of another report; None where it was not measured."""
        same = (own for own in self.rows if (own.work, own.images) == (row.work, row.images))
        return next((own.rates["abawkit"].median for own in same), None)

    def list_slow_rows(self, expected: "BenchReport") -> list[BenchRow]:
        """Results below `TOO_SLOW` of those of another report."""
        rates = [(row, expected.find_rate(row)) for row in self.rows]
        return [row for row, rate in rates if rate and row.rates["abawkit"].median < TOO_SLOW * rate]


def read_known_machines() -> list[BenchReport]:
    """The results on known machines, each printed there by ``abawkit bench --json``."""
    with as_file(files("abawkit.bench") / "machines") as folder:
        return [read_json(path, BenchReport, "what `abawkit bench --json` prints") for path in sorted(folder.iterdir())]


def choose_known_machine(machine: Machine, known: list[BenchReport]) -> BenchReport | None:
    """The known machine that is most like one: the same kernels and threads, then the same processor.

    Returns:
        None where none has the same kernels and the same number of threads.
    """
    alike = [
        report
        for report in known
        if (report.machine.instruction_set, report.machine.threads) == (machine.instruction_set, machine.threads)
    ]
    return max(alike, key=lambda report: report.machine.processor == machine.processor, default=None)
