"""Writes checkpoints under every fault there is, a forked process for each, and says on stdout what came of them.

It runs with the library of ``kill.c`` preloaded: ``python harness.py LIBRARY FOLDER``.
"""

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from abawkit.errors import DataError
from abawkit.run_names import CHECKPOINTS, STATE
from abawkit.system.files import write_bytes
from abawkit.training.checkpoint import Position, find_newest_checkpoint, verify_checkpoint, write_checkpoint

FIRST, SECOND, THIRD = Position(0, 2), Position(0, 4), Position(1, 0)
KEEP: Final = 2

# Exit codes of the process that writes.
DONE, FIRED, REFUSED, BROKEN = 0, 10, 3, 99


class Fault(NamedTuple):
    """What happens at the n-th call.

    Attributes:
        mode: Its number in ``kill.c``; negative for a limit on the size of files instead.
        error: The number of the error that calls fail with; 0 where the process is killed.
        removes: Whether the writer can still remove files when it has met the fault.
    """

    mode: int
    error: int = 0
    removes: bool = True


FAULTS: Final = {
    "killed before": Fault(1),
    "killed after": Fault(2),
    "killed in a write": Fault(3),
    "power lost": Fault(4),
    "one call fails": Fault(5, errno.EIO),
    "one call finds no room": Fault(5, errno.ENOSPC),
    "all calls fail from there": Fault(6, errno.EIO, removes=False),
    "no room from there": Fault(7, errno.ENOSPC),
    "files may not grow": Fault(-1, errno.EFBIG),
}
GROWTH: Final = 500  # bytes by which the limit on files is raised from one trial to the next


@dataclass
class Report:
    """What came of one fault at every call.

    Attributes:
        points: How many calls it was brought about at.
        killed: Trials that ended with SIGKILL.
        refused: Trials that ended with a `DataError`.
        unnoticed: Calls whose failure was no reason to end with an error.
        newest: How often which checkpoint was the newest whole one afterwards.
        problems: What is not as it must be.
    """

    points: int = 0
    killed: int = 0
    refused: int = 0
    unnoticed: list[str] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def state_of(place: Position) -> dict[str, Any]:
    return {"place": list(place), "values": torch.arange(500) * (place.batch + 1), "nested": {"text": "é", "no": None}}


def weights_of(place: Position) -> bytes:
    return f"weights of {place.name}\n".encode() * 100


def write(run: Path, place: Position) -> None:
    def files(folder: Path) -> None:
        write_bytes(folder / "weights.bin", weights_of(place))
        write_bytes(folder / "average.bin", weights_of(place)[::-1])
        write_bytes(folder / "best.bin", (run / "best.bin").read_bytes())

    write_checkpoint(run, place, state_of(place), files, keep=KEEP)


class Library:
    """The preloaded library."""

    def __init__(self, path: str) -> None:
        self._c = ctypes.CDLL(path)
        self._c.counted.restype = ctypes.c_long
        self._c.called.restype = ctypes.c_char_p
        self._c.called.argtypes = [ctypes.c_long]
        self._c.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]

    def arm(self, folder: Path, n: int, fault: Fault) -> None:
        if fault.mode >= 0:
            self._c.arm(os.fsencode(folder), n, fault.mode, fault.error)
        else:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, ((n - 1) * GROWTH, hard))

    def calls(self) -> list[str]:
        return [self._c.called(n).decode() for n in range(1, self._c.counted() + 1)]


