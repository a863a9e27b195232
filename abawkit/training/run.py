"""A training run from start to end: builds it, resumes it, and writes its folder."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abawkit.choices import TRACKERS, FoldsOver, Protocol, TrackerName
from abawkit.curation.curated_set import CuratedSet
from abawkit.errors import DataError
from abawkit.labels import Task
from abawkit.models.devices import use_deterministic_algorithms, use_exact_float32
from abawkit.run_names import MANIFEST, RECIPE, TIMING
from abawkit.scoring.score import Score
from abawkit.system.files import write_bytes
from abawkit.system.signals import Stop, stop_on_signals
from abawkit.training.build import build_loop, find_operators
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.checkpoint_state import read_run_state
from abawkit.training.data import FramedRows
from abawkit.training.distributed import ALONE, Distributed, join_processes
from abawkit.training.folds import VideoFold, open_training_set
from abawkit.training.goodput import Goodput, WallClock
from abawkit.training.learner import BaseLearner
from abawkit.training.loop import Loop
from abawkit.training.recipe import Recipe
from abawkit.training.resume import check_same_run, find_begun_run, find_checkpoint
from abawkit.training.run_folder import RunDrawer, clear_run, run_folder, write_manifest
from abawkit.training.run_summary import RunSummary
from abawkit.training.sequence_data import SequenceRows, describe_stores
from abawkit.training.start import Inputs, Resume, Start
from abawkit.training.trackers import Trackers
from abawkit.training.watchdog import end_if_hung


@dataclass
class Trained:
    """The result of a run.

    Attributes:
        out: Its folder.
        best_epoch: Epoch of ``best.safetensors``, from 1.
        best_score: Its selection score: the sum of the trained tasks' parts of the score under the recipe's protocol.
        tasks: The trained tasks, which had labels and a gradient.
        scores: Its scores by protocol.
        seconds: Wall time of the run, over all its processes, without the time between them.
        goodput: Where that went.
        sequence: Whether it is a sequence network, which reads features to predict, too.
        resumed: The checkpoint that this process continued from, if it did.
        folds: Of networks by folds, what each came to. `out` is the folder of the folds then, `best_epoch` the median
            of the best epochs, and `scores` are those of all rows, each by the network that has not seen its clip.
        folds_over: The rows that the folds divide; None without folds.
        refit: What the network on all rows came to, where there is one.
        probabilities: The out-of-fold probabilities (``.npz``); None without folds.
    """

    out: Path
    best_epoch: int
    best_score: float
    tasks: tuple[Task, ...] = ()
    scores: dict[Protocol, Score] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: Path | None = None
    folds: tuple[RunSummary, ...] = ()
    folds_over: FoldsOver | None = None
    refit: RunSummary | None = None
    probabilities: Path | None = None
    goodput: Goodput | None = None
    sequence: bool = False


def train(
    recipe: Recipe,
    inputs: Inputs,
    out: Path,
    *,
    resume: Resume | None = None,
    processes: Distributed = ALONE,
    stopping: AbstractContextManager[Stop] | None = None,
    deadline: float | None = None,
    hang_timeout: float | None = None,
    callbacks: Callbacks = Callbacks(),  # noqa: B008 - it is immutable
) -> Trained:
    """Trains a network and writes a run folder.

    The folder holds ``recipe.toml`` (resolved), ``manifest.json``, ``metrics.jsonl`` (a line an epoch),
    ``best.safetensors``, ``last.safetensors`` and ``checkpoints/``. The same recipe, inputs, versions, threads and
    implementation of the operator give the same weights on the same machine, interrupted and resumed or not. On GPUs
    this holds by `use_deterministic_algorithms`.

    Args:
        recipe: The recipe.
        inputs: Data, and weights to start from.
        out: An existing folder that no other run writes to.
        resume: Continues the run in the folder, if there is one; None replaces it.
        processes: Among which each batch is divided.
        stopping: Gives a flag that is checked after each step: if it is set, the run saves a checkpoint and ends. It is
            entered after all preparations, as there is nothing to save before.
        deadline: Of `time.monotonic`, from which on the run saves a checkpoint and ends; None for no limit.
        hang_timeout: Seconds without the end of a batch, a step, a part of a validation or a checkpoint after which the
            process ends at once; see `abawkit.training.watchdog`. None for no limit.
        callbacks: Functions that the run calls.

    Raises:
        ConfigError: If the network or the device is not available, memory is short, or the recipe or the environment
            of a continued run differ.
        DataError: If the curated set, the weights or the checkpoints are invalid, losses are not finite, or the disk is
            full.
        OpUnavailableError: If an implementation was requested by name and can't run here.
        StoppedError: If the flag was set, the time is up, or there is a file ``STOP`` in the folder.
    """
    began = time.monotonic()
    with use_deterministic_algorithms(recipe.device), use_exact_float32():
        curated = open_training_set(inputs.data, inputs.fold)
        loop = build_loop(recipe, inputs, curated, out, processes=processes, callbacks=callbacks)
        loop.clock = WallClock(began)
        finished = False
        checkpoint = find_checkpoint(out, processes) if resume else None
        if checkpoint is None:
            recipe.check_start(inputs.weights)
        if checkpoint and resume:
            state = read_run_state(checkpoint)
            # only the first process checks: others may have another GPU, and had it before
            drift = check_same_run(state, loop.notes, resume.allow_drift, out) if processes.is_main else []
            loop.restore(checkpoint, state)
            finished = loop.finished
            loop.progress.resumed.append({"from": checkpoint.position.name, "drift": drift})
        elif processes.is_main:
            check_room(out, loop.learner)
            clear_run(out)
            write_bytes(out / RECIPE, loop.recipe.to_toml().encode())
        loop.clock.charge("start")
        loop.save()
        loop.finish_save()  # from here on this run can be continued
        loop.requests.deadline = deadline
        watched = end_if_hung(hang_timeout, loop.clock, out, lambda: loop.progress.steps)
        with stopping or nullcontext(Stop()) as loop.requests.signals, watched, loop.writer:
            loop.run()
        trained = _collect_result(loop, out, checkpoint.folder if checkpoint else None)
        if processes.is_main:
            if not (finished and (out / MANIFEST).is_file()):
                _finish_run(loop, trained, curated, inputs.fold)
                if callbacks.on_end:
                    callbacks.on_end()
            (out / TIMING).unlink(missing_ok=True)
    return trained


def run_training(
    start: Start,
    out: Path,
    *,
    resume: bool,
    allow_drift: bool,
    force: bool,
    log: Sequence[TrackerName] = (),
    max_minutes: float | None = None,
    hang_timeout: float | None = None,
    on_step: Callable[[StepInfo], None] | None = None,
    on_epoch: Callable[[dict[str, Any], int], None] | None = None,
    draw: Callable[[Path], RunDrawer] | None = None,
) -> Trained:
    """Trains in a folder that is made, or taken up, for it; signals end the run after a step.

    Args:
        start: From `abawkit.training.start.prepare_start`.
        out: The run's folder.
        resume: Whether it may hold a run, which is continued.
        allow_drift: Whether the run may go on under other conditions; see `Resume`.
        force: Whether the folder may hold a run, which is replaced.
        log: Trackers that the first process logs to.
        max_minutes: The run saves a checkpoint and ends this long after the call; None for no limit.
        hang_timeout: Seconds without progress after which a process ends at once; see `train`.
        on_step: Called in the first process after each step.
        on_epoch: Called in the first process with each line of ``metrics.jsonl`` and the number of epochs.
        draw: Gives what draws into the folder, in the first process; None for no pictures and no report.

    Raises:
        AbawkitError: As `train`; a `ConfigError` too if the folder can't be taken.
    """
    recipe, callbacks = start.recipe, Callbacks()
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    with ExitStack() as last, ExitStack() as stack:
        stack.enter_context(use_deterministic_algorithms(recipe.device))  # before anything is computed
        processes = stack.enter_context(join_processes(recipe.device, hang_timeout))
        described = (start.recipe.to_toml(), start.inputs, out.absolute())
        processes.refuse_differences(described, "recipes, inputs or --out")
        again = resume or find_begun_run(out, processes)
        find_operators(recipe, processes)  # ends here if it can't run, before there is a folder
        if processes.is_main:
            stack.enter_context(run_folder(out, resume=again, force=force))
            names = [name for name in TRACKERS if name in log]
            trackers = stack.enter_context(Trackers(names, out, recipe.model_dump(mode="json"), resumed=again))
            epochs = recipe.heads.epochs + recipe.all.epochs
            callbacks = _make_callbacks(trackers, on_step, on_epoch, epochs, draw(out) if draw else None)
        return train(
            recipe,
            start.inputs,
            out,
            resume=Resume(allow_drift) if again else None,
            processes=processes,
            stopping=_enter_in(last, stop_on_signals()),
            deadline=deadline,
            hang_timeout=hang_timeout,
            callbacks=callbacks,
        )


@contextmanager
def _enter_in(stack: ExitStack, context: AbstractContextManager[Stop]) -> Iterator[Stop]:
    """A context that is left with the stack: a second signal mustn't disturb what is closed after a stopped run."""
    yield stack.enter_context(context)


