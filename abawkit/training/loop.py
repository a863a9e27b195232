"""The training loop: the epochs of two stages, validation after each, and checkpoints that resume it bit for bit."""

import json
import math
import shlex
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from abawkit.errors import DataError, DataWarning, StoppedError, printable
from abawkit.labels import TASKS, Task
from abawkit.models.devices import to_host
from abawkit.models.inference import BATCH
from abawkit.models.weights import digest_state, save_weights
from abawkit.run_names import BEST, LAST, METRICS, TIMING
from abawkit.system.files import write_bytes
from abawkit.system.launcher import read_launch
from abawkit.tables import Array
from abawkit.training.batches import HostBatch
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.checkpoint import Checkpoint, Position
from abawkit.training.checkpoint_writer import CheckpointWriter, Snapshot, restore_best
from abawkit.training.data import TrainingRows, prefetch
from abawkit.training.goodput import Activity, WallClock
from abawkit.training.learner import BaseLearner, Scheduled, explain_out_of_memory
from abawkit.training.progress import Progress, restore_generators
from abawkit.training.step import StepLosses
from abawkit.training.stopping import OTHER_PROCESS, StopReason, StopRequests
from abawkit.training.supervision import describe_tasks
from abawkit.training.validation import compute_selection_score, evaluate, list_class_scores, summarise_score

BAD_STEPS: Final = 5
"""Consecutive steps without a finite loss after which a run ends: one can be a bad batch, five are a bad run."""


class _PendingStep(NamedTuple):
    """A step whose losses have not been read yet."""

    position: Position
    rows: Array
    learning_rate: float
    losses: StepLosses


@dataclass
class _Clock:
    """When this process began the epoch, the epoch's seconds before that, and the images since."""

    began: float
    before: float
    seen: int = 0


