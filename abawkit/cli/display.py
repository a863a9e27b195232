"""Tables on stdout and bars on stderr."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from abawkit.errors import printable


def stdout() -> Console:
    """The console of results."""
    return Console(highlight=False, markup=False)


def stderr() -> Console:
    """The console of progress."""
    return Console(stderr=True, highlight=False, markup=False)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> None:
    """Prints a table on stdout; its first columns are text, its others numbers.

    Args:
        title: Stands above it.
        columns: Headings.
        rows: Cells.
        text_columns: How many columns at the left are text.
    """
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < text_columns else "right", overflow="fold")
    for row in rows:
        result.add_row(*(Text(printable(cell)) for cell in row))
    console = stdout()
    console.print(Text(title, style="bold"))
    console.print(result)
    console.print()


def number(value: int) -> str:
    """An integer with thousands apart: ``142,382``."""
    return f"{value:,}"


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr, only where that is a terminal.

    Yields:
        A function of the work done and the work in all, or None without a terminal.
    """
    console = stderr()
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
