"""``abawkit submissions``, and its commands ``new``, ``sent`` and ``returned``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.cli._command import App, command, print_json, print_message, refuse_ignored
from abawkit.cli._options import Force, Json, Report
from abawkit.errors import ConfigError, printable

if TYPE_CHECKING:
    from abawkit.submissions.ledger import Slot
    from abawkit.submissions.slots import Entry, Nearness

Folder = Annotated[Path, typer.Option("--folder", help="Folder that holds the submissions' folders and the ledger.")]
Name = Annotated[str, typer.Argument(help="Name of the submission's folder.")]

HERE = Path("submissions")

submissions = App()


@submissions.callback(invoke_without_command=True)
@command
def list_all(
    context: typer.Context,
    folder: Folder = HERE,
    report: Report = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", help="Annotation file or curated set: how alike the submissions' errors are, for the report."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """List all submissions with their validation scores, and the slots that were used.

    For each submission that was not sent yet, shows how its file differs from those that were sent.

    Example: abawkit submissions
    """
    if context.invoked_subcommand is not None:
        refuse_ignored(context, f"--folder {folder}", folder != HERE)  # a slot would be taken from another ledger
        refuse_ignored(context, "--json", as_json)
        _refuse_for_command(context, {"--report": report, "--truth": truth, "--force": force})
        return
    if not report and (truth or force):
        raise ConfigError(f"{'--truth' if truth else '--force'} does nothing without --report: give that too")
    from abawkit.submissions.slots import list_submissions, measure_nearness

    entries, slots = list_submissions(folder)
    near = {
        entry.name: list(measure_nearness(folder, entry.name, entry.manifest, slots))
        for entry in entries
        if entry.manifest and entry.state == "as written" and not entry.slots
    }
    if report:
        _write_list_report(report, folder, entries, slots, near, truth, force)
    if as_json:
        content = {
            "submissions": [_entry_as_json(e, near) for e in entries],
            "slots": [_slot_as_json(s) for s in slots],
        }
        print_json({**content, **({"report": str(report)} if report else {})})
        return
    _show_submissions(folder, entries, slots, near)
    if report:
        print(printable(f"report: {report}; open it in a browser"))


@submissions.command(no_args_is_help=True)
@command
def new(
    name: Annotated[str, typer.Argument(help="Name of the folder to create in --folder, or its path.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="What to copy: baseline, demo, paper-classifier, paper-finetuned, paper-single-tasks, strong, "
            "temporal, or the folder of a submission.",
        ),
    ] = "baseline",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Create the folder of a submission, from one that comes with abawkit: its recipe and its notes.

    Example: abawkit submissions new first --from strong
    """
    from abawkit.submissions.create import create_submission
    from abawkit.submissions.recipe import RECIPE, read_submission_recipe

    if not Path(name).name or (Path(name).name != name and folder != HERE):
        raise ConfigError(f"{name}: give the name of the folder to create, with --folder or as a path, not both")
    target = create_submission(folder / name if Path(name).name == name else Path(name), source)
    recipe, _ = read_submission_recipe(target)
    if as_json:
        print_json({"folder": str(target), "from": source, "summary": recipe.summary, "policy": recipe.policy})
        return
    weights = " --weights FILE" if recipe.weights == "published" else ""
    print(printable(f"{target}: {recipe.summary}; change {target / RECIPE}, then:"))
    print(f"abawkit curate RELEASE --out curated --policy {recipe.policy}")
    print(printable(f"abawkit submit {target} --data curated --list LIST --frames FOLDER{weights}"))


@submissions.command(no_args_is_help=True)
@command
def sent(
    name: Name,
    note: Annotated[str, typer.Option("--note", help="Free text for the ledger.")] = "",
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, max=10_000, help="Number of slots; default: 5.")
    ] = None,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Record that a submission was sent: uses the next slot and keeps a copy of the file.

    Example: abawkit submissions sent baseline --note "first try"
    """
    from abawkit.submissions.ledger import SLOTS
    from abawkit.submissions.slots import record_sent

    slots = slots or SLOTS
    line, near = record_sent(folder, name, slots=slots, note=note)
    for other in near:
        if other.near:
            print_message(f"warning: nearly the same as slot {other.slot}: {other.text()}")
    if as_json:
        print_json({**line.model_dump(mode="json"), "differs": [other.as_dict() for other in near]})
        return
    print(printable(f"slot {line.slot} of {slots}: {name}, SHA-256 {line.sha256[:12]}"))
    for other in near:
        print(f"  differs from slot {other.slot}: {other.text()}")


@submissions.command(no_args_is_help=True)
@command
def returned(
    name: Name,
    score: Annotated[float, typer.Argument(help="The score P that the organisers returned.")],
    slot: Annotated[
        int | None, typer.Option("--slot", min=1, help="The slot, if the submission was sent more than once.")
    ] = None,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Correct a recorded score; the ledger keeps both, the last one counts."),
    ] = False,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Record the score that the organisers returned.

    Example: abawkit submissions returned baseline 1.0412
    """
    from abawkit.submissions.slots import record_score

    number = record_score(folder, name, score, slot=slot, correct=correct)
    if as_json:
        print_json({"slot": number, "name": name, "score": score})
    else:
        print(printable(f"slot {number}: {name} scored {score}"))


