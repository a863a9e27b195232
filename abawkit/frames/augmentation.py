"""Packed uint8 frames to the networks' float input, with augmentation of the whole batch on its device."""

import math
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from abawkit.frames.augmentation_config import Augmentation, Purpose, draw_uniform

Colour = tuple[float, float, float]
"""A number each for red, green and blue."""

MEAN: Final[Colour] = (0.485, 0.456, 0.406)
STD: Final[Colour] = (0.229, 0.224, 0.225)
"""RGB mean and deviation of ImageNet on a scale of 0 to 1, which DDAMFN's weights were trained with.

Source: https://pytorch.org/vision/stable/models.html; Zhang et al., Electronics 12(17) 3595 (2023), published code.
"""

_LUMA: Final = (0.299, 0.587, 0.114)  # Source: ITU-R BT.601, as torchvision's rgb_to_grayscale


def normalise(pixels: Tensor, mean: Colour = MEAN, deviation: Colour = STD) -> Tensor:
    """Turns packed frames into the networks' input.

    Args:
        pixels: RGB, (n, height, width, 3), on any device: uint8, or float32 in 0..255, which is overwritten.
        mean: What is subtracted from each channel, on a scale of 0 to 1.
        deviation: What each channel is then divided by, on the same scale.

    Returns:
        (pixels / 255 - mean) / deviation, (n, 3, height, width) float32, channels_last, on the same device.
    """
    rows = pixels.flatten(2).float()  # the channels of a pixel lie in the row: nothing moves, and vectors are long
    factors = make_scale_and_offset(pixels.device, mean, deviation)
    scale, offset = (t.flatten().repeat(pixels.shape[2]) for t in factors)
    return rows.mul_(scale).sub_(offset).view(pixels.shape).permute(0, 3, 1, 2)


class Variation(NamedTuple):
    """Parameters of the augmentation of each row of a batch; float32, on one device.

    Attributes:
        maps: For each row the map from output to input, both in -1..1 from edge to edge with y downwards, (n, 2, 3).
        colours: Factors of a pixel's own colour, of its grey, and of the frame's mean grey, (3, n).
        rectangles: Top, bottom, left and right of what is erased, in pixels, the ends excluded, (n, 4); empty where
            nothing is.
    """

    maps: Tensor
    colours: Tensor
    rectangles: Tensor

    def to(self, device: torch.device) -> "Variation":
        """The same numbers on a device."""
        return Variation(*(part.to(device) for part in self))


def augment(pixels: Tensor, rows: NDArray[np.integer[Any]], *, seed: int, epoch: int, config: Augmentation) -> Tensor:
    """Varies and normalises a batch.

    Every random number is a function of seed, epoch, row and what it is for. So a row's result does not depend on the
    other rows of the batch, their order, earlier calls or the number of workers, and not on the device but for
    rounding. The order is flip and affine map (one bilinear sampling), brightness, contrast, saturation (clamped to
    the range of pixels once, at the end), normalisation, erasing. What comes into the frame from outside is black, as
    in the published training and as alignment leaves it around a face. Differences to torchvision's transforms, which
    the published training used: sampling is bilinear, not nearest; shifts are not rounded to whole pixels; contrast
    pivots on the mean grey of the frame before its affine map; a rectangle too high or wide for the frame is cut to
    it, not sampled again.

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
    variation = plan_variation(rows, pixels.shape[1], seed=seed, epoch=epoch, config=config)
    return apply_variation(pixels, variation.to(pixels.device), config)


def plan_variation(
    rows: NDArray[np.integer[Any]], side: int, *, seed: int, epoch: int, config: Augmentation
) -> Variation:
    """The host's part of `augment`, for square frames of `side` pixels: the random parameters of each row."""
    draw = _Sampler(seed, epoch, rows)
    parts = (_sample_maps(draw, config), _sample_colours(draw, config), _sample_rectangles(draw, side, config))
    return Variation(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


@torch.no_grad()
def apply_variation(pixels: Tensor, variation: Variation, config: Augmentation) -> Tensor:
    """The device's part of `augment`: no copy from the host, and no operation that depends on a value.

    `variation` was planned with `config`, and is on the device of `pixels`.
    """
    # Not row by row: leaving out the rows that stay as they are costs more in copies than it saves in sampling.
    moves = config.flip or config.affine
    images = _warp(pixels, variation.maps) if moves else _to_planes(pixels)
    if config.brightness or config.contrast or config.saturation:
        images = _jitter_(images, pixels, variation.colours, config)
    images = _normalise_(images)
    return _erase_(images, variation.rectangles) if config.erase else images


class _Sampler:
    def __init__(self, seed: int, epoch: int, rows: NDArray[np.integer[Any]]) -> None:
        self.seed, self.epoch, self.rows = seed, epoch, rows

    def between(self, low: float, high: float, purpose: Purpose) -> NDArray[np.float64]:
        return low + (high - low) * draw_uniform(self.seed, self.epoch, self.rows, purpose)

    def happens(self, probability: float, purpose: Purpose) -> NDArray[np.bool_]:
        return draw_uniform(self.seed, self.epoch, self.rows, purpose) < probability


def _to_planes(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).contiguous().float()


def _normalise_(images: Tensor) -> Tensor:
    scale, offset = make_scale_and_offset(images.device, MEAN, STD)
    return images.mul_(scale).sub_(offset)


@cache  # on a GPU, the host would wait for a copy each time
@torch.inference_mode(False)
def make_scale_and_offset(device: torch.device, mean: Colour = MEAN, deviation: Colour = STD) -> tuple[Tensor, Tensor]:
    """What a frame's values, 0 to 255, are multiplied by, and what is subtracted then; (3, 1, 1) float32 each."""
    means, deviations = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))
    return (1 / (255 * deviations)).to(device), (means / deviations).to(device)


