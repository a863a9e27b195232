"""Batches on the host: frames, and all other numbers in one tensor, so that two copies bring both to the device."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.frames.augmentation import MEAN, STD, Variation, apply_variation, plan_variation
from abawkit.frames.augmentation_config import Augmentation
from abawkit.frames.decode import FRAME_SIZE
from abawkit.models.devices import pin_memory, upload
from abawkit.tables import Array
from abawkit.training.data import FramedRows, ResidentFrames
from abawkit.training.losses import Targets

_TARGETS = ((2,), (), (12,), (), (), ())
"""Shape of one row in each field of `Targets`."""


class HostBatch(NamedTuple):
    """A batch on the host, ready to be copied.

    Attributes:
        rows: Positions of the rows of the whole batch, int64 (n,).
        part: Positions of this process's rows, int64 (m,).
        frames: Frames of the part, uint8 (m, 112, 112, 3); where frames are on the device, their indices, int64 (m,).
        numbers: Annotations of the whole batch and augmentation of the part, float32, one dimension.
        seed: Of dropout; only sequence networks have any.
        sizes: Rows of each process; empty where they are those of `Distributed.sizes`.
        windows: Of windows: the first one of the part, and how many all processes have; None for other batches.

    Of windows, `frames` are the features, float32 (windows, L, D), and `numbers` has what else `Windows` has. Of heads
    on a frozen network, `frames` are embeddings, (m, D), and `numbers` has annotations alone.
    """

    rows: Array
    part: Array
    frames: Tensor
    numbers: Tensor
    seed: int = 0
    sizes: tuple[int, ...] = ()
    windows: tuple[int, int] | None = None


SHOWN_FRAMES: Final = 32
"""Frames of a batch that are shown to a person."""


class AugmentedFrames(NamedTuple):
    """Frames as the network sees them, with their annotations, on the CPU.

    Attributes:
        pixels: RGB, uint8 (n, 112, 112, 3).
        targets: Annotations of these n rows.
    """

    pixels: Array
    targets: Targets


def collect_batch(
    rows: FramedRows,
    batch: Array,
    part: Array,
    epoch: int,
    seed: int,
    config: Augmentation,
    device: torch.device,
    resident: ResidentFrames | None = None,
) -> HostBatch:
    """Reads the frames of a batch and packs all else that a step needs; may run in a thread of its own.

    Args:
        rows: The training rows.
        batch: Positions of the rows of the whole batch.
        part: Positions of this process's rows.
        epoch: Of the run, from 0.
        seed: Of the run.
        config: How frames are varied.
        device: Where the batch will be copied to.
        resident: The frames on that device, if they are there: none is read then.

    Raises:
        DataError: If a frame can't be read.
    """
    variation = plan_variation(rows.rows[part], FRAME_SIZE, seed=seed, epoch=epoch, config=config)
    numbers = pack_targets(rows.targets(batch), variation)
    frames = resident.numbers(part) if resident else torch.from_numpy(rows.pixels(part))
    return HostBatch(batch, part, pin_memory(frames, device), pin_memory(numbers, device))


def augment_frames(
    batch: HostBatch, config: Augmentation, device: torch.device, resident: ResidentFrames | None = None
) -> AugmentedFrames:
    """The first `SHOWN_FRAMES` frames of a batch of the first process, augmented as for a step.

    Args:
        batch: From `collect_batch`.
        config: As of `collect_batch`.
        device: Where steps are computed.
        resident: The frames on that device, if they are there.
    """
    n = min(SHOWN_FRAMES, len(batch.part))
    targets, (maps, colours, rectangles) = unpack_batch(batch.numbers, len(batch.rows), len(batch.part))
    frames = upload(batch.frames[:n], device)
    variation = Variation(maps[:n], colours[:, :n], rectangles[:n]).to(device)
    images = apply_variation(resident.take(frames) if resident else frames, variation, config).cpu()
    pixels = (images.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)) * 255
    return AugmentedFrames(pixels.round().clamp(0, 255).byte().numpy(), Targets(*(part[:n] for part in targets)))


def pack_targets(targets: Targets, others: Iterable[Tensor]) -> Tensor:
    """Annotations and other numbers in one tensor, float32, one dimension."""
    return torch.cat([values.flatten().float() for values in (*targets, *others)])


def unpack_targets(numbers: Tensor, rows: int, others: Sequence[tuple[int, ...]]) -> tuple[Targets, list[Tensor]]:
    """The opposite of `pack_targets`.

    Args:
        numbers: On any device; its values are not read.
        rows: Rows that are annotated.
        others: Shapes of the other tensors.
    """
    shapes = [(rows, *shape) for shape in _TARGETS]
    va, expression, au, *rest = _split_views(numbers, [*shapes, *others])
    valid = [flags.bool() for flags in rest[:3]]
    return Targets(va, expression.long(), au, *valid), rest[3:]


def unpack_batch(numbers: Tensor, rows: int, own: int) -> tuple[Targets, Variation]:
    """The annotations of a whole batch of `rows`, and the augmentation of this process's `own` rows.

    Args:
        numbers: `HostBatch.numbers` on any device, whose values are not read.
        rows: Rows of the whole batch.
        own: Rows of this process.
    """
    targets, variation = unpack_targets(numbers, rows, [(own, 2, 3), (3, own), (own, 4)])
    return targets, Variation(*variation)


def _split_views(numbers: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Views of consecutive parts; each is contiguous, so that sums over it have the same bits as over a copy."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [part.view(shape) for part, shape in zip(torch.split(numbers, sizes), shapes, strict=True)]
