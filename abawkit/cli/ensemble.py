"""``abawkit ensemble``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.choices import Pooling, Protocol
from abawkit.cli._command import command, needs, print_json, print_message
from abawkit.cli._options import Folds, Force, Format, Json, ProbabilityTable, ScoredRows, Seed, TruthRows
from abawkit.errors import ConfigError, format_count

if TYPE_CHECKING:
    from abawkit.formats.base import SubmissionFormat
    from abawkit.labels import Task
    from abawkit.postprocessing.outputs import WrittenOutputs
    from abawkit.postprocessing.rule import Rule
    from abawkit.probabilities.members import StoredMember
    from abawkit.scoring.bootstrap import Interval
    from abawkit.tables import Annotations
    from abawkit.tuning.cross_validation import Tuning
    from abawkit.tuning.ensemble_analysis import Analysis


@command
@needs("protocol", "truth")
@needs("split", "truth")
@needs("folds", "weights")
@needs("seed", "truth")
@needs("format_name", "out")
@needs("force", "out|save_rule|table")
def ensemble(
    members: Annotated[
        list[Path],
        typer.Argument(help="Stored probabilities: the .npz of predict, or .npz, .csv or .parquet of other systems."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The official file (or folder) to write; .npz and .json go beside it."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="Annotation file or curated set, to say what each member is worth."),
    ] = None,
    split: TruthRows = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="HOW", help="mean, fitted (on --truth), or a task's numbers, as va=2,1; can be repeated."),
    ] = None,
    pool: Annotated[
        Pooling | None,
        typer.Option(
            help="How expressions and action units are pooled. linear: the mean of probabilities (the default). "
            "log: that of logits. Valence and arousal are averaged."
        ),
    ] = None,
    rule: Annotated[
        Path | None, typer.Option(help="A rule to apply: its weights, pool, smoothing and calibration.")
    ] = None,
    save_rule: Annotated[
        Path | None, typer.Option(help="Save the weights as a rule here, to use them on the test set.")
    ] = None,
    table: ProbabilityTable = None,
    format_name: Format = "abaw7",
    protocol: ScoredRows = "official",
    folds: Folds = 10,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Combine stored probabilities, and measure what each member contributes.

    With --truth it shows what members score alone, what each adds to the others and what it can add at its best weight,
    and how alike their errors are. Fitted weights are scored on videos that they were not fitted on.

    Members of other systems: .npz with images and any of va (n, 2), expression (n, 8), au (n, 12), or .csv or
    .parquet with the columns image,valence,arousal,Neutral,...,Other,AU1,...,AU26. A rule identifies members by their
    networks, or by the names of their files if there is no manifest beside them.

    Example: abawkit ensemble a/test.npz b/test.npz --out predictions.txt
    """
    from abawkit.cli._tables import group_notes
    from abawkit.formats.base import get_format
    from abawkit.probabilities.members import read_members, warn_of_training_rows
    from abawkit.scoring.matching import read_truth
    from abawkit.scoring.scored_rows import warn_of_unannotated
    from abawkit.tuning.ensemble import write_combined

    plugin = get_format(format_name)
    hows = weights or []
    _refuse_options(out or table, truth, hows, pool, rule, save_rule)
    _refuse_outputs(out, save_rule, table, plugin, [path for path in (*members, truth, rule) if path], force)
    found = read_members(members)
    annotations = read_truth(truth, split) if truth else None
    if annotations:
        warn_of_training_rows(found)
        warn_of_unannotated(annotations, {task for member in found for task in member.tasks}, protocol)
    applied, tuning = _rule(hows, pool, rule, found, annotations, protocol, folds, seed)
    judged = _judge(found, annotations, protocol, applied, tuning, seed)
    in_sample = bool(rule and annotations and _warn_of_known_rows(rule, annotations))
    if tuning:
        for note in group_notes(tuning.notes):
            print_message(f"note: {note}")
    if save_rule and applied:
        from abawkit.postprocessing.rule import write_rule

        write_rule(save_rule, applied, tuning.evidence() if tuning else {})
    written = _write(out, found, applied, plugin, force) if out else None
    if table:
        write_combined(table, found, applied)
    if as_json:
        print_json(_as_json(found, applied, judged, tuning, written, save_rule))
        return
    from abawkit.cli._tables import show_correlations, show_members, show_prospects, show_scores, show_weights

    if judged:
        show_members(judged[0], protocol, "equal weights" if tuning else "the others")
        show_prospects(judged[0])
        show_correlations(judged[0])
    if applied and applied.weights:
        from abawkit.postprocessing.rule import group_members

        show_weights(group_members(applied, found), applied)
    if judged:
        from abawkit.postprocessing.averaging import find_known_tasks

        pooled = bool(applied and "log" in applied.pool.values())
        known = find_known_tasks(found)
        show_scores(judged[1], tuning, protocol, tasks=known, in_sample=in_sample, pooled=pooled)
    if written:
        print(f"{written.submission}: {format_count(len(found[0].predictions), 'row')} from {_count(len(found))}")
        print(f"beside it: {written.probabilities.name}, {written.manifest.name}")
    if table:
        print(f"{table}: the probabilities")
    if save_rule:
        print(f"{save_rule}: this rule; apply it with --rule")


