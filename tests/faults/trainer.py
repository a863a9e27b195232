"""Runs that are killed at every kind of moment and resumed, each in forked processes; says on stdout how they ended.

It runs with the library of ``kill.c`` preloaded: ``python trainer.py LIBRARY CURATED FOLDER STRIDE``. A run is killed
at every STRIDE-th call that changes a file below its folder.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import abawkit.training.build
from abawkit.curation.curated_set import open_curated
from abawkit.system.files import sha256_of
from abawkit.training import loop
from abawkit.training.build import build_loop
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.checkpoint import Position
from abawkit.training.data import FramedRows, read_evaluation_rows, read_training_rows
from abawkit.training.distributed import ALONE
from abawkit.training.loop import Loop
from abawkit.training.recipe import Recipe
from abawkit.training.run import train
from abawkit.training.run_folder import run_folder
from abawkit.training.start import Inputs, Resume
from abawkit.training.validation import evaluate

ROWS: Final = 29
RECIPE: Final = Recipe.model_validate(
    {
        "network": "ddamfn-nano",
        "batch_size": 10,
        "device": "cpu",
        "ema": 0.9,
        "heads": {"epochs": 1, "learning_rate": 1e-2},
        "all": {"epochs": 2, "learning_rate": 1e-3},
        "checkpoints": {"every": 2},
    }
)
STEPS: Final = 9
EPOCHS: Final = 3

# Modes of kill.c.
BEFORE, AFTER, TORN, POWER = 1, 2, 3, 4

Kill = Callable[[], None]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def patch(where: Any, name: str, value: Any) -> None:
    setattr(where, name, value)


def fewer_rows(*arguments: Any, **options: Any) -> FramedRows:
    """The first training rows alone: a run takes a second then."""
    return first_rows(read_training_rows(*arguments, **options))


def fewer_validation_rows(*arguments: Any, **options: Any) -> FramedRows:
    return first_rows(read_evaluation_rows(*arguments, **options))


def first_rows(rows: FramedRows) -> FramedRows:
    first = np.arange(ROWS)
    return replace(rows, annotations=rows.annotations.select(first), rows=rows.rows[first], frames=rows.frames[first])


@dataclass
class Trial:
    """What is done to a run; it is begun, killed, and resumed without being killed.

    Attributes:
        name: What it is called in the report.
        arm: Called before the run begins.
        on_step: Called with the number of each step.
    """

    name: str
    arm: Callable[[Path], None] = lambda _: None
    on_step: Callable[[int], None] = lambda _: None


@dataclass
class Report:
    """What came of all trials.

    Attributes:
        reference: How the run ended that was not killed.
        killed: Names of trials in which the run was killed.
        unharmed: Names of trials in which it ended by itself.
        problems: What is not as it must be.
        calls: Calls that change a file in a run.
    """

    reference: dict[str, Any] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    unharmed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    calls: int = 0


def ending(out: Path) -> dict[str, Any]:
    """Everything that a run leaves, less times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    manifest = json.loads((out / "manifest.json").read_text())
    timed = ("seconds", "images_per_second")
    return {
        "files": {name: sha256_of(out / name) for name in ("best.safetensors", "last.safetensors", "recipe.toml")},
        "metrics": [{key: value for key, value in line.items() if key not in timed} for line in lines],
        "best": manifest["best"],
        "checkpoints": manifest["checkpoints"],
        "steps": manifest["steps"],
        "newest": sorted(path.name for path in (out / "checkpoints").iterdir()),
    }


def in_a_fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(curated: Path, out: Path, trial: Trial | None, *, resume: bool) -> None:
    def on_step(moment: StepInfo) -> None:
        if trial:
            trial.on_step(moment.steps)

    if trial:
        trial.arm(out)
    with run_folder(out, resume=resume, force=False):
        train(RECIPE, Inputs(curated), out, resume=Resume() if resume else None, callbacks=Callbacks(on_step))


class Library:
    """The preloaded library."""

    def __init__(self, path: str) -> None:
        self._c = ctypes.CDLL(path)
        self._c.counted.restype = ctypes.c_long
        self._c.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]

    def arm(self, folder: Path, n: int, mode: int) -> None:
        self._c.arm(os.fsencode(folder), n, mode, 0)

    def counted(self) -> int:
        return int(self._c.counted())


def at_step(step: int) -> Trial:
    def on_step(reached: int) -> None:
        if reached == step:
            die()

    return Trial(f"at step {step}", on_step=on_step)


