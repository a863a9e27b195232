"""``abawkit submit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.choices import Missing
from abawkit.cli._command import command, needs, print_json, print_message
from abawkit.cli._options import FollowLinks, Json, LastReport, ListFile, Ops, Threads
from abawkit.errors import format_count, printable
from abawkit.execution import refuse_operator

if TYPE_CHECKING:
    from abawkit.submissions.manifest import Range, Validation
    from abawkit.submissions.submit import SubmissionResult
    from abawkit.submissions.workspace import SubmissionInputs


@command
@needs("jobs", "!dry_run")
@needs("report", "!dry_run")
def submit(
    folder: Annotated[Path, typer.Argument(help="Folder of the submission, which holds its recipe.toml.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the curated set.")],
    frame_list: ListFile,
    frames: Annotated[
        list[Path],
        typer.Option(
            "--frames", help="Folder of the frames in the list; can be repeated: folders are searched in this order."
        ),
    ],
    follow_links: FollowLinks = False,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights or a run to start from, if the recipe requires them.")
    ] = None,
    missing: Annotated[
        Missing,
        typer.Option(help="Unreadable frames: refuse them, or take the answer of the nearest frame of the video."),
    ] = "refuse",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=64, help="Networks trained at the same time; default: one per processor, at most 4."
        ),
    ] = None,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Continue a run under other versions, threads or hardware.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained, extracted and predicted; write nothing.")
    ] = False,
    ops: Ops = None,
    threads: Threads = None,
    report: LastReport = None,
    as_json: Json = False,
) -> None:
    """Make a submission from its folder: train what is missing, predict, decide, write, check.

    What is there already, of the same recipe, data and weights, is not made again, so that the same command goes on
    after an interruption. Everything goes to outputs/ in the folder; manifest.json says what it was made of and what
    it scores on validation.

    Example: abawkit submit submissions/demo --data curated --list MTL.txt --frames test_data/cropped_aligned
    """
    refuse_operator(ops)

    from abawkit.cli._output import watch_training
    from abawkit.frames.paths import FrameFolders
    from abawkit.models.weight_files import find_weights
    from abawkit.pipeline.commands import ExecutionOptions, watch_steps
    from abawkit.submissions.submit import submit as run
    from abawkit.submissions.workspace import SubmissionInputs

    start = find_weights(weights) if weights else None
    inputs = SubmissionInputs(data, frame_list, FrameFolders(tuple(frames), follow_links), start, missing)
    if dry_run:
        _show_due_steps(folder, inputs, as_json)
        return
    if report:
        from abawkit.claims import claim_file
        from abawkit.reports.page import REPORT

        claim_file(report, force=True, kind=REPORT, inputs=[data, frame_list, *frames])
    with watch_steps(watch_training):
        result = run(
            folder,
            inputs,
            ExecutionOptions(jobs, threads, ops, allow_drift, say=print_message if as_json else _print_lines),
        )
    if report:
        _write_submission_report(report, result, data)
    if as_json:
        manifest = result.manifest.model_dump(mode="json")
        content = {"folder": str(folder), "official": str(result.official), "done": result.done, **manifest}
        print_json({**content, **({"report": str(report)} if report else {})})
        return
    _show_result(result)
    if report:
        print(printable(f"report: {report}; open it in a browser"))


def _print_lines(text: str) -> None:
    print("\n".join(printable(line) for line in text.split("\n")), flush=True)


def _write_submission_report(report: Path, result: "SubmissionResult", data: Path) -> None:
    from abawkit.curation import open_curated
    from abawkit.reports.page import write_page
    from abawkit.reports.submission import make_submission_page

    truth = open_curated(data).splits["validation"].annotations
    write_page(report, make_submission_page(result.folder, result.manifest, truth))


def _show_due_steps(folder: Path, inputs: "SubmissionInputs", as_json: bool) -> None:
    from abawkit.cli._output import show_table
    from abawkit.submissions.submit import describe_due_steps

    steps = describe_due_steps(folder, inputs)
    if as_json:
        print_json({"steps": [{"name": name, "due": reason or None} for name, reason in steps]})
        return
    show_table(f"{folder}", ["step", "due"], [(name, reason or "no") for name, reason in steps], text_columns=2)


def _show_result(result: "SubmissionResult") -> None:
    from abawkit.cli._output import show_table, stdout
    from abawkit.cli._tables import name_score_parts

    manifest, validation = result.manifest, result.manifest.validation
    fitted = [("cross-fitted", validation.crossfitted), ("in-sample (too good)", validation.in_sample)]
    parts = name_score_parts(validation.tasks)
    shown = fitted if validation.fitted else []
    shown += [("mean, nothing fitted", validation.untuned)]
    shown += [(member.name, member.validation) for member in validation.members]
    rows = [(name, *(f"{getattr(scores, part):.4f}" for part in parts)) for name, scores in shown]
    console = stdout()
    console.print()
    show_table(f"Validation, {validation.protocol} protocol", ["", *parts.values()], rows)
    for line in _describe_validation(validation):
        console.print(printable(line))
    count = len(result.done)
    done = f"{format_count(count, 'step')} done" if count else "everything was there"
    # Not by the console, which breaks lines: these are copied.
    _print_lines(f"{result.official}: {format_count(manifest.submission.rows, 'row')}, checked; {done}")
    _print_lines(f"SHA-256 {manifest.submission.sha256}")


def _describe_validation(validation: "Validation") -> list[str]:
    from abawkit.cli._tables import group_notes, name_score_parts

    interval, whole = validation.interval, list(name_score_parts(validation.tasks).values())[-1]
    how = f"cross-fitted over {validation.folds} folds of videos, " if validation.fitted else ""
    against = [(f"{validation.best_member}, the best single member", validation.difference)]
    against += [("the mean with nothing fitted", validation.gain)] if validation.fitted else []
    forecast = f"{100 * interval.level:g} % forecast for a test of {format_count(validation.test_videos, 'video')}"
    return [
        f"{whole} {interval.value:.4f}, {how}{forecast} {interval.low:.4f} to {interval.high:.4f}",
        *(_describe_range(name, found) for name, found in against),
        *(f"note: {note}" for note in group_notes(validation.notes)),
    ]


def _describe_range(name: str, found: "Range") -> str:
    noise = "; within noise" if found.within_noise else ""
    return f"{found.value:+.4f} against {name}, interval {found.low:+.4f} to {found.high:+.4f}{noise}"