class Loop:
    """The state of a run: its next step depends only on `progress` and the learner."""

    def __init__(
        self,
        learner: BaseLearner[Any],
        validation: TrainingRows,
        out: Path,
        *,
        notes: Mapping[str, Any],
        callbacks: Callbacks,
        scored: Sequence[Task] = TASKS,
        keep_last: bool = False,
    ) -> None:
        """Takes what `abawkit.training.build.build_loop` builds; with `keep_last`, the last epoch is kept as best."""
        self.learner, self.validation, self.out = learner, validation, out
        self.notes, self.callbacks, self.requests = notes, callbacks, StopRequests(out)
        self.recipe, self.rows, self.processes = learner.recipe, learner.rows, learner.processes
        self.progress, self.scored, self.keep_last = Progress(), tuple(scored), keep_last
        self.clock, self.writer = WallClock(time.monotonic()), CheckpointWriter()
        stages = (("heads", self.recipe.heads), ("all", self.recipe.all))
        self.plan = [Scheduled(name, stage, i) for name, stage in stages for i in range(stage.epochs)]

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left."""
        return self.progress.position.epoch >= len(self.plan)

    def run(self) -> None:
        """Runs from the present position to the end.

        Raises:
            StoppedError: If it was stopped before its end; a checkpoint was saved.
            ConfigError: If there is not enough memory for a step.
            DataError: If losses or predictions are not finite, or the disk is full.
        """
        if not self.finished:
            self.end_if_stopped()
        while not self.finished:
            scheduled = self.plan[self.progress.position.epoch]
            fresh = scheduled.within == 0 and self.progress.position.batch == 0
            self.progress.stale = 0 if fresh else self.progress.stale
            self.learner.begin_epoch(scheduled, fresh=fresh, between=lambda: self.pass_chunk("start"))
            self.charge("start")
            batches = self.batches(self.progress.position.epoch)
            if self.progress.position.batch < len(batches):
                self.train_epoch(scheduled, batches)
            self.validate(scheduled, len(batches))
            self.processes.warn_if_slow(self.progress.position.epoch + 1)
            self.progress.end_epoch()
            if 0 < self.recipe.patience <= self.progress.stale and scheduled.name == "all":
                self.progress.position = Position(len(self.plan), 0)
            self.save()
            self.end_if_stopped(save=False)
        self.finish_save()

    def batches(self, epoch: int) -> Sequence[Array]:
        """The batches of an epoch, each for all processes."""
        return self.learner.plan_epoch(epoch)

    def train_epoch(self, scheduled: Scheduled, batches: Sequence[Array]) -> None:
        """Trains on the batches of an epoch that are left."""
        progress = self.progress
        epoch, start = progress.position
        clock = _Clock(time.monotonic(), progress.epoch_seconds)
        pending: deque[_PendingStep] = deque()

        def read(batch: Array) -> HostBatch:
            return self.learner.collect(epoch, batch, self.processes.part(batch))

        for i, (_, batch) in enumerate(prefetch(read, batches, start), start):
            self.charge("data")
            if not (epoch or i):
                self.show_batch(batch)
            rate = scheduled.learning_rate(self.recipe.schedule, i, len(batches))
            pending.append(_PendingStep(Position(epoch, i + 1), batch.rows, rate, self.learner.step(rate, batch)))
            more = i + 1 < len(batches)
            due = more and (progress.steps + len(pending)) % self.recipe.checkpoints.every == 0
            while len(pending) > (self.learner.unread if more and not due else 0):
                self.count(scheduled, pending.popleft(), clock)
            self.charge("steps")
            self.writer.check()
            if due:
                self.save()
            if reason := self.find_stop():
                while pending:
                    self.count(scheduled, pending.popleft(), clock)
                self.end(reason)

    def show_batch(self, batch: HostBatch) -> None:
        """Calls `Callbacks.on_batch`."""
        if self.callbacks.on_batch and self.processes.is_main and (frames := self.learner.augment_some(batch)):
            self.callbacks.on_batch(frames)
            self.charge("other")

    def charge(self, activity: Activity) -> None:
        """Counts the wall time since the last call as that of an activity."""
        self.clock.charge(activity)
        if self.processes.is_main:
            self.clock.write(self.out / TIMING, self.progress.steps)

    def pass_chunk(self, activity: Activity = "validation") -> None:
        """Called between two parts of a validation, or of another activity."""
        self.charge(activity)
        self.writer.check()
        self.end_if_stopped()

    def count(self, scheduled: Scheduled, step: _PendingStep, clock: _Clock) -> None:
        """Reads the losses of a step and adds it to the progress.

        Raises:
            DataError: If this was one step too many without a finite loss. A GPU may have begun another one by then,
                which is not kept.
        """
        losses, rows, progress = step.losses.read(), len(step.rows), self.progress
        progress.position = step.position
        progress.steps, progress.done, clock.seen = progress.steps + 1, progress.done + rows, clock.seen + rows
        passed = time.monotonic() - clock.began
        progress.epoch_seconds = clock.before + passed
        if math.isnan(losses["total"]):
            progress.bad += 1
            self.refuse_bad(step.rows)
            return
        progress.bad, progress.counted = 0, progress.counted + rows
        for key, value in losses.items():
            progress.sums[key] = progress.sums.get(key, 0.0) + value * rows
        self.report_step(scheduled, clock.seen / max(passed, 1e-9), step.learning_rate, losses)

    def report_step(self, scheduled: Scheduled, speed: float, learning_rate: float, losses: dict[str, float]) -> None:
        """Calls `Callbacks.on_step`."""
        if self.callbacks.on_step and self.processes.is_main:
            progress, epochs = self.progress, len(self.plan)
            steps = epochs * -(-len(self.rows) // self.recipe.batch_size)
            total = steps, progress.done, epochs * len(self.rows)
            at = (progress.position.epoch + 1, epochs, progress.steps, *total)
            self.callbacks.on_step(StepInfo(scheduled.name, *at, speed, learning_rate, losses))

    def refuse_bad(self, batch: Array) -> None:
        """Ends a run after too many steps without a finite loss, naming the frames of the last one."""
        bad = self.progress.bad
        if bad < min(BAD_STEPS, -(-len(self.rows) // self.recipe.batch_size)):
            return
        names = ", ".join(printable(name) for name in self.rows.annotations.images.take(batch[:10]).to_pylist())
        raise DataError(
            f"the loss or its gradient was not finite in {bad} steps in a row, the last with {names}, ...\n"
            f"lower the learning rate, or set optimizer.clip; {self.describe_kept()}"
        )

    def describe_kept(self) -> str:
        """The files that a failed run keeps, for messages."""
        if best := self.progress.best_epoch:
            return f"checkpoints are kept, and {BEST} of epoch {best}"
        return "checkpoints are kept; no epoch has been scored, so that there is no best one yet"

    def note_trained(self) -> tuple[Task, ...]:
        """Records the tasks whose heads had a gradient; returns those that validation can score.

        Raises:
            DataError: If there is none.

        Warns:
            DataWarning: If a head had no gradient in the first epoch: it counts as not trained.
        """
        progress = self.progress
        seen = {*progress.trained, *self.learner.trained_tasks()}
        progress.trained = [task for task in self.recipe.tasks if task in seen]
        idle = tuple(task for task in self.recipe.tasks if task not in seen)
        scored = tuple(task for task in self.scored if task in seen)
        text = f"no step of epoch {progress.position.epoch + 1} gave a gradient to the head of {describe_tasks(idle)}"
        advice = "each batch needs two annotated rows for valence and arousal: set a larger batch_size"
        if not scored:
            raise DataError(f"{text}; {advice}")
        if idle and not progress.position.epoch:
            warnings.warn(f"{text}: it counts as not trained until one does; {advice}", DataWarning, stacklevel=2)
        return scored

    def validate(self, scheduled: Scheduled, batches: int) -> None:
        """Scores the network after this epoch, records the scores, and saves the weights."""
        progress, tasks = self.progress, self.note_trained()
        network, device = self.learner.prepare_validation(), self.learner.device
        try:
            with explain_out_of_memory(f"validation, {BATCH[device.type]} frames at a time"):
                scores = evaluate(
                    network,
                    self.learner.select_validation(self.validation, self.pass_chunk),
                    device,
                    tasks=tasks,
                    processes=self.processes,
                    between=self.pass_chunk,
                )
        except DataError as error:
            raise DataError(f"{error}; {self.describe_kept()}") from error
        line: dict[str, Any] = {
            "epoch": progress.position.epoch + 1,
            "stage": scheduled.name,
            "losses": {key: value / progress.counted for key, value in progress.sums.items()},
            "learning_rate": scheduled.learning_rate(self.recipe.schedule, batches - 1, batches),
            "seconds": round(progress.epoch_seconds, 3),
            "images_per_second": round(len(self.rows) / max(progress.epoch_seconds, 1e-9), 1),
            "figure": compute_selection_score(scores[self.recipe.select], tasks),
            **{str(protocol): summarise_score(result) for protocol, result in scores.items()},
            "per_class": list_class_scores(scores[self.recipe.select]),
        }
        self.charge("validation")
        progress.history.append(json.dumps(line, allow_nan=False))
        better = self.keep_last or line["figure"] > progress.best_score
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_epoch, progress.best_score = line["epoch"], line["figure"]
            progress.scores = {str(protocol): result.as_dict() for protocol, result in scores.items()}
        if self.processes.is_main:
            self.finish_save()  # it may be reading the best weights, which are about to be replaced
            self.save_validated([LAST, BEST] if better else [LAST], line["figure"])
            self.write_metrics()
            if self.callbacks.on_epoch:
                self.callbacks.on_epoch({**line, "steps": progress.steps})

    def save_validated(self, names: Sequence[str], selection_score: float) -> None:
        """Writes the weights that were validated to files of these names."""
        network = self.learner.validated
        state = to_host(network.state_dict())
        notes = {
            "tasks": ",".join(self.progress.trained),
            "epoch": str(self.progress.position.epoch + 1),
            "figure": f"{selection_score:.6f}",
            "protocol": self.recipe.select,
        }
        for name in names:
            save_weights(self.out / name, network.config, state, notes)
            self.progress.digests[name] = digest_state(state)

    def find_stop(self) -> StopReason | None:
        """Why all processes must stop now, or None; the same exit code in all of them."""
        own = self.requests.find_reason()
        code = self.processes.find_largest(own.exit_code if own else 0)
        return StopReason(own.text if own else OTHER_PROCESS, code) if code else None

    def end_if_stopped(self, *, save: bool = True) -> None:
        """Saves and ends the run, in all processes, if one of them was asked to stop."""
        if reason := self.find_stop():
            self.end(reason, save=save)

    def end(self, reason: StopReason, *, save: bool = True) -> NoReturn:
        """Saves and ends the run.

        Raises:
            StoppedError: Always.
        """
        if save:
            self.save()
        self.finish_save()
        if self.processes.is_main:
            self.requests.file.unlink(missing_ok=True)  # it stops this run once, and not the one that continues it
        raise StoppedError(
            f"{reason.text} after step {self.progress.steps:,}; everything is kept: "
            f"continue with `{read_launch().command}abawkit train --resume --out {shlex.quote(str(self.out))}`",
            reason.exit_code,
        )

    def save(self) -> None:
        """Copies the state of the run, which is written as a checkpoint while the run goes on; see `finish_save`."""
        if not self.processes.is_main:
            return
        progress = self.progress
        self.finish_save()
        self.clock.note(progress)
        with explain_out_of_memory("the copy of a checkpoint"):
            snapshot = Snapshot.take(self.learner, progress, self.notes)
        self.clock.charge("checkpoints")
        self.clock.write(self.out / TIMING, progress.steps, due=True)
        self.writer.start(partial(snapshot.write, self.out, keep=self.recipe.checkpoints.keep))

    def finish_save(self) -> None:
        """Waits for the checkpoint that is being written, if there is one.

        Raises:
            DataError: If it could not be written.
        """
        self.clock.charge("other")
        self.writer.wait()
        self.clock.charge("checkpoints")

    def write_metrics(self) -> None:
        """Writes the whole of ``metrics.jsonl``, so that it never has lines beyond the run's position."""
        write_bytes(self.out / METRICS, "".join(f"{text}\n" for text in self.progress.history).encode())

    def restore(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        """Restores a checkpoint; files that were written after it are set back."""
        self.learner.restore(checkpoint, state)
        self.progress = Progress.from_dict(state["progress"])
        self.notes = {**self.notes, "weights": state["weights"]}
        restore_generators(state["generators"])
        if not self.processes.is_main:
            return
        self.clock.restore(self.progress, self.out / TIMING)
        restore_best(self.out, checkpoint)
        self.write_metrics()
