"""Training and prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from abawkit.api._arguments import Progress, StrPath, as_assignments, as_list, as_paths, warn
from abawkit.choices import FoldsOver, InferencePrecision, Missing, Split, TrackerName
from abawkit.claims import claim_prediction, claim_probabilities, hold_claims
from abawkit.errors import ConfigError, format_count, printable

if TYPE_CHECKING:  # they take longer to import than all that is refused before they are needed
    from abawkit.prediction.predict import Predicted
    from abawkit.reports.leaderboard import Leaderboard
    from abawkit.training.callbacks import StepInfo
    from abawkit.training.run import Trained


_DAY: Final = 86_400


@hold_claims()
def train(
    recipe: StrPath | None,
    data: StrPath | None,
    out: StrPath,
    *,
    changes: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    tasks: str | Sequence[str] = (),
    weights: StrPath | None = None,
    frames: StrPath | Sequence[StrPath] | None = None,
    follow_links: bool = False,
    features: StrPath | Sequence[StrPath] | None = None,
    folds: int | None = None,
    folds_over: FoldsOver | None = None,
    refit: bool = False,
    resume: bool = False,
    allow_drift: bool = False,
    log: Sequence[TrackerName] = (),
    max_minutes: float | None = None,
    hang_timeout: float | None = None,
    stage: bool = False,
    ops: str | None = None,
    threads: int | None = None,
    with_frames: bool = False,
    force: bool = False,
    on_run: Callable[[str], None] | None = None,
    on_step: Callable[[StepInfo], None] | None = None,
    on_epoch: Callable[[dict[str, Any], int], None] | None = None,
) -> Trained:
    """Trains a network on a curated set, and leaves the folder of a run, with pictures of its progress and a report.

    The first Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 ends it after a step, with all that is needed to continue, and
    so does a file ``STOP`` in `out`. Of the processes that
    ``torchrun`` starts, the first one writes and calls back.

    Args:
        recipe: The name of one that comes with abawkit, as ``"demo"``, or a TOML file; None with `resume` for that of
            the run.
        data: The curated set; None with `resume` for that of the run.
        out: Folder for the run.
        changes: Keys of the recipe to change, as ``{"all.epochs": 4, "losses.au": 0.5}``.
        seed: Random seed, instead of the recipe's.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``, instead of the recipe's.
        tasks: The only tasks to train, of ``"va"``, ``"expression"`` and ``"au"``, instead of the recipe's.
        weights: Weights to start from: a file, the folder of a run, or published ones (``.pth``).
        frames: Folders of image files to decode, instead of the packed frames.
        follow_links: Whether symbolic links may lead out of the folders of frames.
        features: Stores of features, as ``abawkit features`` writes them, for a sequence network; or one of the weights
            to start from, for a first stage that is not augmented: no frame passes the frozen network then.
        folds: Train so many networks, 2 to 100, each on the videos of all folds but one, and store the out-of-fold
            probabilities of all rows; `out` gets a run for each.
        folds_over: The rows that the folds divide: ``"train"`` (the default), or ``"train+validation"``.
        refit: Whether a network is trained on all of these rows, too, for the median of the folds' best epochs.
        resume: Whether the run in `out` goes on, bit for bit, if there is one.
        allow_drift: With `resume`: under other versions, threads or hardware too.
        log: Trackers to log to, of ``"tensorboard"``, ``"mlflow"`` and ``"wandb"``; each is an extra.
        max_minutes: The run ends so many minutes after this call, with all that is needed to continue.
        hang_timeout: Ends the process (exit code 76, no exception) when no batch, step, part of a validation or
            checkpoint ends for so many seconds, and writes the stacks of its threads on standard error.
        stage: Whether packed frames and features are copied to the folder for temporary files (``TMPDIR``) first, and
            read from there; the copies are removed at the end. For data on a file system of other machines.
        ops: Implementation of the attention, as ``abawkit ops`` lists; by default the best.
        threads: CPU threads; by default as many as there are processors.
        with_frames: Whether the report shows validation frames beside what attention heads look at; those of a
            synthetic release it always does. A data set's terms are then those of the report.
        force: Whether a run in `out` is replaced.
        on_run: Called with the name of each run of `folds` before it begins, and with what `stage` is about to copy.
        on_step: Called after each step with where the run is.
        on_epoch: Called after each epoch with its line of ``metrics.jsonl`` and the number of epochs.

    Returns:
        The best epoch, and its scores on the validation split; with `folds`, what each came to, and out-of-fold scores.

    Raises:
        ConfigError: If the recipe or an argument can't be used, or `out` can't be written.
        DataError: If the curated set, weights or checkpoints are absent or damaged, or losses stop being finite.
        OpUnavailableError: If `ops` can't run here.
        StoppedError: If a signal, `max_minutes` or a file ``STOP`` ended it.

    Example:
        >>> run = abawkit.train("demo", "curated", "runs/a", changes={"all.epochs": 1}, seed=1)
        >>> run.best_epoch, sorted(path.name for path in run.out.glob("*.safetensors"))
        (1, ['best.safetensors', 'last.safetensors'])
    """
    if resume and force:
        raise ConfigError("--resume continues a run and --force replaces it; give one of them")
    if allow_drift and not resume:
        raise ConfigError("--allow-drift goes with --resume")
    if max_minutes is not None and not 0 < max_minutes < math.inf:
        raise ConfigError(f"--max-minutes {max_minutes:g}: expected a number above 0")
    if hang_timeout is not None and not 0 < hang_timeout <= _DAY:
        raise ConfigError(f"--hang-timeout {hang_timeout:g}: expected seconds above 0, and {_DAY:,} (a day) at most")
    from abawkit.reports.run_pictures import RunPictures
    from abawkit.training.fold_folder import is_fold_folder
    from abawkit.training.start import prepare_start

    folder = Path(out)
    given: dict[str, Any] = {
        "recipe": str(recipe) if recipe is not None else None,
        "data": Path(data) if data is not None else None,
        "changes": as_assignments(changes),
        "seed": seed,
        "device": device,
        "tasks": as_list(tasks),
        "weights": Path(weights) if weights is not None else None,
        "frames": as_paths(frames),
        "follow_links": follow_links,
        "features": as_paths(features) or [],
        "ops": ops,
        "threads": threads,
    }
    shared: dict[str, Any] = {
        "resume": resume,
        "allow_drift": allow_drift,
        "force": force,
        "log": log,
        "max_minutes": max_minutes,
        "hang_timeout": hang_timeout,
        "on_step": on_step,
        "on_epoch": on_epoch,
        "draw": partial(RunPictures, with_frames=with_frames),
    }
    if folds is not None or (resume and is_fold_folder(folder)):
        from abawkit.api._folds import train_by_folds

        return train_by_folds(given, folder, folds, folds_over, refit=refit, stage=stage, on_run=on_run, **shared)
    if folds_over or refit:
        option = "--refit" if refit else "--folds-over"
        raise ConfigError(
            f"{folder}: holds no folds; {option} goes with --folds" if resume else f"{option} goes with --folds"
        )
    start = prepare_start(**given, out=folder, resume=resume, force=force, log=log)
    from abawkit.execution import cpu_threads
    from abawkit.ops import use
    from abawkit.training.run import run_training
    from abawkit.training.staging import stage_inputs

    staged = stage_inputs(start, on_copy=on_run) if stage else nullcontext()
    with staged, cpu_threads(start.threads), use(start.ops, source=f"--ops {start.ops}"):
        return run_training(start, folder, **shared)


def leaderboard(folders: StrPath | Sequence[StrPath] | None = None) -> Leaderboard:
    """Lists everything that was trained below some folders.

    Args:
        folders: Folders that runs are in; None for ``runs``.

    Returns:
        The finished results, the best first, and then those that are unfinished or broken; ``to_frame()`` is a table of
        them, which notebooks show. Scores of different ``scored_on`` are of different rows, and not comparable.

    Raises:
        DataError: If a folder is absent.

    Example:
        >>> best, *others = abawkit.leaderboard("runs")
        >>> best.state
        'finished'
    """
    from abawkit.reports.leaderboard import list_results

    return list_results(as_paths(folders) or [Path("runs")])


@hold_claims()
def predict(
    checkpoints: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    frame_list: StrPath | None = None,
    frames: StrPath | Sequence[StrPath] | None = None,
    follow_links: bool = False,
    features: StrPath | Sequence[StrPath] | None = None,
    split: Split | None = None,
    data: StrPath | None = None,
    format_name: str = "abaw7",
    frame_counts: StrPath | None = None,
    rule: StrPath | None = None,
    missing: Missing = "refuse",
    probabilities: StrPath | None = None,
    device: str = "auto",
    precision: InferencePrecision = "float32",
    ops: str | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Averages the probabilities of trained networks and writes the official file, row for row.

    The rows are those of `frame_list` with the images in `frames`, all images of `frames`, or the `split` of `data`.
    Sequence networks read `features` in place of frames; where all networks are such, a list needs no `frames`.

    Args:
        checkpoints: Folders of runs (their best epoch) or of folds (all of them), or files of weights.
        out: The submission to write: a file, or a folder where the format asks for one. The probabilities (``.npz``)
            and a manifest (``.json``) go beside it.
        frame_list: The list to answer, as released; without it, all images of `frames` in natural order.
        frames: Folders of the frames; they are searched in this order.
        follow_links: Whether symbolic links may lead out of the folders of frames.
        features: Stores of features, which sequence networks read in place of frames.
        split: ``"train"`` or ``"validation"`` of the curated set `data`.
        data: The curated set.
        format_name: Format of the submission, as ``abawkit check --help`` lists.
        frame_counts: Frames of each video, for formats with one file per video.
        rule: Weights, smoothing and calibration, as `tune` writes them.
        missing: ``"refuse"`` frames that can't be read, or answer them as the nearest frame of the video
            (``"neighbour"``).
        probabilities: Write the probabilities here too, as ``.npz``, ``.csv`` or ``.parquet``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``.
        precision: ``"float32"``, or ``"bfloat16"``, which is faster where the device has instructions for it.
        ops: Implementation of the attention, as ``abawkit ops`` lists; by default the best.
        threads: CPU threads; by default as many as there are processors.
        force: Whether what is at `out` is replaced.
        progress: Called with the number of frames done and the number to do.

    Returns:
        What was written.

    Raises:
        ConfigError: If an argument can't be used, or `out` can't be written.
        DataError: If networks, list or frames are absent or not what they must be.
        OpUnavailableError: If `ops` can't run here.

    Example:
        >>> written = abawkit.predict("runs/a", "validation.txt", split="validation", data="curated")
        >>> written.rows, written.probabilities.name
        (50, 'validation.npz')
    """
    from abawkit.execution import refuse_device, refuse_operator
    from abawkit.formats.base import get_format
    from abawkit.formats.frame_counts import apply_frame_counts
    from abawkit.frames.paths import make_given_folders
    from abawkit.postprocessing.outputs import list_outputs
    from abawkit.postprocessing.rule_file import read_rule
    from abawkit.prediction.sources import expand_folds, find_frames, refuse_absent_networks
    from abawkit.probabilities.members import copy_probabilities

    if precision not in get_args(InferencePrecision):
        raise ConfigError(
            f"precision '{printable(str(precision))}': expected {' or '.join(get_args(InferencePrecision))}"
        )
    networks, submission, folders = as_paths(checkpoints) or [], Path(out), as_paths(frames)
    stores = as_paths(features) or []
    listed, curated, counts, fitted, table = (
        Path(path) if path is not None else None for path in (frame_list, data, frame_counts, rule, probabilities)
    )
    plugin = apply_frame_counts(get_format(format_name), counts)
    read = [path for path in (*networks, listed, *(folders or []), *stores, curated, counts, fitted) if path]
    claim_prediction(submission, plugin.container, force=force, inputs=read)
    if table:
        claim_probabilities(table, force=force, inputs=read, others=list_outputs(submission))
    applied = read_rule(fitted) if fitted else None
    if follow_links and not folders:
        raise ConfigError("--follow-links goes with --frames: packed frames have no links")
    given = make_given_folders(folders, follow_links)
    refuse_operator(ops)
    refuse_device(device)
    networks = expand_folds(networks)
    refuse_absent_networks(networks)
    source = find_frames(listed, given, split, curated, plugin, features=bool(stores))

    from abawkit.execution import cpu_threads
    from abawkit.ops import use
    from abawkit.prediction import predict as prediction

    with cpu_threads(threads), use(ops, source=f"--ops {ops}"):
        result = prediction.predict(
            networks,
            source,
            submission,
            plugin,
            features=stores,
            rule=applied,
            missing=missing,
            device=device,
            precision=precision,
            force=force,
            progress=progress,
        )
    if table:
        copy_probabilities(result.probabilities, table)
    for row, other in list(result.filled.items())[:10]:
        warn(f"row {row + 1:,} ({source.images[row]}) has no frame; it is answered as {source.images[other]}")
    if len(result.filled) > 10:
        more = format_count(len(result.filled) - 10, "more row")
        warn(f"... and {more}; {result.manifest.name} names them all")
    return result
