"""``abawkit smooth``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Force, Json
from abawkit.errors import ConfigError, format_count
from abawkit.labels import TASKS, Task

if TYPE_CHECKING:
    from abawkit.postprocessing.smoothing import Smoothing
    from abawkit.tables import Array

_FORMS = "gaussian:RADIUS:SCALE, median:RADIUS or none"


@command
def smooth(
    probabilities: Annotated[Path, typer.Argument(help="Stored probabilities, as `abawkit predict` leaves them.")],
    out: Annotated[Path, typer.Option("--out", help="The .npz, .csv or .parquet to write.")],
    va: Annotated[
        str | None, typer.Option(metavar="HOW", help=f"{_FORMS}; default: gaussian:10:100000, as published.")
    ] = None,
    expression: Annotated[
        str | None, typer.Option(metavar="HOW", help=f"{_FORMS}; default: gaussian:50:100000, as published.")
    ] = None,
    au: Annotated[
        str | None, typer.Option(metavar="HOW", help=f"{_FORMS}; default: none, as nothing was published.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Smooth stored probabilities within each video, over the distance between frames.

    The window of a frame is the RADIUS frames of its video before and after it in the list: gaussian weighs them with
    exp(-d^2 / SCALE), where d is the difference of frame numbers; median takes the middle one. Repeated rows of a
    frame count once. `abawkit tune` finds out which smoothing helps.

    Example: abawkit smooth runs/a/validation.npz --out smoothed.npz --expression median:5
    """
    from abawkit.claims import claim_probabilities
    from abawkit.frame_columns import Timeline
    from abawkit.postprocessing.smoothing import smooth_predictions
    from abawkit.probabilities.members import read_member, write_probabilities

    given = _given({"va": va, "expression": expression, "au": au})
    claim_probabilities(out, force=force, inputs=[probabilities])
    if (manifest := out.with_suffix(".json")).exists():
        raise ConfigError(
            f"{manifest}: says what the probabilities beside it were made of, and would be wrong of the smoothed ones; "
            "give another --out"
        )
    member = read_member(probabilities)
    if unknown := [task for task in given if task not in member.tasks]:
        raise ConfigError(f"{probabilities}: knows nothing of {', '.join(unknown)}; leave out --{unknown[0]}")
    plan = _plan(given, member.tasks)
    if all(how.kind == "none" for how in plan.values()):
        raise ConfigError("nothing is smoothed: every task that the file knows has none; give another HOW")
    timeline = Timeline.of(member.predictions.images)
    smoothed = smooth_predictions(member.predictions, plan, timeline)
    write_probabilities(out, smoothed, member.tasks)

    changes = {task: _mean_change(getattr(member.predictions, task), getattr(smoothed, task)) for task in plan}
    for task, how in plan.items():
        if how.kind != "none" and not changes[task]:
            print_message(
                f"warning: {how} changes nothing of {task}: each row is alone, or like the rows of its video beside it"
            )
    videos = len(timeline.starts) - 1
    if as_json:
        tasks = {task: {"smoothing": str(how), "mean_change": changes[task]} for task, how in plan.items()}
        print_json({"probabilities": str(out), "rows": len(smoothed), "videos": videos, "tasks": tasks})
    else:
        from abawkit.cli._output import show_table

        rows = [(task, str(how), f"{changes[task]:.4f}") for task, how in plan.items()]
        title = f"{out}: {format_count(len(smoothed), 'row')} of {format_count(videos, 'video')}"
        show_table(title, ["", "smoothing", "mean change"], rows, text_columns=2)


def _given(texts: dict[Task, str | None]) -> "dict[Task, Smoothing]":
    from abawkit.postprocessing.smoothing import parse_smoothing

    given: dict[Task, Smoothing] = {}
    for task, text in texts.items():
        if text is not None:
            try:
                given[task] = parse_smoothing(text)
            except ConfigError as error:
                raise ConfigError(f"--{task}: {error}") from error
    return given


def _plan(given: "dict[Task, Smoothing]", tasks: tuple[Task, ...]) -> "dict[Task, Smoothing]":
    """What is done to each task that the file knows."""
    from abawkit.postprocessing.smoothing import PUBLISHED_SMOOTHING

    return {task: given.get(task, PUBLISHED_SMOOTHING[task]) for task in TASKS if task in tasks}


def _mean_change(before: "Array", after: "Array") -> float:
    """Mean absolute change of a value; 0 for an empty list."""
    return float(abs(after - before).mean()) if before.size else 0.0
