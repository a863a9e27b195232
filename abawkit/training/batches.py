"""What a step takes from the host: frames, and every other number of a batch in one tensor, so that two copies do."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.frames.augmentation import Variation, plan_variation
from abawkit.frames.decode import FRAME_SIZE
from abawkit.models.devices import pin_memory
from abawkit.tables import Array
from abawkit.training.data import FramedRows, ResidentFrames
from abawkit.training.losses import Targets
from abawkit.training.recipe import Recipe

_TARGETS = ((2,), (), (12,), (), (), ())
"""Shape of a row in each part of `Targets`."""


class HostBatch(NamedTuple):
    """A batch on the host, ready to be copied.

    Attributes:
        rows: Positions of the rows of the whole batch, int64 (n,).
        part: Positions of those that this process takes, int64 (m,).
        frames: Their frames, uint8 (m, 112, 112, 3); their numbers, int64 (m,), where frames lie on the device.
        numbers: Annotations of the whole batch and how the part is varied, float32, one dimension.
    """

    rows: Array
    part: Array
    frames: Tensor
    numbers: Tensor


class DeviceBatch(NamedTuple):
    """What `HostBatch.numbers` holds, on any device.

    Attributes:
        targets: Annotations of the whole batch.
        variation: How the frames of the part are varied.
    """

    targets: Targets
    variation: Variation


def collect_batch(
    rows: FramedRows,
    batch: Array,
    part: Array,
    epoch: int,
    recipe: Recipe,
    device: torch.device,
    resident: ResidentFrames | None = None,
) -> HostBatch:
    """Reads the frames of a batch and packs all else that a step needs; may run in a thread of its own.

    Args:
        rows: The training rows.
        batch: Positions of the rows of the whole batch.
        part: Those that this process takes.
        epoch: Of the run, from 0.
        recipe: For seed and augmentation.
        device: Where it is to go.
        resident: The frames that lie there, if they do: none is read then.

    Raises:
        DataError: If a frame can't be had.
    """
    config = recipe.augmentation
    variation = plan_variation(rows.rows[part], FRAME_SIZE, seed=recipe.seed, epoch=epoch, config=config)
    numbers = torch.cat([values.flatten().float() for values in (*rows.targets(batch), *variation)])
    frames = resident.numbers(part) if resident else torch.from_numpy(rows.pixels(part))
    return HostBatch(batch, part, pin_memory(frames, device), pin_memory(numbers, device))


def unpack_batch(numbers: Tensor, rows: int, own: int) -> DeviceBatch:
    """Takes apart what `collect_batch` packed, without a look at its values.

    Args:
        numbers: On any device.
        rows: Of the whole batch.
        own: Rows of this process.
    """
    shapes = [(rows, *shape) for shape in _TARGETS] + [(own, 2, 3), (3, own), (own, 4)]
    va, expression, au, *valid, maps, colours, rectangles = _split(numbers, shapes)
    targets = Targets(va, expression.long(), au, *(flags.bool() for flags in valid))
    return DeviceBatch(targets, Variation(maps, colours, rectangles))


def _split(numbers: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Views of consecutive parts; each is contiguous, so that sums over it are those of a tensor of its own."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [part.view(shape) for part, shape in zip(torch.split(numbers, sizes), shapes, strict=True)]
