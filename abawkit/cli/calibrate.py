"""``abawkit calibrate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_message
from abawkit.cli._options import (
    CalibratedTasks,
    Folds,
    Force,
    Json,
    RuleOut,
    ScoredRows,
    Seed,
    Truth,
    TruthRows,
)
from abawkit.errors import ConfigError
from abawkit.labels import Task

if TYPE_CHECKING:
    from abawkit.postprocessing.rule import Rule

_HOW = "gaussian:RADIUS:SCALE, median:RADIUS or none (the default): smooth before calibration."


@command
def calibrate(
    members: Annotated[
        list[Path],
        typer.Argument(help="Stored probabilities of the annotated rows, usually one file; else their mean."),
    ],
    truth: Truth,
    out: RuleOut,
    split: TruthRows = None,
    tasks: CalibratedTasks = None,
    smooth_va: Annotated[str | None, typer.Option(metavar="HOW", help=_HOW)] = None,
    smooth_expression: Annotated[str | None, typer.Option(metavar="HOW", help="As for valence and arousal.")] = None,
    smooth_au: Annotated[str | None, typer.Option(metavar="HOW", help="As for valence and arousal.")] = None,
    rule: Annotated[Path | None, typer.Option(help="Take weights and smoothing from this rule.")] = None,
    folds: Folds = 10,
    protocol: ScoredRows = "official",
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit thresholds, biases, scales and shifts to annotations; the out-of-fold score comes first.

    It fits a threshold for each action unit, a bias for each expression, a scale and a shift for valence and arousal.
    Parameters with too few annotated rows or videos are not fitted, and are listed.

    Example: abawkit calibrate runs/a/validation.npz --truth curated --out rule.json --smooth-va gaussian:10:100000
    """
    from abawkit.claims import claim_file
    from abawkit.cli._output import progress_bar
    from abawkit.cli._tables import show_tuning
    from abawkit.inspection.output_kinds import RULE
    from abawkit.postprocessing.rule import write_rule
    from abawkit.postprocessing.rule_file import read_evidence
    from abawkit.probabilities.members import read_members, warn_of_training_rows
    from abawkit.scoring.matching import read_truth
    from abawkit.scoring.scored_rows import warn_of_unannotated
    from abawkit.tuning.cross_validation import parse_tasks
    from abawkit.tuning.tune import calibrate as fit

    claim_file(out, force=force, kind=RULE, inputs=[*members, truth, *([rule] if rule else [])])
    chosen = parse_tasks(tasks or [])
    base = _base(rule, {"va": smooth_va, "expression": smooth_expression, "au": smooth_au})
    found, annotations = read_members(members), read_truth(truth, split)
    warn_of_training_rows(found)
    warn_of_unannotated(annotations, {task for member in found for task in member.tasks}, protocol)
    with progress_bar("fits") as progress:
        tuning = fit(
            found,
            annotations,
            base=base,
            calibration=chosen,
            protocol=protocol,
            folds=folds,
            seed=seed,
            progress=progress,
        )
    write_rule(out, tuning.rule, tuning.evidence())
    if rule and read_evidence(rule).get("list_digest") == annotations.digest:
        print_message(
            f"warning: {rule} was fitted on these rows: these scores are too high; abawkit tune has those out of fold"
        )
    show_tuning(tuning, out, "uncalibrated", as_json=as_json, split=split)


def _base(rule: Path | None, texts: dict[Task, str | None]) -> "Rule":
    from abawkit.postprocessing.rule import Rule
    from abawkit.postprocessing.rule_file import read_rule
    from abawkit.postprocessing.smoothing import parse_smoothing

    given = {task: text for task, text in texts.items() if text is not None}
    if rule and given:
        raise ConfigError(f"--smooth-{next(iter(given))} and --rule: a rule has its own smoothing; give one of the two")
    if rule:
        return read_rule(rule)
    smoothing = {}
    for task, text in given.items():
        try:
            smoothing[task] = parse_smoothing(text)
        except ConfigError as error:
            raise ConfigError(f"--smooth-{task}: {error}") from error
    return Rule(smoothing=smoothing)
