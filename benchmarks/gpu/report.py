"""What the steps left, beside what is wanted: a table to read, and JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from benchmarks.gpu.runner import Ran
from benchmarks.gpu.steps import BATCH, TRAIN, VALIDATION

NATIVE: Final = "native"
BOTH: Final = "training forward and backward"
FEATURES: Final = 512 * 7 * 7
"""Numbers that the operator reads of an image, in the published network."""

BYTES: Final = {"float32": 4, "bfloat16": 2}

Results = Mapping[str, Any]
"""What each step left, by its name."""


@dataclass(frozen=True)
class Wanted:
    """A number that is wanted of a GPU.

    Attributes:
        name: What it is.
        bound: What is wanted.
        measure: The number from the results, or None where they don't hold it.
        unit: Its unit.
        most: Whether `bound` is the most, not the least.
    """

    name: str
    bound: float
    measure: Callable[[Results], float | None]
    unit: str = ""
    most: bool = False

    def judge(self, results: Results) -> dict[str, Any]:
        """The number beside what is wanted; ``met`` is None where nothing was measured."""
        value = self.measure(results)
        met = None if value is None else value <= self.bound if self.most else value >= self.bound
        wanted = f"{'at most' if self.most else 'at least'} {self.bound:g} {self.unit}".rstrip()
        return {"name": self.name, "wanted": wanted, "measured": value, "unit": self.unit, "met": met}


def find_row(results: Results, step: str, work: str, images: int) -> dict[str, Any] | None:
    """A row of `abawkit ops bench` with its ratios for the native operator, or None."""
    rows: Sequence[dict[str, Any]] = (results.get(step) or {}).get("measured", [])
    found = (r for r in rows if (r["work"], r["images"]) == (work, images) and NATIVE in r["ratios"])
    return next(found, None)


def copy_share(dtype: str) -> Callable[[Results], float | None]:
    """The rate at which evaluation reads N = 1,024 images, as a share of that of a large copy: by time of kernels."""

    def measure(results: Results) -> float | None:
        row, machine = find_row(results, f"operator_{dtype}", "evaluation", 1024), results.get("machine")
        if not row or not machine or NATIVE not in row["kernels"]:
            return None
        rate: float = machine["copy_bytes_per_second"]
        seconds: float = row["kernels"][NATIVE] / 1000
        return 1024 * FEATURES * BYTES[dtype] / seconds / rate

    return measure


def ratio(step: str, work: str, images: int, name: str) -> Callable[[Results], float | None]:
    """A ratio of wall times of `abawkit ops bench`."""

    def measure(results: Results) -> float | None:
        row = find_row(results, step, work, images)
        value: float | None = row["ratios"][NATIVE][name] if row else None
        return value

    return measure


def epoch_seconds(results: Results) -> float | None:
    """Seconds of the last epoch over `TRAIN` rows; the first one also starts libraries."""
    lines = results.get("epochs")
    if not lines:
        return None
    last = lines[-1]
    rows = last["seconds"] * last["images_per_second"]
    return float(last["seconds"]) if math.isclose(rows, TRAIN, rel_tol=0.01) else None


def submission_seconds(results: Results) -> float | None:
    """Seconds of the whole command, for `VALIDATION` rows."""
    seconds: float | None = results.get("submission", {}).get("seconds")
    return seconds


def make_wanted() -> list[Wanted]:
    """All that is wanted."""
    types = ("float32", "bfloat16")
    share = [Wanted(f"evaluation, N = 1,024, {t}: share of the copy rate", 0.6, copy_share(t)) for t in types]
    eager = [
        Wanted(f"evaluation, N = {n}, {t}: x eager", 10, ratio(f"operator_{t}", "evaluation", n, "to_eager"), "x")
        for t in types
        for n in (1, 16, 64)
    ]
    training = [
        Wanted(f"{BOTH}, N = {BATCH}, {t}: x eager", 6, ratio(f"operator_{t}", BOTH, BATCH, "to_eager"), "x")
        for t in types
    ]
    compiled = ratio("compiled", BOTH, BATCH, "to_compiled")
    return [
        *share,
        *eager,
        *training,
        Wanted(f"{BOTH}, N = {BATCH}, float32: x torch.compile", 2, compiled, "x"),
        Wanted(f"an epoch over {TRAIN:,} frames", 8, epoch_seconds, "s", most=True),
        Wanted(f"{VALIDATION:,} packed frames to a submission", 10, submission_seconds, "s", most=True),
    ]


def count_tests(path: Path) -> dict[str, int] | None:
    """Tests by outcome, from pytest's file for JUnit; None where there is none."""
    try:
        suites = ElementTree.parse(path).getroot().iter("testsuite")  # noqa: S314 - pytest has just written it
        counts = [{key: int(s.attrib[key]) for key in ("tests", "failures", "errors", "skipped")} for s in suites]
    except (OSError, ElementTree.ParseError):
        return None
    return {key: sum(count[key] for count in counts) for key in ("tests", "failures", "errors", "skipped")}


