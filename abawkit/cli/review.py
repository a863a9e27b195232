"""``abawkit review``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from abawkit.choices import MIN_STRENGTH, TruthSplit
from abawkit.cli._command import command, print_json, print_message, print_next_step
from abawkit.cli._options import Force, Json, Seed, complete_with
from abawkit.errors import format_count, printable

if TYPE_CHECKING:
    from abawkit.review.review import Review

SHOWN_VIDEOS: Final = 8
"""Shifted videos that a table shows; JSON has all."""

MIN_AGREEMENT: Final = 0.8
"""Below this share of agreement, a note says that most contradictions are errors of the networks."""


def list_rules() -> list[str]:
    """Names of the rules."""
    from abawkit.review.doubtful_labels import REVIEW_REASONS

    return list(REVIEW_REASONS)


@command
def review(
    curated: Annotated[Path, typer.Argument(help="The curated set whose labels are reviewed.")],
    predictions: Annotated[
        list[Path],
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Stored probabilities of its rows by a network that was not trained on them, as of `abawkit train "
            "--folds`; repeat it for each network.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The list of doubtful labels to write (.csv).")],
    split: Annotated[
        TruthSplit | None,
        typer.Option("--split", help="Which rows are reviewed; default: those that the predictions are of."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="RULE",
            help="Apply only this rule: contradicted, outlier, shifted or near-duplicate; can be repeated.",
            autocompletion=complete_with(list_rules),
        ),
    ] = None,
    min_strength: Annotated[
        float,
        typer.Option(
            "--min-strength",
            metavar="SHARE",
            min=0.5,
            max=1.0,
            help="Of contradictions: the share of a suggestion in the probability of itself and the label, at least.",
        ),
    ] = MIN_STRENGTH,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """List labels that are probably wrong; nothing is changed until `abawkit curate --drop` takes the list.

    Four rules: an expression or action unit that every network contradicts (confident learning); valence or arousal
    that is further from the networks than noise and their disagreement explain; videos whose annotation is shifted in
    time; frames that are nearly the same and annotated otherwise.

    The list is CSV: split, line and image of each row, task, label, suggestion, reason, strength (0 to 1) and details.
    Delete the lines that you disagree with, and give it to `abawkit curate --drop`.

    Example: abawkit review curated --predictions runs/folds/out-of-fold.npz --out review.csv
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar
    from abawkit.curation.release import list_command

    with progress_bar("frames") as progress:
        found = api.review_labels(
            curated,
            predictions,
            out,
            split=split,
            only=only or (),
            min_strength=min_strength,
            seed=seed,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json({"out": str(out), **found.as_dict()})
        return
    _show_review(found)
    print(printable(f"written: {out}; nothing is dropped until `abawkit curate --drop` takes it"))
    new = curated.with_name(f"{curated.name}-reviewed")
    print_next_step(*list_command(curated, found.policy, new, ["--drop", str(out)]))


def _format_agreement(sure: int, agree: int) -> str:
    return f"{agree / sure:.0%}" if sure else "-"


def _show_review(found: "Review") -> None:
    from abawkit.cli._output import format_number, show_table
    from abawkit.review.shifted_videos import describe_shift

    counts = found.count()
    rows = [(rule, *(format_number(counts[rule][task]) for task in found.tasks)) for rule in counts]
    rows.append(("annotated rows", *(format_number(int(found.truth.valid[task].sum())) for task in found.tasks)))
    rows.append(("agree where sure", *(_format_agreement(*found.agreement.get(task, (0, 0))) for task in found.tasks)))
    networks = format_count(found.networks, "network")
    show_table(f"Doubtful labels of {found.split}, rows by reason; {networks}", ["", *found.tasks], rows)
    weak = [task for task, (sure, agree) in found.agreement.items() if agree < MIN_AGREEMENT * sure]
    if weak and "contradicted" in counts:
        print_message(
            f"note: where the networks are as sure as for a contradiction, less than {MIN_AGREEMENT:.0%} of the labels "
            f"agree ({', '.join(weak)}): most contradictions are errors of the networks; look at each"
        )
    if found.shifted:
        videos = [(one.video, one.task, describe_shift(one.shift)) for one in found.shifted[:SHOWN_VIDEOS]]
        more = f", {SHOWN_VIDEOS} of {len(found.shifted):,}" if len(found.shifted) > SHOWN_VIDEOS else ""
        show_table(f"Annotations shifted in time{more}", ["", "task", "labels are"], videos, text_columns=3)
    if not found.frames:
        print("Frames were not compared.")
    doubtful = format_count(len(found.doubtful), "entry", "entries")
    print(f"{doubtful} in {format_count(len({one.row for one in found.doubtful}), 'row')} of {len(found.truth):,}")