def _refuse_options(
    out: Path | None,
    truth: Path | None,
    hows: Sequence[str],
    pool: Pooling | None,
    rule: Path | None,
    save_rule: Path | None,
) -> None:
    if not (out or truth):
        raise ConfigError("nothing to do: give --out or --probabilities to write, --truth to score, or several")
    if rule and hows:
        raise ConfigError("--weights and --rule: a rule has its own weights; give one of the two")
    if rule and pool:
        raise ConfigError("--pool and --rule: a rule says how members are pooled; give one of the two")
    if len(hows) > 1 and {"mean", "fitted"} & set(hows):
        raise ConfigError("--weights: mean and fitted are for all tasks; give one of them alone, or numbers for tasks")
    if "fitted" in hows and not truth:
        raise ConfigError("--weights fitted: needs annotations to fit to; give --truth")
    if save_rule and (not hows or "mean" in hows) and pool != "log":
        raise ConfigError("--save-rule: the mean needs no rule; give --weights fitted, or numbers, or --pool log")


def _refuse_outputs(
    out: Path | None,
    save_rule: Path | None,
    table: Path | None,
    plugin: "SubmissionFormat",
    inputs: list[Path],
    force: bool,
) -> None:
    from abawkit.claims import claim_file, claim_prediction, claim_probabilities
    from abawkit.inspection.output_kinds import RULE
    from abawkit.postprocessing.outputs import list_outputs

    if out and save_rule and save_rule.resolve() in [path.resolve() for path in list_outputs(out)]:
        raise ConfigError(f"{save_rule}: would be written twice; give --save-rule another path")
    if out:
        claim_prediction(out, plugin.container, force=force, inputs=inputs)
    if save_rule:
        claim_file(save_rule, force=force, kind=RULE, inputs=inputs)
    if table:
        others = [*(list_outputs(out) if out else []), *([save_rule] if save_rule else [])]
        claim_probabilities(table, force=force, inputs=inputs, others=others)