def summarise(ran: Mapping[str, Ran], tests: Path, *, dry: bool) -> dict[str, Any]:
    """Everything, for JSON.

    Args:
        ran: How each step ended.
        tests: Pytest's file.
        dry: Whether it was a dry run: nothing is judged then.
    """
    results: dict[str, Any] = {name: one.result for name, one in ran.items() if one.result is not None}
    if "submission" in ran and ran["submission"].outcome == "ok":
        results["submission"] = {"seconds": ran["submission"].seconds}
    return {
        "dry": dry,
        "steps": {
            name: {"outcome": one.outcome, "seconds": round(one.seconds, 2), "reason": one.reason}
            for name, one in ran.items()
        },
        "tests": count_tests(tests),
        "wanted": [] if dry else [wanted.judge(results) for wanted in make_wanted()],
        "results": results,
    }


def format_summary(summary: Mapping[str, Any]) -> str:
    """Tables to read."""
    steps = [(name, s["outcome"], f"{s['seconds']:.1f} s", s["reason"]) for name, s in summary["steps"].items()]
    lines = format_table(("step", "outcome", "took", ""), steps)
    if machine := summary["results"].get("machine"):
        rate = machine["copy_bytes_per_second"] / 1e12
        lines += ["", f"{machine['device']}, torch {machine['torch']}, copies {rate:.3f} TB/s (read and written)"]
    if tests := summary["tests"]:
        lines += ["", "tests: " + ", ".join(f"{count} {what}" for what, count in tests.items())]
    lines += [*format_operator(summary["results"]), *format_network(summary["results"])]
    if summary["wanted"]:
        words = {True: "met", False: "MISSED", None: "not measured"}
        rows = [(w["name"], w["wanted"], _number(w), words[w["met"]]) for w in summary["wanted"]]
        lines += ["", *format_table(("", "wanted", "measured", ""), rows)]
    return "\n".join([*lines, ""])


def format_operator(results: Results) -> list[str]:
    """The native operator: milliseconds by the clock and of kernels alone, and ratios."""
    head = ("operator", "work", "N", "ms", "kernel ms", "x eager", "of copy")
    rows = []
    for step in ("operator_float32", "operator_bfloat16"):
        for row in (results.get(step) or {}).get("measured", []):
            if NATIVE in row["ratios"]:
                ratios, kernel = row["ratios"][NATIVE], row["kernels"].get(NATIVE)
                numbers = (row["milliseconds"][NATIVE], kernel, ratios["to_eager"], ratios["kernels_of_stream"])
                texts = ("-" if number is None else f"{number:.3g}" for number in numbers)
                rows.append((step.removeprefix("operator_"), row["work"], f"{row['images']:,}", *texts))
    return ["", *format_table(head, rows)] if rows else []


def format_network(results: Results) -> list[str]:
    """Images a second of the whole network, and milliseconds of a training step."""
    head = ("network", "precision", "operator", "N", "evaluation, images/s", "training step, ms")
    rows = [
        (
            *(row["layout"], row["precision"], row["ops"], f"{row['images']:,}"),
            f"{row['evaluation_images_per_second']:,.0f}",
            f"{1000 * row['images'] / row['training_images_per_second']:.1f}",
        )
        for row in (results.get("network") or {}).get("rows", [])
        if "reason" not in row
    ]
    return ["", *format_table(head, rows)] if rows else []


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns of equal width."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]


def _number(wanted: Mapping[str, Any]) -> str:
    return "-" if wanted["measured"] is None else f"{wanted['measured']:.3g} {wanted['unit']}".rstrip()
