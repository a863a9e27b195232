"""The bar of a training run: images/s, losses, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from abawkit.cli.display import stderr

if TYPE_CHECKING:
    from abawkit.training.loop import Moment


@contextmanager
def training_bar() -> Iterator["Callable[[Moment], None] | None"]:
    """A bar on stderr, only where that is a terminal.

    Yields:
        What `abawkit.training.run.train` calls after each step, or None without a terminal.
    """
    console = stderr()
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training", total=None)

        def show(moment: "Moment") -> None:
            losses = " ".join(f"{name} {value:.3f}" for name, value in moment.losses.items())
            text = (
                f"{moment.epoch + 1}/{moment.epochs} {moment.stage}  {moment.images_per_second:.0f} images/s  {losses}"
            )
            progress.update(task, completed=moment.done, total=moment.total, description=text)

        yield show
