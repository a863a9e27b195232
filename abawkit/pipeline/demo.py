"""The whole line on a drawn release: each step is a command that a user can run as well."""

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from abawkit.errors import ConfigError, DataError
from abawkit.pipeline.commands import run_together
from abawkit.pipeline.step_cache import Stamps, Step
from abawkit.run_names import BEST
from abawkit.system.files import count_processors, new_folder, write_json
from abawkit.system.provenance import digest_code

DemoSize = Literal["tiny", "demo"]

SEEDS = (1, 2)
BEGUN: Final = "demo.json"
"""Says that a folder is that of a demo, and of which size."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo ended with.

    Attributes:
        members: Score of each network alone on the held-out truth, as `abawkit score --json` gives it.
        ensemble: Score of both together.
        constant: Score of the constant answer.
        seconds: How long everything took.
    """

    members: list[dict[str, Any]]
    ensemble: dict[str, Any]
    constant: dict[str, Any]
    seconds: float


def holds_demo(out: Path, size: DemoSize, *, force: bool) -> bool:
    """Whether a folder holds a demo that the same call goes on with.

    Args:
        out: The folder.
        size: Size of its release.
        force: Whether a demo is to be begun anew.

    Raises:
        ConfigError: If it holds a demo of another size.
    """
    note = out / BEGUN
    if force or not note.is_file():
        return False
    try:
        found = json.loads(note.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{note}: can't be read ({error}); give another folder, or --force to begin anew") from error
    if found != _begun(size):
        raise ConfigError(f"{out}: holds a demo of another size; give another folder, or --force to begin anew")
    return True


def open_demo(out: Path, *, size: DemoSize, force: bool) -> Path:
    """Makes the folder of a demo, or takes it up where a demo left it; arguments as of `holds_demo`.

    Raises:
        ConfigError: If it holds anything else, and that was not to be replaced.
    """
    if holds_demo(out, size, force=force):
        return out
    new_folder(out, force=force)
    Stamps(out).forget()
    write_json(out / BEGUN, _begun(size))
    return out


def _begun(size: DemoSize) -> dict[str, Any]:
    return {"demo": 1, "size": size}


def run_demo(out: Path, *, size: DemoSize = "demo", say: Callable[[str], None] = print) -> DemoResult:
    """Draws a release, curates it, trains two seeds at once, predicts, checks and scores.

    What is there already, made by the same code, is not made again: a demo that was stopped goes on.

    Args:
        out: From `open_demo`.
        size: Size of the release; ``tiny`` shows the way in seconds, its scores mean nothing.
        say: Called with a line before and after each command.

    Raises:
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same call goes on from there.
        DataError: If the release can't be read back.
    """
    started = time.monotonic()
    release, curated = out / "release", out / "curated"
    runs = [out / "runs" / f"seed{seed}" for seed in SEEDS]
    frames = ["--list", f"{release}/test_set_examples/MTL.txt", "--frames", f"{release}/test_data/cropped_aligned"]
    truth = ["--truth", f"{release}/held_out/test_set_annotations.txt"]
    share = str(max(1, count_processors() // len(SEEDS)))
    (out / "runs").mkdir(exist_ok=True)

    demo = _Demo(Stamps(out), say)
    demo.run([(["synth", str(release), "--size", size], release)])
    demo.run([(["curate", str(release), "--policy", "per-task", "--out", str(curated)], curated)])
    settings = ["demo", "--data", str(curated), "--threads", share]
    training = [["train", *settings, "--seed", str(s), "--out", str(r)] for s, r in zip(SEEDS, runs, strict=True)]
    demo.run([(command, run / BEST) for command, run in zip(training, runs, strict=True)])
    files = [out / f"{run.name}.txt" for run in runs]
    for run, file in zip(runs, files, strict=True):
        demo.run([(["predict", str(run), *frames, "--out", str(file)], file)])
    both = out / "predictions.txt"
    demo.run([(["predict", "--format", "abaw7", *map(str, runs), *frames, "--out", str(both)], both)])
    run_together([["check", str(both), "--format", "abaw7", "--list", frames[1]]], say)
    constant = out / "constant.txt"
    _write_constant(curated, Path(frames[1]), constant)
    scores = [run_together([["score", str(file), *truth]], say)[0] for file in (*files, both, constant)]
    return DemoResult(scores[:-2], scores[-2], scores[-1], time.monotonic() - started)


class _Demo:
    """The steps of a demo; each rests on all that were done before it."""

    def __init__(self, stamps: Stamps, say: Callable[[str], None]) -> None:
        self.stamps, self.say = stamps, say
        self.made_of: dict[str, Any] = {"code": digest_code()}

    def run(self, commands: Sequence[tuple[list[str], Path]]) -> None:
        """Runs commands at once, but those whose output is there, whole and made of the same things."""
        steps = [Step(_name(path), {**self.made_of, "command": command}, [path]) for command, path in commands]
        due = []
        for step, (command, path) in zip(steps, commands, strict=True):
            if self.stamps.reason(step) is None:
                self.say(f"$ abawkit {shlex.join(command)}\n  is there already")
                continue
            there = path.parent if command[0] == "train" else path
            begun = command[0] == "train" and self.stamps.begun(step) is not None and there.exists()
            beside = (
                [there, there.with_suffix(".npz"), there.with_suffix(".json")] if command[0] == "predict" else [there]
            )
            replace = any(file.exists() for file in beside)
            due.append([*command, *(["--resume"] if begun else ["--force"] if replace else [])])
            self.stamps.begin(step)
        if due:
            run_together(due, self.say)
            for step in steps:
                self.stamps.done(step)
        self.made_of |= {step.name: self.stamps.digest(step, step.outputs[0]) for step in steps}


def _name(path: Path) -> str:
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
        raise DataError(f"{curated}: holds no training row")
    write_submission(path, plugin.encode(make_constant_answer(train, plugin.read_list(listed).images)))