class Outcome(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    text: str
    calls: list[str]


def in_a_fork(library: Library, run: Path, arm: Callable[[], None], n: int) -> Outcome:
    """Writes the third checkpoint in a process of its own, which calls `arm` first; n is the call that it armed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, text = BROKEN, ""
        try:
            arm()
            write(run, THIRD)
            code = FIRED if 0 < n <= len(library.calls()) else DONE
        except DataError as error:
            code, text = REFUSED, str(error)
        except BaseException:
            text = traceback.format_exc()
        finally:
            os.write(writing, json.dumps([text, library.calls()]).encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(status, *(json.loads(said) if said else ("", [])))


class Scenario(NamedTuple):
    """What is in the run's folder before the third checkpoint is written.

    Attributes:
        whole: Its whole checkpoints.
        damaged: Its damaged ones.
        faults: What is brought about.
    """

    whole: tuple[Position, ...]
    damaged: tuple[Position, ...] = ()
    faults: tuple[str, ...] = ("killed before", "one call fails")

    def prepare(self, run: Path) -> None:
        run.mkdir()
        (run / "best.bin").write_bytes(b"best weights")
        for place in (*self.whole, *self.damaged):
            write(run, place)
        for place in self.damaged:
            (run / CHECKPOINTS / place.name / STATE).write_bytes(b"no state")
        if self.whole:  # and what an earlier crash left behind
            left = run / CHECKPOINTS / f"{THIRD.name}.partial"
            left.mkdir()
            (left / "weights.bin").write_bytes(b"weig")


SCENARIOS: Final = {
    "two earlier ones": Scenario((FIRST, SECOND), faults=tuple(FAULTS)),
    "none yet": Scenario(()),
    "the same one, damaged": Scenario((SECOND,), (THIRD,)),
}


def problems_of(run: Path, scenario: Scenario, fault: Fault, outcome: Outcome, report: Report) -> list[str]:
    """What is not as it must be after a fault."""
    found = []
    newest, passed_over = find_newest_checkpoint(run)
    before = max(scenario.whole, default=None)
    place = newest.position if newest else None
    report.newest[place.name if place else "none"] = report.newest.get(place.name if place else "none", 0) + 1
    if place not in (before, THIRD) or (outcome.status in (DONE, FIRED) and place != THIRD):
        found.append(f"the newest whole checkpoint is {place}")
    if len(passed_over) > len(scenario.damaged):
        found.append(f"a damaged checkpoint has a whole one's name: {passed_over}")
    if newest:
        found += wrong_content(newest.folder, newest.state(), newest.position)
    folders = {place: run / CHECKPOINTS / place.name for place in {FIRST, SECOND, THIRD} - {*scenario.damaged}}
    there = [place for place, folder in folders.items() if folder.exists()]
    for place in there:
        if defects := verify_checkpoint(folders[place]).defects:
            found.append(f"{folders[place]}: {defects}")
    if len(there) < min(KEEP, len(scenario.whole)):
        found.append(f"{there} are left")
    if outcome.status == REFUSED:
        if os.strerror(fault.error) not in outcome.text:
            found.append(f"the message does not say why: {outcome.text!r}")
        if lost := {*scenario.whole} - {*there}:
            found.append(f"{lost} were removed")
        if fault.removes and (left := leftovers(run)):
            found.append(f"{left} were left behind")
    return found


def problems_afterwards(run: Path, scenario: Scenario) -> list[str]:
    """What is not as it must be when the checkpoint is written again, without a fault."""
    write(run, THIRD)
    newest, passed_over = find_newest_checkpoint(run)
    expected = sorted([*scenario.whole, THIRD])[-KEEP:]
    names = sorted(path.name for path in (run / CHECKPOINTS).iterdir())
    if newest is None or newest.position != THIRD or passed_over or names != [place.name for place in expected]:
        return [f"written again, there are {names}, and {passed_over} were passed over"]
    return wrong_content(newest.folder, newest.state(), THIRD)


def wrong_content(folder: Path, state: dict[str, Any], place: Position) -> list[str]:
    expected = state_of(place)
    same = torch.equal(state.pop("values"), expected.pop("values")) and state == expected
    same = same and (folder / "weights.bin").read_bytes() == weights_of(place)
    same = same and (folder / "best.bin").read_bytes() == b"best weights"
    return [] if same else [f"{folder.name} holds something else than was written"]


def leftovers(run: Path) -> list[str]:
    return [str(path) for path in run.rglob("*") if ".partial" in path.name or path.name.startswith(".")]


def at_every_call(library: Library, template: Path, scenario: Scenario, fault: Fault) -> Report:
    """Brings a fault about at the first call, the second, ... until there are no more calls."""
    report, run = Report(), template.with_name("run")
    for n in range(1, 1000):
        shutil.copytree(template, run)
        outcome = in_a_fork(library, run, partial(library.arm, run, n, fault), n)
        if outcome.status == DONE:
            shutil.rmtree(run)
            return report
        report.points = n
        report.killed += outcome.status == -signal.SIGKILL
        report.refused += outcome.status == REFUSED
        if outcome.status == FIRED:
            report.unnoticed.append(outcome.calls[n - 1])
        try:
            found = [outcome.text] if outcome.status == BROKEN else []
            found += problems_of(run, scenario, fault, outcome, report)
            found += problems_afterwards(run, scenario)
        except Exception:
            found.append(traceback.format_exc())
        report.problems += [f"at call {n} ({outcome.calls[n - 1 : n]}): {problem}" for problem in found]
        shutil.rmtree(run)
    raise RuntimeError("there is no end to the calls")


def in_a_read_only_folder(library: Library, template: Path) -> dict[str, Any]:
    """What comes of a folder that nothing can be written to."""
    run = template.with_name("read-only")
    shutil.copytree(template, run)
    checkpoints = run / CHECKPOINTS

    def make_read_only() -> None:
        give_up_privileges()
        checkpoints.chmod(0o555)

    outcome = in_a_fork(library, run, make_read_only, 0)
    checkpoints.chmod(0o755)
    newest, passed_over = find_newest_checkpoint(run)
    return {
        "refused": outcome.status == REFUSED,
        "text": outcome.text,
        "newest": newest and newest.position,
        "passed over": passed_over,
    }


def give_up_privileges() -> None:
    """Makes a superuser one whom permissions bind."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, and this process
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "can't give up privileges")


def main(library: Library, folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    scenarios: dict[str, Any] = {}
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        template = folder / str(number) / "template"
        template.parent.mkdir()
        scenario.prepare(template)
        run = template.with_name("traced")
        shutil.copytree(template, run)
        trace = in_a_fork(library, run, partial(library.arm, run, 0, Fault(0)), 0).calls
        faults = {fault: at_every_call(library, template, scenario, FAULTS[fault]) for fault in scenario.faults}
        scenarios[name] = {"calls": trace, "faults": {fault: asdict(report) for fault, report in faults.items()}}
    return {"scenarios": scenarios, "read-only": in_a_read_only_folder(library, folder / "0" / "template")}


if __name__ == "__main__":
    print(json.dumps(main(Library(sys.argv[1]), Path(sys.argv[2]).resolve())))  # noqa: T201