def _rule(
    hows: Sequence[str],
    pool: Pooling | None,
    rule: Path | None,
    members: "Sequence[StoredMember]",
    truth: "Annotations | None",
    protocol: Protocol,
    folds: int,
    seed: int,
) -> "tuple[Rule | None, Tuning | None]":
    """What is done with the members, None for the mean; and how it was fitted, where it was."""
    from abawkit.postprocessing.averaging import POOLED, find_known_tasks
    from abawkit.postprocessing.rule import Rule
    from abawkit.postprocessing.rule_file import read_rule
    from abawkit.tuning.ensemble import fit_ensemble, parse_weights

    if rule:
        return read_rule(rule), None
    known = find_known_tasks(members)
    pools: dict[Task, Pooling] = {task: "log" for task in POOLED if task in known} if pool == "log" else {}
    if pool and (len(members) < 2 or (pool == "log" and not pools)):
        lacking = "there is one member" if len(members) < 2 else "no member knows expressions or action units"
        raise ConfigError(f"--pool {pool}: {lacking}, so there is nothing to pool; leave it out")
    if "fitted" in hows and truth:
        tuning = fit_ensemble(members, truth, pools=pools, protocol=protocol, folds=folds, seed=seed)
        return tuning.rule, tuning
    given = parse_weights([how for how in hows if how != "mean"], members)
    return (Rule(weights=given, pool=pools) if given or pools else None), None


def _judge(
    members: "Sequence[StoredMember]",
    truth: "Annotations | None",
    protocol: Protocol,
    rule: "Rule | None",
    tuning: "Tuning | None",
    seed: int,
) -> "tuple[Analysis, Mapping[str, Interval]] | None":
    """The ensemble taken apart, and its score; fitted weights have no part in what members are said to be worth."""
    from abawkit.postprocessing.averaging import find_known_tasks
    from abawkit.postprocessing.outputs import decide
    from abawkit.postprocessing.rule import Rule, apply_rule
    from abawkit.scoring.forecast import forecast_scores
    from abawkit.tuning.ensemble_analysis import analyse

    if truth is None:
        return None
    used = Rule(pool=rule.pool) if tuning and rule else rule or Rule()
    tasks = find_known_tasks(members)
    analysis = analyse(members, truth, protocol, used)
    if tuning:
        return analysis, tuning.cross_fitted
    predictions = apply_rule(used, members, tasks)
    return analysis, forecast_scores(truth, decide(predictions, tasks), protocol, seed=seed)


def _warn_of_known_rows(rule: Path, truth: "Annotations") -> bool:
    """Whether a rule was fitted on these rows; says so."""
    from abawkit.postprocessing.rule_file import read_evidence

    known = bool(read_evidence(rule).get("list_digest") == truth.digest)
    if known:
        print_message(
            f"warning: {rule} was fitted on these rows: the scores below are too high; its cross_fitted ones are not"
        )
    return known


def _write(
    out: Path, members: "Sequence[StoredMember]", rule: "Rule | None", plugin: "SubmissionFormat", force: bool
) -> "WrittenOutputs":
    from abawkit.tuning.ensemble import write_ensemble

    return write_ensemble(out, members, rule, plugin, force=force)


def _as_json(
    members: "Sequence[StoredMember]",
    rule: "Rule | None",
    judged: "tuple[Analysis, Mapping[str, Interval]] | None",
    tuning: "Tuning | None",
    written: "WrittenOutputs | None",
    save_rule: Path | None,
) -> dict[str, Any]:
    from abawkit.scoring.bootstrap import PART_OF

    content: dict[str, Any] = {
        "rows": len(members[0].predictions),
        "members": [{"path": str(m.path), "key": m.key, "digest": m.digest, "tasks": list(m.tasks)} for m in members],
        "weights": {task: dict(given) for task, given in rule.weights.items()} if rule else {},
        "pool": dict(rule.pool) if rule else {},
    }
    if judged:
        known = {"score", *(PART_OF[task] for member in members for task in member.tasks)}
        content["score"] = {part: interval.as_dict() if part in known else None for part, interval in judged[1].items()}
        content["analysis"] = judged[0].as_dict()
    if tuning:
        content["fitted"] = tuning.evidence()
    if written:
        content |= {name: str(getattr(written, name)) for name in ("submission", "probabilities", "manifest")}
        content["submission_sha256"] = written.digest
    if save_rule:
        content["rule"] = str(save_rule)
    return content


def _count(members: int) -> str:
    return format_count(members, "member")
