"""The learner of a sequence network: batches of windows, and dropout that depends on seed and position only."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from abawkit.frames.augmentation_config import Purpose, draw_uniform
from abawkit.models.devices import pin_memory
from abawkit.models.sequence import SequenceNetwork, Windows
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
    """Trains a sequence network; several processes divide the windows of each batch."""

    captures = False

    def plan_epoch(self, epoch: int) -> Sequence[Array]:
        """The batches of an epoch, int64 (windows, 2) each; see `SequenceRows.plan_epoch`."""
        recipe = self.recipe
        window = recipe.sequence.training_window
        return self.rows.plan_epoch(window, recipe.batch_size, seed=recipe.seed, epoch=epoch)

    def collect(self, epoch: int, batch: Array, part: Array) -> HostBatch:
        """Reads the features of windows, and packs all else that a step needs; may run in a thread of its own.

        Args:
            epoch: Of the run, from 0.
            batch: Windows of all processes, int64 (windows, 2).
            part: Those of this one; where there are none, it runs the first one of all and answers no row.
        """
        recipe, features = self.recipe, self.rows.features
        rows, _ = self.rows.find_window_rows(batch)
        sizes = [len(self.rows.find_window_rows(each)[0]) for each in np.array_split(batch, self.processes.world_size)]
        own, windows = self.rows.find_window_rows(part)
        first = sum(self.processes.sizes(len(batch))[: self.processes.rank]) if len(part) else 0
        part = part if len(part) else batch[:1]
        longest = int((batch[:, 1] - batch[:, 0]).max())  # as in one process, where dropout draws for all columns
        padded = pad_windows(features, self.rows.gaps, Spans(part[:, 0], part[:, 1]), longest)
        if self.augmentation.flip:
            chance = draw_uniform(recipe.seed, epoch, part[:, 0], Purpose.FLIP)
            turned = padded.mask & (chance < self.augmentation.flip)[:, None]
            frames = part[:, :1] + np.arange(padded.mask.shape[1])
            padded.values[turned] = features.take_mirrored(frames[turned])
        positions = windows * longest + self.rows.frames[own] - part[windows, 0]
        others = [torch.from_numpy(each) for each in (padded.gaps, padded.mask, positions)]
        numbers = pack_targets(collect_targets(self.rows.annotations, rows), others)
        seed = int(sha256(repr((recipe.seed, epoch)).encode() + np.ascontiguousarray(batch).tobytes())[:15], 16)
        values, numbers = (pin_memory(each, self.device) for each in (torch.from_numpy(padded.values), numbers))
        return HostBatch(rows, own, values, numbers, seed, tuple(sizes), (first, len(batch)))

    def step(self, learning_rate: float, batch: HostBatch) -> StepLosses:
        """Takes one step on a batch of `collect`; see `TrainingStep`."""
        assert isinstance(self.network, SequenceNetwork)  # noqa: S101 - the only one that takes windows
        self.network.dropout.part = batch.windows
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout: a resumed run has the same
            torch.manual_seed(batch.seed)
            return super().step(learning_rate, batch)

    def _make_inputs(self, frames: Tensor, numbers: Tensor, rows: int, own: int) -> tuple[Windows, Targets]:
        batch, length, _ = frames.shape
        targets, (gaps, mask, positions) = unpack_targets(numbers, rows, [(batch, length), (batch, length), (own,)])
        values = frames.to(next(self.network.parameters()).dtype)
        return Windows(values, gaps, mask.bool(), positions.long()), targets