def _refuse_for_command(context: typer.Context, given: dict[str, object]) -> None:
    """Refuses options of the list before one of its commands, which have none of them."""
    for option in (option for option, value in given.items() if value):
        raise ConfigError(f"{option}: is for the list, and does nothing for `{context.invoked_subcommand}`")


def _write_list_report(
    report: Path,
    folder: Path,
    entries: "list[Entry]",
    slots: "list[Slot]",
    near: "dict[str, list[Nearness]]",
    truth: Path | None,
    force: bool,
) -> None:
    from abawkit.claims import claim_file
    from abawkit.reports.page import REPORT, write_page
    from abawkit.reports.submission_list import make_submission_list_page
    from abawkit.scoring.matching import read_truth

    claim_file(report, force=force, kind=REPORT, inputs=[truth] if truth else [])
    annotations = read_truth(truth) if truth else None
    write_page(report, make_submission_list_page(folder, entries, slots, near, annotations))


def _entry_as_json(entry: "Entry", near: "dict[str, list[Nearness]]") -> dict[str, Any]:
    manifest = entry.manifest.model_dump(mode="json") if entry.manifest else None
    return {
        "name": entry.name,
        "summary": entry.summary,
        "state": entry.state,
        "slots": entry.slots,
        "recipe_changed": entry.recipe_changed,
        "problem": entry.problem or None,
        "differs": [other.as_dict() for other in near.get(entry.name, [])],
        "manifest": manifest,
    }


def _slot_as_json(slot: "Slot") -> dict[str, Any]:
    score = slot.returned.score if slot.returned else None
    return {**slot.sent.model_dump(mode="json"), "score": score}


def _show_submissions(
    folder: Path, entries: "list[Entry]", slots: "list[Slot]", near: "dict[str, list[Nearness]]"
) -> None:
    from abawkit.cli._output import show_table, stdout

    if not entries and not slots:
        print(
            printable(f"no submission in {folder}: none of its folders has a recipe.toml; --folder gives another one")
        )
        return
    columns = ["name", "written", "SHA-256", "P", "low", "high", "slot"]
    show_table(
        "Submissions: P on validation, cross-fitted, and its 95 % forecast for the test",
        columns,
        [_make_row(entry) for entry in entries],
    )
    if slots:
        rows = [
            (
                str(slot.sent.slot),
                slot.sent.name,
                slot.sent.when[:10],
                slot.sent.sha256[:12],
                f"{slot.sent.validation.value:.4f}",
                f"{slot.returned.score:.4f}" if slot.returned else "",
            )
            for slot in slots
        ]
        show_table("Sent", ["slot", "name", "when", "SHA-256", "P expected", "P returned"], rows, text_columns=3)
    console = stdout()
    for entry in entries:
        for line in _list_notes(entry, near.get(entry.name, [])):
            console.print(printable(f"{entry.name}: {line}"))


def _make_row(entry: "Entry") -> tuple[str, ...]:
    if entry.manifest is None:
        return (entry.name, "no", *([""] * 5))
    interval, sent_as = entry.manifest.validation.interval, ", ".join(map(str, entry.slots))
    scores = (f"{value:.4f}" for value in (interval.value, interval.low, interval.high))
    return (entry.name, entry.manifest.written[:10], entry.manifest.submission.sha256[:12], *scores, sent_as)


def _list_notes(entry: "Entry", near: "list[Nearness]") -> list[str]:
    notes = [f"can't be listed: {entry.problem}"] if entry.problem else []
    if entry.manifest and entry.state != "as written":
        notes.append(f"its file, {entry.manifest.submission.file}, is {entry.state}; `abawkit submit` makes it again")
    notes += ["its recipe has changed since it was run"] if entry.recipe_changed else []
    notes += [f"differs from slot {other.slot}: {other.text()}" for other in near]
    return notes
