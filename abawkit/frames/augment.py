"""Packed uint8 frames to the networks' float input, with augmentation of the whole batch on its device."""

import math
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from abawkit.frames.augmentation import Augmentation, Purpose
from abawkit.frames.randomness import uniform

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
"""RGB mean and deviation of ImageNet on a scale of 0 to 1, which DDAMFN's weights were trained with.

Source: https://pytorch.org/vision/stable/models.html; Zhang et al., Electronics 12(17) 3595 (2023), published code.
"""

_LUMA: Final = (0.299, 0.587, 0.114)  # Source: ITU-R BT.601, as torchvision's rgb_to_grayscale


def normalise(pixels: Tensor) -> Tensor:
    """Turns packed frames into the networks' input.

    Args:
        pixels: RGB, (n, height, width, 3) uint8, on any device.

    Returns:
        (pixels / 255 - mean) / deviation, (n, 3, height, width) float32, contiguous, on the same device.
    """
    return _normalise_(_planes(pixels))


@torch.no_grad()
def augment(pixels: Tensor, rows: NDArray[np.integer[Any]], *, seed: int, epoch: int, config: Augmentation) -> Tensor:
    """Varies and normalises a batch.

    Every random number is a function of seed, epoch, row and what it is for. So a row's result does not depend on the
    other rows of the batch, their order, earlier calls or the number of workers, and not on the device but for
    rounding. The order is flip and affine map (one bilinear sampling), brightness, contrast, saturation (clamped to
    the range of pixels once, at the end), normalisation, erasing. What comes into the frame from outside is black, as
    in the published training and as alignment leaves it around a face. Differences to torchvision's transforms, which
    the published training used: sampling is bilinear, not nearest; shifts are not rounded to whole pixels; contrast
    pivots on the mean grey of the frame before its affine map; a rectangle too high or wide for the frame is cut to
    it, not drawn again.

    Args:
        pixels: RGB, (n, side, side, 3) uint8, on any device.
        rows: The frames' row numbers in the training table, (n,) integers.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        config: What to vary and by how much; `Augmentation()` gives exactly `normalise(pixels)`.

    Returns:
        (n, 3, side, side) float32, contiguous, on the device of `pixels`; float32 under autocast too.

    Raises:
        ValueError: If frames are not square, or `rows` has another length.
    """
    if pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or len(rows) != len(pixels):
        raise ValueError(f"expected n square frames and n rows, got {tuple(pixels.shape)} and {len(rows)} rows")
    draw = _Draw(seed, epoch, rows)
    # Not row by row: leaving out the rows that stay as they are costs more in copies than it saves in sampling.
    moves = config.flip or config.affine
    images = _sample(pixels, _inverse_maps(draw, config)) if moves else _planes(pixels)
    if config.brightness or config.contrast or config.saturation:
        images = _jitter_(images, pixels, draw, config)
    return _erase_(_normalise_(images), draw, config)


class _Draw:
    def __init__(self, seed: int, epoch: int, rows: NDArray[np.integer[Any]]) -> None:
        self.seed, self.epoch, self.rows = seed, epoch, rows

    def between(self, low: float, high: float, purpose: Purpose) -> NDArray[np.float64]:
        return low + (high - low) * uniform(self.seed, self.epoch, self.rows, purpose)

    def happens(self, probability: float, purpose: Purpose) -> NDArray[np.bool_]:
        return uniform(self.seed, self.epoch, self.rows, purpose) < probability


def _planes(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).contiguous().float()


def _normalise_(images: Tensor) -> Tensor:
    deviation = torch.tensor(STD, device=images.device).view(3, 1, 1)
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    return images.mul_(1 / (255 * deviation)).sub_(mean / deviation)


