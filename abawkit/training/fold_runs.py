"""Trains the networks of a folder of folds, one after another, and the one on all rows."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from abawkit.choices import TrackerName
from abawkit.errors import StoppedError
from abawkit.run_names import REFIT_FOLDER
from abawkit.system.launcher import read_launch
from abawkit.training.callbacks import StepInfo
from abawkit.training.distributed import ALONE, Distributed
from abawkit.training.fold_folder import FoldsContent, list_fold_runs, select_rows_of
from abawkit.training.folds import VideoFold
from abawkit.training.recipe import Recipe
from abawkit.training.run import run_training
from abawkit.training.run_folder import RunDrawer
from abawkit.training.run_summary import RunSummary, summarise_run
from abawkit.training.start import Start

_SHORTEST: Final = 1e-9
"""Minutes for a run whose time was up before it began: it saves its first checkpoint."""


def train_fold_runs(
    start: Start,
    out: Path,
    content: FoldsContent,
    *,
    resume: bool,
    allow_drift: bool,
    log: Sequence[TrackerName] = (),
    max_minutes: float | None = None,
    hang_timeout: float | None = None,
    on_run: Callable[[str], None] | None = None,
    on_step: Callable[[StepInfo], None] | None = None,
    on_epoch: Callable[[dict[str, Any], int], None] | None = None,
    draw: Callable[[Path], RunDrawer] | None = None,
    processes: Distributed = ALONE,
) -> list[RunSummary]:
    """Trains a network for each fold on the videos of the others, and one on all rows where that is asked for.

    Runs that are finished are kept.

    Args:
        start: Recipe and inputs of all networks.
        out: The folder of the folds.
        content: As `abawkit.training.fold_folder.begin_folds` or `continue_folds` returns it.
        resume: Whether runs that were begun go on.
        allow_drift: Whether they may go on under other conditions.
        log: Trackers that each run logs to.
        max_minutes: The run that is under way after this time saves a checkpoint and ends, and so do all.
        hang_timeout: Seconds without progress after which the process ends at once; see `abawkit.training.run.train`.
        on_run: Called with the name of each run, as ``fold 2 of 5``, before it begins.
        on_step: Called after each step.
        on_epoch: Called after each epoch.
        draw: Gives what draws into the folder of a run.
        processes: All of which train each network, one after another; all of them must call.

    Returns:
        What the folds' runs came to, in their order, and behind them that of the network on all rows.

    Raises:
        AbawkitError: As `abawkit.training.run.run_training`.
    """
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes

    def run(name: str, own: Start, folder: Path) -> RunSummary:
        if processes.broadcast_numbers([processes.is_main and _is_finished(folder, own)])[0]:
            return summarise_run(folder)
        if on_run and processes.is_main:
            on_run(name)
        left = None if deadline is None else max((deadline - time.monotonic()) / 60, _SHORTEST)
        options: dict[str, Any] = {"resume": resume, "allow_drift": allow_drift, "force": False, "log": log}
        options["hang_timeout"] = hang_timeout
        try:
            run_training(own, folder, **options, max_minutes=left, on_step=on_step, on_epoch=on_epoch, draw=draw)
        except StoppedError as error:
            command = f"{read_launch().command}abawkit train --resume --out {out}"
            text = f"{name} was stopped; `{command}` continues it, and all that follow"
            raise StoppedError(f"{error}\n{text}", error.exit_code) from error
        processes.wait_for_all()  # until the first one has written the manifest
        return summarise_run(folder)

    folds, folders = content.list_folds(), list_fold_runs(out, content.folds)
    found = [
        run(f"fold {fold.number} of {fold.count}", select_rows_of(start, fold), folder)
        for fold, folder in zip(folds, folders, strict=True)
    ]
    if content.refit:
        found.append(run("all rows", _prepare_refit(start, content, found, processes), out / REFIT_FOLDER))
    return found


def _is_finished(folder: Path, own: Start) -> bool:
    """Whether a folder holds the finished run of a fold."""
    found, fold = summarise_run(folder), own.inputs.fold
    return found.state == "finished" and bool(found.fold and VideoFold.from_dict(dict(found.fold)) == fold)


def _prepare_refit(start: Start, content: FoldsContent, folds: Sequence[RunSummary], processes: Distributed) -> Start:
    best = tuple(processes.broadcast_numbers([run.best_epoch or 0 for run in folds]))
    epochs = statistics.median_high(best)
    fold = replace(content.all_rows, best_epochs=best)
    return select_rows_of(replace(start, recipe=shorten_recipe(start.recipe, epochs)), fold)


def shorten_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of a run that ends after so many epochs of both stages; its learning rate falls to the end of these.

    Args:
        recipe: The recipe.
        epochs: From 1 to those of the recipe.
    """
    heads = min(recipe.heads.epochs, epochs)
    stages = {"heads": heads, "all": epochs - heads}
    warmup = min([recipe.schedule.warmup_epochs, *(count / 2 for count in stages.values() if count)])
    changed: dict[str, Any] = {
        name: getattr(recipe, name).model_copy(update={"epochs": count}) for name, count in stages.items()
    }
    changed["schedule"] = recipe.schedule.model_copy(update={"warmup_epochs": warmup})
    return recipe.model_copy(update={**changed, "patience": 0})