def _sample_maps(draw: _Sampler, config: Augmentation) -> NDArray[np.float64]:
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


def _sample_colours(draw: _Sampler, config: Augmentation) -> NDArray[np.float64]:
    """Brightness b, contrast c and saturation s in one: s c b x + (1 - s) c b grey(x) + (1 - c) b mean grey."""
    b = draw.between(1 - config.brightness, 1 + config.brightness, Purpose.BRIGHTNESS)
    c = draw.between(1 - config.contrast, 1 + config.contrast, Purpose.CONTRAST)
    s = draw.between(1 - config.saturation, 1 + config.saturation, Purpose.SATURATION)
    return np.stack([s * c * b, (1 - s) * c * b, (1 - c) * b])


def _sample_rectangles(draw: _Sampler, side: int, config: Augmentation) -> NDArray[np.float64]:
    area = draw.between(*config.erase_area, Purpose.ERASE_AREA) * side * side
    low, high = config.erase_aspect
    aspect = np.exp(draw.between(math.log(low), math.log(high), Purpose.ERASE_ASPECT))
    height = np.clip(np.rint(np.sqrt(area * aspect)), 1, side)
    width = np.clip(np.rint(np.sqrt(area / aspect)), 1, side)
    top = np.floor(draw.between(0, 1, Purpose.ERASE_Y) * (side - height + 1))
    left = np.floor(draw.between(0, 1, Purpose.ERASE_X) * (side - width + 1))
    edges = np.stack([top, top + height, left, left + width], axis=1)
    return np.where(draw.happens(config.erase, Purpose.ERASE)[:, None], edges, 0.0)


def _warp(pixels: Tensor, maps: Tensor) -> Tensor:
    side = pixels.shape[1]
    matrix = maps[:, :, :, None]
    centres = (2 * torch.arange(side, device=pixels.device, dtype=torch.float32) + 1) / side - 1
    along_x = (matrix[:, :, 0] * centres + matrix[:, :, 2])[:, :, None, :]
    along_y = (matrix[:, :, 1] * centres)[:, :, :, None]
    grid = (along_x + along_y).permute(0, 2, 3, 1)
    images = pixels.permute(0, 3, 1, 2).float()  # keeps the packed order of channels, which samples twice as fast
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).contiguous()


def _jitter_(images: Tensor, pixels: Tensor, colours: Tensor, config: Augmentation) -> Tensor:
    own, grey, constant = (part.view(-1, 1, 1, 1) for part in colours)
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
    luma: list[float] = (torch.tensor(_LUMA) / (pixels.shape[1] * pixels.shape[2])).tolist()
    red, green, blue = (sums[:, k] * weight for k, weight in enumerate(luma))
    return (red + green + blue).view(-1, 1, 1, 1)


def _erase_(images: Tensor, rectangles: Tensor) -> Tensor:
    if not images.is_cpu:
        return _erase_by_mask_(images, rectangles)
    edges: list[list[int]] = rectangles.int().tolist()
    for image, (top, bottom, left, right) in zip(images, edges, strict=True):  # a mask costs ten times as much here
        image[:, top:bottom, left:right] = 0
    return images


def _erase_by_mask_(images: Tensor, rectangles: Tensor) -> Tensor:
    """The same for all rows at once, in as many launches for any number of them."""
    places = torch.arange(images.shape[-1], device=images.device)
    top, bottom, left, right = rectangles.unsqueeze(-1).unbind(1)
    down, across = (places >= top) & (places < bottom), (places >= left) & (places < right)
    return images.masked_fill_((down.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1), 0.0)