def _inverse_maps(draw: _Draw, config: Augmentation) -> NDArray[np.float64]:
    """For each row the 2 x 3 map from output to input, both in -1..1 from edge to edge with y downwards."""
    maps = np.tile(np.eye(2, 3), (len(draw.rows), 1, 1))
    if config.affine:
        angle = np.radians(draw.between(-config.angle, config.angle, Purpose.ANGLE))
        scale = draw.between(*config.scale, Purpose.SCALE)
        shift_x = 2 * draw.between(-config.shift, config.shift, Purpose.SHIFT_X)
        shift_y = 2 * draw.between(-config.shift, config.shift, Purpose.SHIFT_Y)
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        affine = np.array(
            [
                [cosine, sine, -cosine * shift_x - sine * shift_y],
                [-sine, cosine, sine * shift_x - cosine * shift_y],
            ]
        ).transpose(2, 0, 1)
        chosen = draw.happens(config.affine, Purpose.AFFINE)
        maps[chosen] = affine[chosen]
    maps[draw.happens(config.flip, Purpose.FLIP), 0] *= -1
    return maps


def _sample(pixels: Tensor, maps: NDArray[np.float64]) -> Tensor:
    device, side = pixels.device, pixels.shape[1]
    matrix = torch.from_numpy(maps.astype(np.float32)).to(device)[:, :, :, None]
    centres = (2 * torch.arange(side, device=device, dtype=torch.float32) + 1) / side - 1
    along_x = (matrix[:, :, 0] * centres + matrix[:, :, 2])[:, :, None, :]
    along_y = (matrix[:, :, 1] * centres)[:, :, :, None]
    grid = (along_x + along_y).permute(0, 2, 3, 1)
    images = pixels.permute(0, 3, 1, 2).float()  # keeps the packed order of channels, which samples twice as fast
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).contiguous()


def _jitter_(images: Tensor, pixels: Tensor, draw: _Draw, config: Augmentation) -> Tensor:
    """Brightness b, contrast c and saturation s in one: s c b x + (1 - s) c b grey(x) + (1 - c) b mean grey."""
    b = draw.between(1 - config.brightness, 1 + config.brightness, Purpose.BRIGHTNESS)
    c = draw.between(1 - config.contrast, 1 + config.contrast, Purpose.CONTRAST)
    s = draw.between(1 - config.saturation, 1 + config.saturation, Purpose.SATURATION)
    own, grey, constant = (
        torch.from_numpy(part.astype(np.float32)).to(images.device).view(-1, 1, 1, 1)
        for part in (s * c * b, (1 - s) * c * b, (1 - c) * b)
    )
    offset = constant * _mean_grey(pixels) if config.contrast else None
    if config.saturation:
        red, green, blue = (weight * images[:, k : k + 1] for k, weight in enumerate(_LUMA))
        images = images.mul_(own).add_((red + green + blue).mul_(grey))
    else:
        images = images.mul_(own)
    if offset is not None:
        images = images.add_(offset)
    return images.clamp_(0, 255)


def _mean_grey(pixels: Tensor) -> Tensor:
    # sums of integers: exact, so that neither the batch nor the number of threads changes a bit
    sums = pixels.flatten(1, 2).sum(1, dtype=torch.int32)
    luma = torch.tensor(_LUMA, device=pixels.device) / (pixels.shape[1] * pixels.shape[2])
    red, green, blue = (sums[:, k] * luma[k] for k in range(3))
    return (red + green + blue).view(-1, 1, 1, 1)


def _erase_(images: Tensor, draw: _Draw, config: Augmentation) -> Tensor:
    chosen = np.flatnonzero(draw.happens(config.erase, Purpose.ERASE))
    if not len(chosen):
        return images
    side = images.shape[-1]
    area = draw.between(*config.erase_area, Purpose.ERASE_AREA) * side * side
    low, high = config.erase_aspect
    aspect = np.exp(draw.between(math.log(low), math.log(high), Purpose.ERASE_ASPECT))
    height = np.clip(np.rint(np.sqrt(area * aspect)), 1, side).astype(int)
    width = np.clip(np.rint(np.sqrt(area / aspect)), 1, side).astype(int)
    top = np.floor(draw.between(0, 1, Purpose.ERASE_Y) * (side - height + 1)).astype(int)
    left = np.floor(draw.between(0, 1, Purpose.ERASE_X) * (side - width + 1)).astype(int)
    for i in chosen:  # a mask over the whole batch costs ten times as much on a CPU
        images[i, :, top[i] : top[i] + height[i], left[i] : left[i] + width[i]] = 0
    return images
