"""Runs commands one after another, each for a bounded time: one that fails or hangs is reported, and the rest run."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

Outcome = Literal["ok", "failed", "timed out", "left out"]

LEFT_OUT: Final = 77
"""Exit code by which a command says that this machine lacks what it needs; its last line says what."""

LEAST_SECONDS: Final = 5
"""With less time left than this a step is not begun."""

GRACE: Final = 5
"""Seconds that a command has to end after SIGTERM."""


@dataclass(frozen=True)
class Step:
    """A command, and what is kept of what it leaves.

    Attributes:
        name: Short, unique.
        command: Program and arguments.
        seconds: How long it may take.
        json_output: Whether it prints JSON; else what it prints is only logged.
        results: A file of JSON lines that it writes, kept as its result.
        environment: Variables beside those of the run.
    """

    name: str
    command: Sequence[str]
    seconds: float
    json_output: bool = False
    results: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Ran:
    """How a step ended.

    Attributes:
        outcome: ``ok``, ``failed``, ``timed out``, or ``left out`` where there was no time or something is missing.
        seconds: How long it took.
        reason: Why it is not ``ok``.
        result: The JSON that it left, if it did.
    """

    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""
    result: Any = None


def run_steps(
    steps: Sequence[Step],
    work: Path,
    log: IO[bytes],
    *,
    limit: float,
    environment: Mapping[str, str],
    cwd: Path,
    report: Callable[[dict[str, Ran]], object] = lambda _: None,
) -> dict[str, Ran]:
    """Runs all steps within one limit.

    Args:
        steps: In their order.
        work: Folder for what steps print.
        log: Gets everything that steps print, but JSON.
        limit: Seconds for all of them together.
        environment: Variables of all steps.
        cwd: Where they run.
        report: Called after each step with how all of them ended until then.
    """
    end = time.monotonic() + limit
    found: dict[str, Ran] = {}
    for step in steps:
        left = end - time.monotonic()
        log.write(f"\n=== {step.name}: {' '.join(step.command)}\n".encode())
        if left < LEAST_SECONDS:
            found[step.name] = Ran("left out", reason=f"{limit:.0f} s were over")
        else:
            found[step.name] = run_step(step, work, log, min(step.seconds, left), environment, cwd)
        log.write(f"=== {step.name}: {describe(found[step.name])}\n".encode())
        log.flush()
        report(found)
    return found


def run_step(step: Step, work: Path, log: IO[bytes], seconds: float, environment: Mapping[str, str], cwd: Path) -> Ran:
    """Runs one step; see `run_steps`."""
    printed, aside = work / f"{step.name}.out", work / f"{step.name}.err"
    start = time.monotonic()
    try:
        with printed.open("wb") as out, aside.open("wb") as errors:
            process = subprocess.Popen(
                step.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors if step.json_output else out,
                env={**environment, **step.environment},
                cwd=cwd,
                start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end_group(process)
    except OSError as error:
        return Ran("failed", reason=f"{step.command[0]}: {error.strerror}")
    took, content = time.monotonic() - start, printed.read_bytes()
    messages = aside.read_bytes() if step.json_output else content
    log.write(messages)
    if code is None:
        return Ran("timed out", took, f"after {seconds:.0f} s")
    if code:
        lines = messages.decode(errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
        outcome: Outcome = "left out" if code == LEFT_OUT else "failed"
        return Ran(outcome, took, last if code == LEFT_OUT else f"exit code {code}: {last}")
    try:
        return Ran("ok", took, result=read_result(step, content))
    except (OSError, ValueError) as error:
        return Ran("failed", took, f"left no result that can be read: {error}")


def read_result(step: Step, printed: bytes) -> Any:
    """What a step left: the JSON that it printed, or the lines of its file; None where it leaves neither."""
    if step.results:
        return [json.loads(line) for line in step.results.read_text().splitlines()]
    return json.loads(printed) if step.json_output else None


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and all that it started: SIGTERM, and SIGKILL for what does not heed it."""
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def describe(ran: Ran) -> str:
    """An outcome in a line."""
    return f"{ran.outcome}{f' ({ran.reason})' if ran.reason else ''}, {ran.seconds:.1f} s"