def _make_callbacks(
    trackers: Trackers,
    on_step: Callable[[StepInfo], None] | None,
    on_epoch: Callable[[dict[str, Any], int], None] | None,
    epochs: int,
    drawer: RunDrawer | None,
) -> Callbacks:
    def log_step(info: StepInfo) -> None:
        if on_step:
            on_step(info)
        losses = {f"losses/{name}": value for name, value in info.losses.items()}
        rates = {"learning_rate": info.learning_rate, "images_per_second": info.images_per_second}
        trackers.log({**losses, **rates}, info.steps)

    def log_epoch(line: dict[str, Any]) -> None:
        if on_epoch:
            on_epoch(line, epochs)
        scores = {f"validation/{p}/{k}": v for p in ("official", "strict") for k, v in line.get(p, {}).items()}
        scored = {name: value for name, value in scores.items() if value is not None}
        trackers.log({**scored, "validation/figure": line["figure"]}, line["steps"])
        if drawer:
            drawer.show_results()

    if drawer is None:
        return Callbacks(log_step, log_epoch)
    return Callbacks(log_step, log_epoch, drawer.show_batch, drawer.write_report)


def check_room(out: Path, learner: BaseLearner[Any]) -> None:
    """Refuses a disk with less free space than the checkpoints and weights of a run take.

    Raises:
        DataError: If there is not enough space.
    """
    size = sum(value.nbytes for value in learner.network.state_dict().values())
    copies = 4 + bool(learner.average)  # the weights, two moments of the optimiser, the best ones, the moving average
    needed = ((learner.recipe.checkpoints.keep + 1) * copies + 3) * size  # best and last, and one being written
    free = shutil.disk_usage(out).free
    if free < needed:
        raise DataError(f"{out}: {free / 1e6:.1f} MB free, and a run takes {needed / 1e6:.1f} MB; make room")


