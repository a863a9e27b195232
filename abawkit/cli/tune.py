"""``abawkit tune``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli._command import command, print_next_step
from abawkit.cli._options import (
    CalibratedTasks,
    Folds,
    Force,
    Json,
    Report,
    RuleOut,
    ScoredRows,
    Seed,
    Truth,
    TruthRows,
)
from abawkit.errors import printable


@command
def tune(
    members: Annotated[
        list[Path], typer.Argument(help="Stored probabilities of the annotated rows, one file per member.")
    ],
    truth: Truth,
    out: RuleOut,
    split: TruthRows = None,
    smoothing: Annotated[bool, typer.Option(help="Whether to try smoothings.")] = True,
    calibration: Annotated[bool, typer.Option(help="Whether to try thresholds, biases, scales and shifts.")] = True,
    tasks: CalibratedTasks = None,
    weights: Annotated[bool, typer.Option(help="Whether to try other weights of the members than equal ones.")] = True,
    pool: Annotated[
        bool, typer.Option(help="Whether to try the mean of logits (log) besides that of probabilities (linear).")
    ] = True,
    folds: Folds = 10,
    protocol: ScoredRows = "official",
    seed: Seed = 0,
    report: Report = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Search smoothing, calibration, weights and pooling for each task, and report whether the gain is beyond noise.

    The score shown first is out of fold: each video is decided by a rule that was searched on other videos. The rule
    that is written is fitted on all videos. A setting is kept only if it improves the out-of-fold score.

    Example: abawkit tune runs/a/validation.npz runs/b/validation.npz --truth curated --out rule.json
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar
    from abawkit.cli._tables import show_tuning

    with progress_bar("searches") as progress:
        tuning = api.tune(
            members,
            truth,
            out,
            split=split,
            smoothing=smoothing,
            calibration=calibration,
            tasks=tasks or [],
            weights=weights,
            pool=pool,
            folds=folds,
            protocol=protocol,
            seed=seed,
            report=report,
            force=force,
            progress=progress,
        )
    show_tuning(tuning, out, "untuned", as_json=as_json, split=split)
    if report and not as_json:
        print(printable(f"report: {report}; open it in a browser"))
    if not as_json:
        print_next_step("ensemble", *members, "--rule", out, "--out", out.with_name("tuned.txt"))
