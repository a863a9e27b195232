"""The whole line on a drawn release: each step is a command that a user can run as well."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abawkit.errors import AbawkitError, DataError
from abawkit.files import processors, write_bytes

DemoSize = Literal["tiny", "demo"]

SEEDS = (1, 2)


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


class StepError(AbawkitError):
    """A command of the demo failed; its own message stands above."""

    def __init__(self, arguments: Sequence[str], code: int) -> None:
        super().__init__(f"`abawkit {shlex.join(arguments)}` ended with exit code {code}")
        self.exit_code = code


def run_demo(
    out: Path, *, size: DemoSize = "demo", force: bool = False, say: Callable[[str], None] = print
) -> DemoResult:
    """Draws a release, curates it, trains two seeds at once, predicts, checks and scores.

    Args:
        out: A folder that exists.
        force: Whether its files may be replaced.
        size: Size of the release; ``tiny`` shows the way in seconds, its scores mean nothing.
        say: Called with a line before and after each command.

    Raises:
        StepError: If a command fails.
        DataError: If the release can't be read back.
    """
    started = time.monotonic()
    release, curated = out / "release", out / "curated"
    runs = [out / "runs" / f"seed{seed}" for seed in SEEDS]
    frames = ["--list", f"{release}/test_set_examples/MTL.txt", "--frames", f"{release}/test_data/cropped_aligned"]
    truth = ["--truth", f"{release}/held_out/test_set_annotations.txt"]
    share = str(max(1, processors() // len(SEEDS)))
    (out / "runs").mkdir(exist_ok=True)

    replace = ["--force"] if force else []

    _run([["synth", str(release), "--size", size, *replace]], say)
    _run([["curate", str(release), "--policy", "per-task", "--out", str(curated), *replace]], say)
    settings = ["demo", "--data", str(curated), "--threads", share, *replace]
    _run([["train", *settings, "--seed", str(s), "--out", str(r)] for s, r in zip(SEEDS, runs, strict=True)], say)
    files = [out / f"{run.name}.txt" for run in runs]
    for run, file in zip(runs, files, strict=True):
        _run([["predict", str(run), *frames, "--out", str(file), *replace]], say)
    both = out / "predictions.txt"
    _run([["predict", "--format", "abaw7", *map(str, runs), *frames, "--out", str(both), *replace]], say)
    _run([["check", str(both), "--format", "abaw7", "--list", frames[1]]], say)
    constant = out / "constant.txt"
    _write_constant(curated, Path(frames[1]), constant)
    scores = [_run([["score", str(file), *truth]], say)[0] for file in (*files, both, constant)]
    return DemoResult(scores[:-2], scores[-2], scores[-1], time.monotonic() - started)


def _run(commands: list[list[str]], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs commands at the same time; returns what each printed with ``--json``."""
    began = time.monotonic()
    processes = []
    for arguments in commands:
        say(f"$ abawkit {shlex.join(arguments)}")
        command = [sys.executable, "-m", "abawkit", *arguments, "--json"]
        # One process alone may draw its bar; the lines of several would mix.
        errors = None if len(commands) == 1 else subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True))  # noqa: S603
    try:
        outputs = [process.communicate() for process in processes]
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise
    for process, arguments, (_, errors_text) in zip(processes, commands, outputs, strict=True):
        if process.returncode:
            say(errors_text or "")
            raise StepError(arguments, process.returncode)
    say(f"  done in {time.monotonic() - began:.0f} s")
    return [json.loads(text) for text, _ in outputs]


def _write_constant(curated: Path, listed: Path, path: Path) -> None:
    """Writes the constant answer of the training split as a submission."""
    from abawkit.curation import open_curated
    from abawkit.formats.base import get_format
    from abawkit.scoring.constant import constant_answer

    plugin = get_format("abaw7")
    train = open_curated(curated).splits["train"].annotations
    if not len(train):
        raise DataError(f"{curated}: holds no training row")
    write_bytes(path, plugin.encode(constant_answer(train, plugin.read_list(listed).images)))
