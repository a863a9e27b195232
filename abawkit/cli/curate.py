"""``abawkit curate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, get_args

import typer

from abawkit.choices import MAX_MISSING, PackedForm, Policy, Repeats
from abawkit.cli._command import command, needs, print_json, print_next_step
from abawkit.cli._options import FollowLinks, Force, Frames, Json, Report, Workers
from abawkit.errors import printable
from abawkit.labels import ACTION_UNITS, EXPRESSIONS

POLICIES_MEASURED: Final = (
    "strict or per-task: on synthetic faces, `abawkit ablate` measured strict .194 (same epochs) to .235 (same steps) "
    "of P below per-task."
)
"""The result of the ablation in docs/benchmarks.md."""

if TYPE_CHECKING:
    from abawkit.curation.curate import Curation


@command
@needs("max_missing", "!labels_only")
@needs("pack", "!labels_only")
@needs("workers", "!labels_only")
def curate(
    out: Annotated[Path, typer.Option("--out", help="Folder for the curated set.")],
    release: Annotated[
        Path | None,
        typer.Argument(help="Folder of the release; not needed where all else is given.", show_default=False),
    ] = None,
    policy: Annotated[
        Policy,
        typer.Option(help="strict: keep a frame if all its 15 values are annotated; per-task: if any task is."),
    ] = "strict",
    repeats: Annotated[
        Repeats,
        typer.Option(help="keep: all rows; unique: one row per image, none where its labels conflict."),
    ] = "keep",
    drop: Annotated[
        list[Path] | None,
        typer.Option(
            "--drop",
            metavar="FILE",
            help="List of labels to drop, as `abawkit review` writes it; can be repeated. In each row listed, the task "
            "counts as not annotated; the row stays if its other labels satisfy the policy.",
        ),
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="Training annotations, if not in the release: a file, or once for each single-task track.",
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(metavar="<path>", help="Validation annotations, if not in the release; as --train."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN,...",
            help="The annotations are CSV or Parquet tables with these columns: image, and those of any of the tasks "
            "(valence and arousal; expression; AU1 to AU26). FIELD alone is a column of that name.",
        ),
    ] = None,
    missing_value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="With --columns: a mark of missing values, besides empty cells, nan, -5 (VA) and -1."
        ),
    ] = None,
    frames: Frames = None,
    follow_links: FollowLinks = False,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Leave the frames out.")] = False,
    allow_shared_videos: Annotated[
        bool, typer.Option("--allow-shared-videos", help="Accept a video that is in both splits.")
    ] = False,
    max_missing: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of frames that may be missing or unreadable.")
    ] = MAX_MISSING,
    pack: Annotated[
        PackedForm,
        typer.Option(
            help="raw: the frames' pixels, 37,632 bytes each; encoded: the bytes of their image files, which are "
            "decoded whenever they are read."
        ),
    ] = "raw",
    workers: Workers = None,
    report: Report = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Validate and filter the annotations of a release, and pack its frames.

    Frames are those of RELEASE/cropped_aligned and RELEASE/cropped_aligned_new_50_vids, unless --frames says where.

    Writes table.parquet (every row with an annotated task, with masks and whether the policy keeps it), ledger.json,
    dropped.csv (each dropped row with its reasons) and the packed frames.

    Annotations can be tables of your own, with any of the tasks (--columns), or the single-task tracks of an older
    edition, which are joined by frame: RELEASE then has a folder for each track, with Train_Set and Validation_Set.

    Labels that a review found doubtful are dropped with --drop, and listed in dropped-labels.csv.

    Example: abawkit curate s-Aff-Wild2 --out curated --policy per-task

    Example: abawkit curate --train mine.csv --validation others.parquet --frames crops --out curated --policy per-task
    --columns image=path,valence=v,arousal=a
    """
    from abawkit import api
    from abawkit.cli._output import progress_bar

    with progress_bar("frames") as progress:
        result = api.curate(
            release,
            out,
            policy=policy,
            repeats=repeats,
            drop=drop,
            train=train,
            validation=validation,
            columns=columns,
            missing_value=missing_value or [],
            frames=frames,
            follow_links=follow_links,
            labels_only=labels_only,
            allow_shared_videos=allow_shared_videos,
            max_missing=max_missing,
            pack=pack,
            workers=workers,
            report=report,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json({**result.as_dict(), **({"report": str(report)} if report else {})})
        return
    _show_curation(result, out)
    if report:
        print(printable(f"report: {report}; open it in a browser"))
    if result.frames:
        print_next_step("train", "baseline", "--data", out, "--out", "runs/baseline")


def _show_curation(result: "Curation", out: Path) -> None:
    from abawkit.cli._output import format_number, show_table, stdout

    console = stdout()
    splits = result.splits.values()

    def rows(*entries: tuple[str, list[int]]) -> list[list[str]]:
        return [[name, *map(format_number, values)] for name, values in entries]

    counts = rows(
        ("rows", [c.rows for c in splits]),
        ("videos", [c.videos for c in splits]),
        ("VA valid", [c.valid["va"] for c in splits]),
        ("  only one of V and A", [c.va_partial for c in splits]),
        ("EXPR valid", [c.valid["expression"] for c in splits]),
        ("AU valid", [c.valid["au"] for c in splits]),
        ("  only some AUs", [c.au_partial for c in splits]),
        ("all three", [c.valid["all"] for c in splits]),
        ("at least one", [c.valid["any"] for c in splits]),
        ("repeated rows", [c.repeated for c in splits]),
        ("images with conflicting rows", [c.conflicting for c in splits]),
        *((f"kept by {policy}", [c.kept_by[policy] for c in splits]) for policy in get_args(Policy)),
        (f"kept ({result.policy}, repeats: {result.repeats})", [c.kept for c in splits]),
    )
    show_table("Curation", ["", "train", "validation"], counts)
    console.print(POLICIES_MEASURED)
    console.print()
    for title, names, before, after in (
        ("Expressions", EXPRESSIONS, "expressions", "expressions_kept"),
        ("Action units, active", ACTION_UNITS, "action_units", "action_units_kept"),
    ):
        columns = [getattr(c, key) for c in splits for key in (before, after)]
        entries = rows(*((name, [column[i] for column in columns]) for i, name in enumerate(names)))
        show_table(title, ["", "train", "kept", "validation", "kept"], entries)
    marks = sorted(
        {(name, mark) for by_column in result.missing.values() for name in by_column for mark in by_column[name]}
    )
    entries = [
        [name, mark, *(format_number(by_column.get(name, {}).get(mark, 0)) for by_column in result.missing.values())]
        for name, mark in marks
    ]
    if entries:
        show_table("Missing values", ["", "marked as", *result.missing], entries, text_columns=2)
    dropped = [result.dropped_labels.get(split, {}) for split in result.splits]
    reasons = sorted({reason for c in splits for reason in c.reasons})
    entries = rows(*((reason, [c.reasons.get(reason, 0) for c in splits]) for reason in reasons))
    if entries:
        show_table("Dropped rows, once for each reason", ["", "train", "validation"], entries)
    entries = [
        [f"{task}: {reason}", *(format_number(of.get(task, {}).get(reason, 0)) for of in dropped)]
        for task, reason in sorted({(task, reason) for of in dropped for task in of for reason in of[task]})
    ]
    if entries:
        show_table("Labels dropped on request, in rows", ["", "train", "validation"], entries)
    if result.frames:
        converted = "".join(f"; {kind} {count:,}" for kind, count in result.conversions.items())
        packed = f"{result.frames:,} packed ({result.form}, {result.bytes / 1e6:,.1f} MB)"
        console.print(f"frames: {packed}, {len(result.failures):,} missing or unreadable{converted}")
        for folder, count in result.folders.items() if len(result.folders) > 1 else ():
            print(printable(f"  {count:,} from {folder}"))  # not by the console, which breaks paths
        for failure in result.failures[:10]:
            console.print(f"  {failure.text}")
    for split, split_counts in result.splits.items():
        console.print(f"{split}: {split_counts.rows:,} -> {split_counts.kept:,}")
    console.print(printable(f"written: {out}"))
