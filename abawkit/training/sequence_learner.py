"""The learner of a sequence network: batches of windows, and dropout that depends on seed and position only."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from abawkit.frames.augmentation_config import Purpose, draw_uniform
from abawkit.models.devices import pin_memory
from abawkit.models.sequence import Windows
from abawkit.models.sequence_windows import Spans, pad_windows
from abawkit.system.files import sha256
from abawkit.tables import Array
from abawkit.training.batches import HostBatch, pack_targets, unpack_targets
from abawkit.training.data import collect_targets
from abawkit.training.learner import BaseLearner
from abawkit.training.losses import Targets
from abawkit.training.sequence_data import SequenceRows
from abawkit.training.step import StepLosses


class SequenceLearner(BaseLearner[SequenceRows]):
    """Trains a sequence network in one process."""

    captures = False

    def plan_epoch(self, epoch: int) -> Sequence[Array]:
        """The batches of an epoch, int64 (windows, 2) each; see `SequenceRows.plan_epoch`."""
        recipe = self.recipe
        window = recipe.sequence.training_window
        return self.rows.plan_epoch(window, recipe.batch_size, seed=recipe.seed, epoch=epoch)

    def collect(self, epoch: int, batch: Array, part: Array) -> HostBatch:  # noqa: ARG002 - one process takes all
        """Reads the features of windows, and packs all else that a step needs; may run in a thread of its own.

        Args:
            epoch: Of the run, from 0.
            batch: Windows, int64 (windows, 2).
            part: The same.
        """
        recipe, features = self.recipe, self.rows.features
        rows, windows = self.rows.find_window_rows(batch)
        padded = pad_windows(features, self.rows.gaps, Spans(batch[:, 0], batch[:, 1]))
        if self.augmentation.flip:
            chance = draw_uniform(recipe.seed, epoch, batch[:, 0], Purpose.FLIP)
            turned = padded.mask & (chance < self.augmentation.flip)[:, None]
            frames = batch[:, :1] + np.arange(padded.mask.shape[1])
            padded.values[turned] = features.take_mirrored(frames[turned])
        positions = windows * padded.mask.shape[1] + self.rows.frames[rows] - batch[windows, 0]
        others = [torch.from_numpy(each) for each in (padded.gaps, padded.mask, positions)]
        numbers = pack_targets(collect_targets(self.rows.annotations, rows), others)
        seed = int(sha256(repr((recipe.seed, epoch)).encode() + np.ascontiguousarray(batch).tobytes())[:15], 16)
        values = torch.from_numpy(padded.values)
        return HostBatch(rows, rows, pin_memory(values, self.device), pin_memory(numbers, self.device), seed)

    def step(self, learning_rate: float, batch: HostBatch) -> StepLosses:
        """Takes one step on a batch of `collect`; see `TrainingStep`."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout: a resumed run has the same
            torch.manual_seed(batch.seed)
            return super().step(learning_rate, batch)

    def _make_inputs(self, frames: Tensor, numbers: Tensor, rows: int, own: int) -> tuple[Windows, Targets]:
        batch, length, _ = frames.shape
        targets, (gaps, mask, positions) = unpack_targets(numbers, rows, [(batch, length), (batch, length), (own,)])
        values = frames.to(next(self.network.parameters()).dtype)
        return Windows(values, gaps, mask.bool(), positions.long()), targets
