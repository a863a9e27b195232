"""``abawkit tune``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli._command import command
from abawkit.cli._options import (
    CalibratedTasks,
    Folds,
    Force,
    Json,
    RuleOut,
    ScoredRows,
    Seed,
    Truth,
    find_calibrated_tasks,
)
from abawkit.errors import ConfigError


@command
def tune(
    members: Annotated[list[Path], typer.Argument(help="Stored probabilities of the annotated rows, a file a member.")],
    truth: Truth,
    out: RuleOut,
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
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Search smoothing, calibration, members' weights and pool for each task, and say what of the gain is noise.

    The search is repeated without the videos of each fold, and decides them: that figure comes first. The rule that is
    written comes from all videos. What the search gains nothing by is left as it was.

    Example: abawkit tune runs/a/validation.npz runs/b/validation.npz --truth curated --out rule.json
    """
    from abawkit.cli._claims import claim_file
    from abawkit.cli._output import progress_bar
    from abawkit.cli._tables import show_tuning
    from abawkit.inspection.output_kinds import RULE
    from abawkit.postprocessing.rule import write_rule
    from abawkit.probabilities.members import read_members
    from abawkit.scoring.matching import read_truth
    from abawkit.scoring.score import warn_of_unannotated
    from abawkit.tuning.tune import tune as search

    chosen = find_calibrated_tasks(tasks)
    if chosen and not calibration:
        raise ConfigError(
            "--tasks names what is calibrated, and --no-calibration says that nothing is; give one of them"
        )
    if not (smoothing or calibration or (len(members) > 1 and (weights or pool))):
        alone = "one member has neither weights nor a pool; " if len(members) == 1 and (weights or pool) else ""
        raise ConfigError(f"{alone}nothing is left to search: leave out one of --no-smoothing, --no-calibration")
    claim_file(out, force=force, kind=RULE, inputs=[*members, truth])
    found, annotations = read_members(members), read_truth(truth)
    warn_of_unannotated(annotations, {task for member in found for task in member.tasks}, protocol)
    with progress_bar("searches") as progress:
        tuning = search(
            found,
            annotations,
            calibration=chosen if calibration else (),
            smoothing=smoothing,
            weights=weights,
            pool=pool,
            protocol=protocol,
            folds=folds,
            seed=seed,
            progress=progress,
        )
    write_rule(out, tuning.rule, tuning.evidence())
    show_tuning(tuning, found, out, "untuned", as_json=as_json)
