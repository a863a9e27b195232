"""The demo: from a synthetic release to a score, every step a command that a user can run as well."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from abawkit.errors import DataError
from abawkit.pipeline.commands import ExecutionOptions, run_together
from abawkit.pipeline.step_cache import Step, StepCache, StepCommand, begin_job, holds_job, identify_run
from abawkit.run_names import BEST
from abawkit.system.files import count_processors
from abawkit.system.provenance import digest_code

DemoSize = Literal["tiny", "demo"]

SEEDS: Final = (1, 2)
DEMO_NOTE: Final = "demo.json"
"""Marks a folder as that of a demo, and names its size."""


@dataclass(frozen=True)
class DemoResult:
    """The scores of a demo.

    Attributes:
        members: Score of each network alone on the held-out truth, as of `abawkit score --json`.
        ensemble: Score of their mean.
        constant: Score of the constant answer of the training split.
        report: The page of the score of their mean.
        seconds: Duration of the call.
    """

    members: list[dict[str, Any]]
    ensemble: dict[str, Any]
    constant: dict[str, Any]
    report: Path
    seconds: float


def holds_demo(out: Path, size: DemoSize, *, force: bool) -> bool:
    """Whether a folder holds a demo that the same call continues.

    Args:
        out: The folder.
        size: Size of its release.
        force: Whether the demo starts anew.

    Raises:
        ConfigError: If it holds a demo of another size.
    """
    remedy = "give another folder, or --force to start anew"
    return not force and holds_job(out / DEMO_NOTE, _describe(size), "a demo", remedy)


def open_demo(out: Path, *, size: DemoSize, force: bool) -> Path:
    """Makes the folder of a demo, or opens one that a demo was begun in; arguments as of `holds_demo`.

    Raises:
        ConfigError: If it holds anything else, and `force` is false.
    """
    if not holds_demo(out, size, force=force):
        begin_job(out / DEMO_NOTE, _describe(size), force=force)
    return out


def _describe(size: DemoSize) -> dict[str, Any]:
    return {"demo": 1, "size": size}


def run_demo(out: Path, *, size: DemoSize = "demo", say: Callable[[str], None] = print) -> DemoResult:
    """Renders a release, curates it, trains two seeds at once, predicts, checks, scores, and writes a report.

    Steps that are done, made of the same inputs by the same code, are not run again: an interrupted demo continues.

    Args:
        out: From `open_demo`.
        size: Size of the release; ``tiny`` takes seconds, and its scores mean nothing.
        say: Called with a line before and after each command.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same call continues.
        DataError: If the release can't be read back.
    """
    started = time.monotonic()
    release, curated = out / "release", out / "curated"
    runs = [out / "runs" / f"seed{seed}" for seed in SEEDS]
    frames = ["--list", f"{release}/test_set_examples/MTL.txt", "--frames", f"{release}/test_data/cropped_aligned"]
    truth = ["--truth", f"{release}/held_out/test_set_annotations.txt"]
    threads = str(max(1, count_processors() // len(SEEDS)))
    (out / "runs").mkdir(exist_ok=True)

    demo = _Demo(out, ExecutionOptions(run=run_together, say=say))
    demo.run([(["synth", str(release), "--size", size], release)])
    demo.run([(["curate", str(release), "--policy", "per-task", "--out", str(curated)], curated)])
    settings = ["demo", "--data", str(curated), "--threads", threads]
    training = [["train", *settings, "--seed", str(s), "--out", str(r)] for s, r in zip(SEEDS, runs, strict=True)]
    demo.run([(command, run / BEST) for command, run in zip(training, runs, strict=True)])
    files = [out / f"{run.name}.txt" for run in runs]
    for run, file in zip(runs, files, strict=True):
        demo.run([(["predict", str(run), *frames, "--out", str(file)], file)])
    mean = out / "predictions.txt"
    demo.run([(["predict", "--format", "abaw7", *map(str, runs), *frames, "--out", str(mean)], mean)])
    run_together([["check", str(mean), "--format", "abaw7", "--list", frames[1]]], say)
    constant = out / "constant.txt"
    _write_constant(curated, Path(frames[1]), constant)
    report = out / "report.html"
    page = ["--report", str(report), *(["--force"] if report.exists() else [])]
    extra = {mean: page}
    commands = [["score", str(file), *truth, *extra.get(file, [])] for file in (*files, mean, constant)]
    scores = [run_together([command], say)[0] for command in commands]
    return DemoResult(scores[:-2], scores[-2], scores[-1], report, time.monotonic() - started)


class _Demo:
    """Runs the steps of a demo, each of which depends on all before it."""

    def __init__(self, out: Path, options: ExecutionOptions) -> None:
        self.cache, self.options = StepCache(out), options
        self.made_of: dict[str, Any] = {"code": digest_code()}

    def run(self, commands: Sequence[tuple[list[str], Path]]) -> None:
        """Runs those of some commands, given with their output, whose step is not done, at the same time."""
        steps = [Step(_name_step(path), {**self.made_of, "command": command}, [path]) for command, path in commands]
        due = []
        for step, (command, path) in zip(steps, commands, strict=True):
            if self.cache.is_done(step):
                self.options.say(f"$ abawkit {shlex.join(command)}\n  is there already")
                continue
            out = path.parent if command[0] == "train" else path
            written = [out, *((out.with_suffix(".npz"), out.with_suffix(".json")) if command[0] == "predict" else ())]
            resumed = command[0] == "train" and out.exists() and self.cache.find_attempt(step, out) is not None
            replaced = any(file.exists() for file in written)
            again = ["--resume"] if resumed else ["--force"] if replaced else []
            due.append(StepCommand(step, [*command, *again], {"replaces": None if resumed else identify_run(out)}))
        self.cache.run_commands(due, self.options, jobs=len(commands))
        self.made_of |= {step.name: self.cache.digest(step, step.outputs[0]) for step in steps}


def _name_step(path: Path) -> str:
    return path.parent.name if path.name == BEST else path.name


def _write_constant(curated: Path, listed: Path, path: Path) -> None:
    """Writes the constant answer of the training split as a submission."""
    from abawkit.curation import open_curated
    from abawkit.formats.base import get_format
    from abawkit.formats.writing import write_submission
    from abawkit.scoring.baselines import make_constant_answer

    plugin = get_format("abaw7")
    train = open_curated(curated).splits["train"].annotations
    if not len(train):
        raise DataError(f"{curated}: has no training rows")
    write_submission(path, plugin.encode(make_constant_answer(train, plugin.read_list(listed).images)))
