"""The whole line on a drawn release: each step is a command that a user can run as well."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abawkit.errors import DataError
from abawkit.files import processors
from abawkit.steps import run_together

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

    run_together([["synth", str(release), "--size", size, *replace]], say)
    run_together([["curate", str(release), "--policy", "per-task", "--out", str(curated), *replace]], say)
    settings = ["demo", "--data", str(curated), "--threads", share, *replace]
    run_together(
        [["train", *settings, "--seed", str(s), "--out", str(r)] for s, r in zip(SEEDS, runs, strict=True)], say
    )
    files = [out / f"{run.name}.txt" for run in runs]
    for run, file in zip(runs, files, strict=True):
        run_together([["predict", str(run), *frames, "--out", str(file), *replace]], say)
    both = out / "predictions.txt"
    run_together([["predict", "--format", "abaw7", *map(str, runs), *frames, "--out", str(both), *replace]], say)
    run_together([["check", str(both), "--format", "abaw7", "--list", frames[1]]], say)
    constant = out / "constant.txt"
    _write_constant(curated, Path(frames[1]), constant)
    scores = [run_together([["score", str(file), *truth]], say)[0] for file in (*files, both, constant)]
    return DemoResult(scores[:-2], scores[-2], scores[-1], time.monotonic() - started)


def _write_constant(curated: Path, listed: Path, path: Path) -> None:
    """Writes the constant answer of the training split as a submission."""
    from abawkit.curation import open_curated
    from abawkit.formats.base import get_format
    from abawkit.formats.output import write_submission
    from abawkit.scoring.constant import constant_answer

    plugin = get_format("abaw7")
    train = open_curated(curated).splits["train"].annotations
    if not len(train):
        raise DataError(f"{curated}: holds no training row")
    write_submission(path, plugin.encode(constant_answer(train, plugin.read_list(listed).images)))
