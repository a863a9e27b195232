"""How far training is: a bar on a terminal, one for each network where several train at once, else lines."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from abawkit.cli.command import say
from abawkit.cli.display import stderr
from abawkit.labels import TASKS, Task
from abawkit.steps import Event, report_progress

if TYPE_CHECKING:
    from abawkit.training.loop import Moment

_EVERY: Final = 0.2  # seconds between two reports of a step
_PARTS: Final[dict[Task, tuple[str, str]]] = {
    "va": ("CCC", "ccc_va"),
    "expression": ("EXPR", "expression_f1"),
    "au": ("AU", "au_f1"),
}

Show = Callable[["Moment"], None]


@contextmanager
def training_bar() -> Iterator[Show | None]:
    """A bar on stderr, only where that is a terminal; where this is a step of another command, that one shows it.

    Yields:
        What `abawkit.training.run.train` calls after each step, or None where nobody watches.
    """
    if report_progress({}):
        yield _reporter()
        return
    if not stderr().is_terminal:
        yield None
        return
    with _progress() as progress:
        task = progress.add_task("", total=None, **_fields({}))
        yield lambda moment: _update(progress, task, _event(moment))


@contextmanager
def watch_training(commands: Sequence[Sequence[str]]) -> Iterator[Callable[[int, Event], None]]:
    """Shows networks that train at the same time: a line for each, kept up to date, or a line an epoch.

    Args:
        commands: Arguments behind ``abawkit``; only those of ``train`` report anything.

    Yields:
        What takes the number of a command and what it reports; see `abawkit.steps.Watch`.
    """
    names = _names(commands)
    if not stderr().is_terminal or not any(command[0] == "train" for command in commands):
        yield lambda i, event: say(f"{names[i]}: {event['text']}") if "text" in event else None
        return
    with _progress() as progress:
        tasks = [progress.add_task(name, total=None, **_fields({})) for name in names]
        yield lambda i, event: _update(progress, tasks[i], event)


def report_epoch(line: dict[str, Any], epochs: int) -> None:
    """Says what an epoch has led to, on stderr or to the command that this one is a step of.

    Args:
        line: Of ``metrics.jsonl``.
        epochs: Epochs of the run.
    """
    text = describe_epoch(line, epochs)
    say(text)
    report_progress({"text": text})


def describe_epoch(line: dict[str, Any], epochs: int) -> str:
    """A line for a person; P is there where all three tasks were trained, and else their parts alone.

    Args:
        line: Of ``metrics.jsonl``.
        epochs: Epochs of the run.
    """
    parts = line["official"]
    shown = {name: parts[key] for name, key in _PARTS.values() if parts[key] is not None}
    each = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
    score = f"P {parts['score']:.4f} ({each})" if len(shown) == len(TASKS) else each
    speed = f"{line['images_per_second']:.0f} images/s"
    return f"epoch {line['epoch']}/{epochs}: loss {line['losses']['total']:.3f}, validation {score}, {speed}"


def _names(commands: Sequence[Sequence[str]]) -> list[str]:
    """The folder that each command writes to, with the one above it where names would be the same."""
    paths = [Path(c[list(c).index("--out") + 1]) if "--out" in c else Path(c[0]) for c in commands]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.parent.name}/{path.name}" for path in paths]


def _progress() -> Progress:
    """A bar with, from left to right: name, epoch, bar, step, speed, time left; 80 columns hold it."""
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=18)),
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None, table_column=Column(min_width=6, ratio=1)),
        TextColumn("step {task.fields[step]}"),
        TextColumn("{task.fields[speed]} images/s"),
        TimeRemainingColumn(compact=True),
    )
    return Progress(*columns, console=stderr(), transient=True, expand=True)


def _fields(event: Event) -> dict[str, Any]:
    if "step" not in event:
        return {"epoch": "-", "step": "-", "speed": "-"}
    return {
        "epoch": f"{event['epoch']}/{event['epochs']}",
        "step": f"{event['step']}/{event['steps']}",
        "speed": f"{event['images_per_second']:.0f}",
    }


def _update(progress: Progress, task: TaskID, event: Event) -> None:
    if "step" in event:
        progress.update(task, completed=event["done"], total=event["total"], **_fields(event))


def _event(moment: "Moment") -> Event:
    return {
        "epoch": moment.epoch,
        "epochs": moment.epochs,
        "step": moment.steps,
        "steps": moment.total_steps,
        "done": moment.done,
        "total": moment.total,
        "images_per_second": moment.images_per_second,
    }


def _reporter() -> Show:
    last = 0.0

    def report(moment: "Moment") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY or moment.steps == moment.total_steps:
            last = now
            report_progress(_event(moment))

    return report