def _collect_result(loop: Loop, out: Path, resumed: Path | None) -> Trained:
    progress = loop.progress
    if not progress.best_epoch:
        raise DataError("no epoch ended with a finite score; nothing was kept as the best")
    scores: dict[Protocol, Score] = {result["protocol"]: Score(**result) for result in progress.scores.values()}
    trained = tuple(progress.trained)
    return Trained(
        out,
        progress.best_epoch,
        progress.best_score,
        trained,
        scores,
        progress.seconds,
        resumed,
        goodput=loop.clock.get_goodput(),
        sequence=loop.recipe.is_sequence,
    )


def _finish_run(loop: Loop, trained: Trained, curated: CuratedSet, fold: VideoFold | None) -> None:
    scores = {str(protocol): result.report() for protocol, result in trained.scores.items()}
    content: dict[str, Any] = {
        "tasks": list(trained.tasks),
        **({"fold": {**fold.as_dict(), "validated_on": fold.describe_validation()}} if fold else {}),
        "rows": {"train": len(loop.rows), "validation": len(loop.validation)},
        "weights": loop.notes["weights"],
        **_count_frames(loop),
        "frames_on_gpu": loop.learner.resident is not None,
        "stored_embeddings": loop.learner.embeds,
        "best": {
            "epoch": trained.best_epoch,
            "figure": trained.best_score,
            "selected_by": "last epoch" if loop.keep_last else loop.recipe.select,
            **scores,
        },
        "checkpoints": loop.progress.digests,
        "steps": loop.progress.steps,
        "resumed": loop.progress.resumed,
        "seconds": round(trained.seconds, 1),
        "goodput": loop.clock.get_goodput().as_dict(),
    }
    stores = loop.rows.features.stores if isinstance(loop.rows, SequenceRows) else filter(None, [loop.learner.store])
    features = describe_stores([*stores])
    write_manifest(trained.out, curated, loop.notes["environment"], content, features)


def _count_frames(loop: Loop) -> dict[str, Any]:
    """Formats and sizes of image files by split; nothing for packed frames, whose ledger has them, and features."""
    splits = {"train": loop.rows, "validation": loop.validation}
    framed = {split: rows for split, rows in splits.items() if isinstance(rows, FramedRows)}
    counts = {split: rows.counts.as_dict() for split, rows in framed.items() if rows.counts}
    return {"frames": counts} if counts else {}
