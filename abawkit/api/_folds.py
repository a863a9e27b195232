"""Networks by folds of videos, as `abawkit.train` trains them with `folds`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abawkit.choices import FoldsOver, TrackerName
from abawkit.errors import ConfigError

if TYPE_CHECKING:
    from abawkit.training.fold_folder import FoldsContent
    from abawkit.training.run import Trained


def train_by_folds(
    given: Mapping[str, Any],
    out: Path,
    folds: int | None,
    over: FoldsOver | None,
    *,
    refit: bool,
    resume: bool,
    force: bool,
    log: Sequence[TrackerName],
    stage: bool,
    on_run: Callable[[str], None] | None,
    **others: Any,
) -> "Trained":
    """Trains a network for each fold, and predicts every row with the one that was trained without its clip.

    Args:
        given: Recipe, data and the other arguments of `abawkit.training.start.prepare_start`.
        out: The folder of the folds.
        folds: How many; None to continue those in `out`.
        over: The rows that are divided; None for those that were begun with, or the training split.
        refit: Whether a network is trained on all of these rows, too.
        resume: Whether folds that are in `out` go on.
        force: Whether folds that are in `out` are replaced.
        log: Trackers that each run logs to.
        stage: Whether all of them read copies of packed frames and features; see `abawkit.train`.
        on_run: Called with the name of each run before it begins, and with what is about to be copied.
        **others: Of `abawkit.training.fold_runs.train_fold_runs`.
    """
    from abawkit.system.files import new_folder
    from abawkit.system.launcher import read_launch
    from abawkit.system.locks import lock
    from abawkit.training.fold_folder import (
        MAX_FOLDS,
        begin_folds,
        continue_folds,
        divide_rows,
        is_fold_folder,
        read_folds,
        refuse_fold_folder,
        warn_of_seen_rows,
    )
    from abawkit.training.start import prepare_start

    if folds is not None and not 2 <= folds <= MAX_FOLDS:
        raise ConfigError(f"--folds {folds}: expected 2 to {MAX_FOLDS}")
    launch = read_launch()
    begun = read_folds(out) if resume and is_fold_folder(out) else None
    start = prepare_start(**_fill_in(given, out, begun), out=out, log=log, dry_run=True)
    if launch.is_main and not launch.restarts:
        refuse_fold_folder(out, resume=resume, force=force)
    divided = None if begun or folds is None else divide_rows(start, folds, over or "train", refit=refit)

    if divided and launch.is_main:
        warn_of_seen_rows(divided)

    from abawkit.execution import cpu_threads
    from abawkit.models.devices import use_deterministic_algorithms
    from abawkit.ops import use
    from abawkit.prediction.out_of_fold import predict_out_of_fold
    from abawkit.training.distributed import join_processes
    from abawkit.training.fold_runs import train_fold_runs
    from abawkit.training.staging import stage_inputs

    with ExitStack() as stack:
        stack.enter_context(use_deterministic_algorithms(start.recipe.device))  # before anything is computed
        processes = stack.enter_context(join_processes(start.recipe.device, others.get("hang_timeout")))
        described = (start.recipe.to_toml(), start.inputs, out.absolute(), folds, over, refit)
        processes.refuse_differences(described, "recipes, inputs, folds or --out")
        # processes that torchrun or Slurm started again were asked to begin, and continue what they have begun
        again = launch.is_main and launch.restarts > 0 and _was_begun_by(out, processes.launcher)
        again = bool(processes.broadcast_numbers([again])[0])
        if launch.is_main:
            if launch.restarts:
                refuse_fold_folder(out, resume=resume or again, force=force)
            new_folder(out, force=True)
            stack.enter_context(lock(out))
            if divided and not again:
                begin_folds(out, start, divided.model_copy(update={"launcher": processes.launcher}))
            else:
                continue_folds(start, out, folds, over, refit=refit)
        processes.wait_for_all()
        content = read_folds(out)
        if stage:
            stack.enter_context(stage_inputs(start, on_copy=on_run))
        stack.enter_context(cpu_threads(start.threads))
        stack.enter_context(use(start.ops, source=f"--ops {start.ops}"))
        shared: dict[str, Any] = {
            "resume": resume or again,
            "log": log,
            "processes": processes,
            "on_run": on_run,
            **others,
        }
        runs = train_fold_runs(start, out, content, **shared)
        predicted = predict_out_of_fold(
            start.recipe, start.inputs, out, content, start.recipe.device, processes=processes
        )
        processes.wait_for_all()

    from statistics import median_high

    from abawkit.training.run import Trained
    from abawkit.training.validation import compute_selection_score

    own = runs[: content.folds]
    chosen = predicted.scores.get(start.recipe.select, predicted.scores["official"])
    return Trained(
        out,
        median_high(run.best_epoch or 0 for run in own),
        compute_selection_score(chosen, predicted.tasks),
        predicted.tasks,
        predicted.scores,
        sum(run.seconds or 0 for run in runs),
        folds=tuple(own),
        folds_over=content.over,
        refit=runs[content.folds] if content.refit else None,
        probabilities=predicted.probabilities,
        sequence=start.recipe.is_sequence,
    )


def _was_begun_by(out: Path, launcher: str) -> bool:
    from abawkit.training.fold_folder import is_fold_folder, read_folds

    return is_fold_folder(out) and read_folds(out).launcher == launcher


def _fill_in(given: Mapping[str, Any], out: Path, begun: "FoldsContent | None") -> dict[str, Any]:
    """The arguments, and for those that are not given what the folds were begun with."""
    if begun is None:
        return dict(given)
    from abawkit.run_names import RECIPE
    from abawkit.training.start import refuse_moved

    filled = dict(given)
    refuse_moved(
        None if filled["data"] else Path(begun.data.folder),
        [] if filled["frames"] else [Path(folder) for folder in begun.frames or ()],
        [] if filled["features"] else [Path(folder) for folder in begun.features],
    )
    if not filled["frames"] and begun.frames:
        filled |= {"frames": [Path(folder) for folder in begun.frames], "follow_links": begun.follow_links}
    filled["recipe"] = filled["recipe"] or str(out / RECIPE)
    filled["data"] = filled["data"] or Path(begun.data.folder)
    filled["weights"] = filled["weights"] or (Path(begun.weights) if begun.weights else None)
    filled["features"] = filled["features"] or [Path(folder) for folder in begun.features]
    filled["threads"] = filled["threads"] or begun.threads
    filled["ops"] = filled["ops"] or begun.ops
    return filled
