"""Tables on stdout; progress bars on stderr, or lines where stderr is no terminal."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.table import Column, Table
from rich.text import Text

from abawkit.cli._command import print_message
from abawkit.errors import printable
from abawkit.labels import TASKS, Task
from abawkit.pipeline.commands import Event, report_progress

if TYPE_CHECKING:
    from abawkit.training.callbacks import StepInfo


def stdout() -> Console:
    """The console of results."""
    return Console(highlight=False, markup=False)


def stderr() -> Console:
    """The console of progress."""
    return Console(stderr=True, highlight=False, markup=False)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> None:
    """Prints a table on stdout; its first columns are text, its others numbers, which are never folded.

    Args:
        title: Printed above it.
        columns: Headings.
        rows: Cells.
        text_columns: How many columns at the left are text.
    """
    console = stdout()
    console.print(Text(title, style="bold"))
    for group in _group_columns(columns, rows, text_columns, console.width):
        result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for index in group:
            result.add_column(columns[index], justify="left" if index < text_columns else "right", overflow="fold")
        for row in rows:
            result.add_row(*(Text(printable(row[index])) for index in group))
        console.print(result)
        console.print()


_NARROWEST: Final = 14  # the width to which names are folded
_BETWEEN: Final = 3  # between two columns


def _group_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int, width: int
) -> list[list[int]]:
    """The columns as one table, or where their numbers would be folded, as several that each begin with the names."""
    widths = [
        max([*map(len, column.split()), *(len(row[index]) for row in rows)], default=0)
        for index, column in enumerate(columns)
    ]
    names = min(widths[0], _NARROWEST)
    if text_columns != 1 or names + sum(each + _BETWEEN for each in widths[1:]) <= width:
        return [list(range(len(columns)))]
    groups, used = [[0]], names
    for index, each in enumerate(widths[1:], start=1):
        if used + each + _BETWEEN > width and len(groups[-1]) > 1:
            groups.append([0])
            used = names
        groups[-1].append(index)
        used += each + _BETWEEN
    return groups


def format_number(value: int) -> str:
    """An integer with thousands apart: ``142,382``."""
    return f"{value:,}"


class _RateColumn(ProgressColumn):
    """Work done in a second, once it is known."""

    def render(self, task: RichTask) -> Text:
        """The cell of a bar."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr with rate and time left, only where that is a terminal.

    Yields:
        A function of the work done and the work in all, or None without a terminal.
    """
    console = stderr()
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


_EVERY: Final = 0.2  # seconds between two reports of a step
_SCORE_PARTS: Final[dict[Task, tuple[str, str]]] = {
    "va": ("CCC", "ccc_va"),
    "expression": ("EXPR", "expression_f1"),
    "au": ("AU", "au_f1"),
}

Show = Callable[["StepInfo"], None]


@contextmanager
def show_training() -> Iterator[Show | None]:
    """A progress bar of training on stderr, if that is a terminal; a step of another command reports to that one.

    Yields:
        A function that `abawkit.training.run.train` calls after each step, or None where it is not shown.
    """
    if report_progress({}):
        yield _make_reporter()
        return
    if not stderr().is_terminal:
        yield None
        return
    with _make_progress() as progress:
        task = progress.add_task("", total=None, **_format_fields({}))
        yield lambda moment: _update_bar(progress, task, _make_event(moment))


@contextmanager
def watch_training(commands: Sequence[Sequence[str]]) -> Iterator[Callable[[int, Event], None]]:
    """Shows networks that train at the same time: a line for each, kept up to date, or a line an epoch.

    Args:
        commands: Arguments behind ``abawkit``; only those of ``train`` report anything.

    Yields:
        A function of a command's number and what it reports; see `abawkit.pipeline.commands.Watch`.
    """
    names = _name_commands(commands)
    if not stderr().is_terminal or not any(command[0] == "train" for command in commands):
        yield lambda i, event: print_message(f"{names[i]}: {event['text']}") if "text" in event else None
        return
    with _make_progress() as progress:
        tasks = [progress.add_task(name, total=None, **_format_fields({})) for name in names]
        yield lambda i, event: _update_bar(progress, tasks[i], event)


def report_epoch(line: dict[str, Any], epochs: int) -> None:
    """Prints an epoch's line of ``metrics.jsonl`` on stderr, and reports it to the command that this is a step of."""
    text = describe_epoch(line, epochs)
    print_message(text)
    report_progress({"text": text})


def describe_epoch(line: dict[str, Any], epochs: int) -> str:
    """An epoch's line of ``metrics.jsonl`` as text: P if all three tasks were trained, else their parts alone."""
    parts = line["official"]
    shown = {name: parts[key] for name, key in _SCORE_PARTS.values() if parts[key] is not None}
    each = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
    score = f"P {parts['score']:.4f} ({each})" if len(shown) == len(TASKS) else each
    speed = f"{line['images_per_second']:.0f} images/s"
    return f"epoch {line['epoch']}/{epochs}: loss {line['losses']['total']:.3f}, validation {score}, {speed}"


def _name_commands(commands: Sequence[Sequence[str]]) -> list[str]:
    """The folder that each command writes to, with the one above it where names would be the same."""
    paths = [Path(c[list(c).index("--out") + 1]) if "--out" in c else Path(c[0]) for c in commands]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.parent.name}/{path.name}" for path in paths]


def _make_progress() -> Progress:
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


def _format_fields(event: Event) -> dict[str, Any]:
    if "step" not in event:
        return {"epoch": "-", "step": "-", "speed": "-"}
    return {
        "epoch": f"{event['epoch']}/{event['epochs']}",
        "step": f"{event['step']}/{event['steps']}",
        "speed": f"{event['images_per_second']:.0f}",
    }


def _update_bar(progress: Progress, task: TaskID, event: Event) -> None:
    if "step" in event:
        progress.update(task, completed=event["done"], total=event["total"], **_format_fields(event))


def _make_event(moment: "StepInfo") -> Event:
    return {
        "epoch": moment.epoch,
        "epochs": moment.epochs,
        "step": moment.steps,
        "steps": moment.total_steps,
        "done": moment.done,
        "total": moment.total,
        "images_per_second": moment.images_per_second,
    }


def _make_reporter() -> Show:
    last = 0.0

    def report(moment: "StepInfo") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY or moment.steps == moment.total_steps:
            last = now
            report_progress(_make_event(moment))

    return report