def in_validation(epoch: int) -> Trial:
    def arm(folder: Path) -> None:
        del folder
        epochs = iter(range(EPOCHS))

        def dying(*arguments: Any, **options: Any) -> Any:
            if next(epochs) == epoch:
                options["between"] = die
            return evaluate(*arguments, **options)

        patch(loop, "evaluate", dying)

    return Trial(f"in the validation of epoch {epoch}", arm)


def at_the_edge(epoch: int, *, saved: bool, written: bool = True) -> Trial:
    """Between the validation of an epoch and its checkpoint, or between that and the next epoch.

    A checkpoint that is saved and not written has been copied, and a thread has begun to write it. Epoch -1 is the
    start of a run.
    """

    def arm(folder: Path) -> None:
        del folder
        save = Loop.save

        def dying(self: Loop) -> None:
            edge = self.progress.position == Position(epoch + 1, 0)
            if edge and not saved:
                die()
            save(self)
            if edge:
                if written:
                    self.finish_save()
                die()

        patch(Loop, "save", dying)

    moment = ("after" if written else "while writing") if saved else "before"
    return Trial(f"{moment} the checkpoint of epoch {epoch}", arm)


def warm_up(curated: Path, folder: Path) -> None:
    """Imports and finds what each forked process would import and find again."""
    loop = build_loop(RECIPE, Inputs(curated), open_curated(curated), folder, processes=ALONE, callbacks=Callbacks())
    loop.learner.begin_epoch(loop.plan[-1], fresh=True)
    evaluate(loop.learner.prepare_validation(), loop.validation, loop.learner.device)
    loop.save()
    loop.finish_save()


def main(library: Library, curated: Path, folder: Path, stride: int) -> Report:
    torch.set_num_threads(1)
    patch(abawkit.training.build, "read_training_rows", fewer_rows)
    patch(abawkit.training.build, "read_evaluation_rows", fewer_validation_rows)
    warm_up(curated, folder)
    report, out = Report(), folder / "run"

    def begin(trial: Trial | None, *, resume: bool = False) -> int:
        return in_a_fork(lambda: run(curated, out, trial, resume=resume))

    def counting() -> None:
        run(curated, out, Trial("counted", lambda path: library.arm(path, 0, 0)), resume=False)
        (folder / "calls").write_text(str(library.counted()))

    if in_a_fork(counting) != 0:
        raise RuntimeError("the run that is not killed fails")
    report.reference, report.calls = ending(out), int((folder / "calls").read_text())
    shutil.rmtree(out)

    def at_call(n: int, mode: int, name: str) -> Trial:
        return Trial(f"{name} call {n}", lambda path: library.arm(path, n, mode))

    trials = [at_step(step) for step in range(1, STEPS + 1)]
    trials += [in_validation(epoch) for epoch in range(EPOCHS)]
    trials += [at_the_edge(epoch, saved=saved) for epoch in range(EPOCHS) for saved in (False, True)]
    trials += [at_the_edge(epoch, saved=True, written=False) for epoch in range(-1, EPOCHS)]
    modes = ((BEFORE, "before"), (AFTER, "after"), (POWER, "power lost before"))
    for k, n in enumerate(range(1, report.calls + 1, stride)):
        trials.append(at_call(n, *modes[k % len(modes)]))
    for trial in trials:
        killed = begin(trial) == -signal.SIGKILL
        (report.killed if killed else report.unharmed).append(trial.name)
        check(report, out, trial.name, begin(None, resume=True))
        shutil.rmtree(out)

    deaths = 0
    while begin(at_step(3 * (deaths + 1)), resume=deaths > 0) == -signal.SIGKILL and deaths < STEPS:
        deaths += 1
    check(report, out, f"killed {deaths} times", 0 if deaths == STEPS // 3 else 1)
    return report


def check(report: Report, out: Path, name: str, code: int) -> None:
    if code != 0:
        report.problems.append(f"{name}: resuming ended with {code}")
        return
    found = ending(out)
    wrong = [key for key, value in report.reference.items() if found[key] != value]
    report.problems += [f"{name}: {key} is {found[key]}, not {report.reference[key]}" for key in wrong]


if __name__ == "__main__":
    _, library, curated, folder, stride = sys.argv
    print(json.dumps(asdict(main(Library(library), Path(curated), Path(folder).resolve(), int(stride)))))  # noqa: T201
