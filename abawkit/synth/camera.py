"""From a face to its crop: pose, light, sensor, occlusion and compression."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from abawkit.synth.face.eyes import Gaze
from abawkit.synth.face.pen import CROP, MARGIN, SCALE, mix

_BASE_QUALITY, _QUALITY_LOSS = 95, 50


@dataclass(frozen=True)
class Shot:
    """How one video is filmed. Pose and light move around a middle as sums of two waves; noise and blur flicker.

    Attributes:
        phases: Of the waves of each quantity that moves, shape (11, 2).
        periods: In frames, shape (11, 2).
        middle: Of each of them: turn right, turn down, roll in degrees, scale, shift right, shift down, gaze right,
            gaze down; the light's fall over the crop to the right and down, as a share of its middle, and its exposure
            as a logarithm. Shape (11,).
        white: Gain of red, green and blue.
        contrast: Factor on the distance from mid-grey.
        noise: Standard deviation in grey levels, of the median frame.
        blur: Standard deviation in pixels, of the median frame.
        lost: Factor by which resolution was lost, 1 or more.
        quality: JPEG quality.
    """

    phases: NDArray[np.float64]
    periods: NDArray[np.float64]
    middle: NDArray[np.float64]
    white: NDArray[np.float64]
    contrast: float
    noise: float
    blur: float
    lost: float
    quality: int


_SPREAD = np.array([6.0, 4.0, 10.0, 0.09, 4.0, 3.5, 2.4, 1.2, 0.32, 0.23, 0.35])
"""Standard deviation of each moving quantity at difficulty 1."""
_BETWEEN, _WAVES = 0.3, np.array([0.5, 0.3])
"""Its parts: the standard deviation between videos, and the amplitudes of the slow and of the quick wave."""
_MISALIGNMENT = np.array([5.0, 3.0, 12.0, 0.12, 5.0, 5.0, 2.0, 1.0])
"""Standard deviation, at difficulty 1, of what the alignment of a frame adds to each quantity of its pose."""
_FLICKER = 0.8
"""Standard deviation of the logarithm of noise and of blur from frame to frame."""
_OCCLUDED = 0.9
"""Probability, at difficulty 1, that something covers a part of a frame."""


def plan_shot(difficulty: float, rng: np.random.Generator) -> Shot:
    """Samples how a video is filmed."""
    d, n = difficulty, len(_SPREAD)
    return Shot(
        phases=rng.uniform(0, 2 * np.pi, (n, 2)),
        periods=np.stack([rng.uniform(400, 1200, n), rng.uniform(20, 80, n)], axis=1),
        middle=_BETWEEN * _SPREAD * d * rng.standard_normal(n),
        white=np.exp(0.10 * d * rng.standard_normal(3)),
        contrast=float(1.0 - 0.35 * d * rng.random()),
        noise=float(18.0 * d * rng.random() ** 2),
        blur=float(1.8 * d * rng.random() ** 2),
        lost=float(1.0 + 1.0 * d * rng.random() ** 3),
        quality=round(_BASE_QUALITY - _QUALITY_LOSS * d * rng.random()),
    )


@dataclass(frozen=True)
class Pose:
    """How the head is held in one frame: see `Shot.middle` for the units."""

    turn: tuple[float, float]
    roll: float
    scale: float
    shift: tuple[float, float]
    gaze: Gaze


def _drift(shot: Shot, frame: int, difficulty: float) -> NDArray[np.float64]:
    waves = np.sin(2 * np.pi * frame / shot.periods + shot.phases) @ _WAVES
    return np.asarray(shot.middle + _SPREAD * difficulty * waves, dtype=np.float64)


def hold_pose(shot: Shot, frame: int, difficulty: float, rng: np.random.Generator) -> Pose:
    """The pose in one frame: near that of the frames around it, but for the jitter of its alignment."""
    held = _drift(shot, frame, difficulty)[:8] + _MISALIGNMENT * difficulty * rng.standard_normal(8)
    turn_x, turn_y, roll, scale, shift_x, shift_y, gaze_x, gaze_y = held
    blink = float(rng.random()) if rng.random() < 0.07 * difficulty else 0.0
    limited = np.clip((gaze_x, gaze_y), (-2.6, -1.0), (2.6, 1.2)).tolist()
    return Pose(
        turn=(float(np.clip(turn_x, -9, 9)), float(np.clip(turn_y, -6, 6))),
        roll=float(np.clip(roll, -14, 14)),
        scale=float(np.exp(np.clip(scale, -0.15, 0.12))),
        shift=(float(np.clip(shift_x, -5, 5)), float(np.clip(shift_y, -5, 5))),
        gaze=Gaze(limited[0], limited[1], blink),
    )


def align(image: Image.Image, pose: Pose) -> Image.Image:
    """Turns, scales and shifts a rendered canvas, and reduces it to the crop, RGB 112 x 112."""
    side = CROP * SCALE
    angle = np.deg2rad(pose.roll)
    cos, sin = float(np.cos(angle)) / pose.scale, float(np.sin(angle)) / pose.scale
    out_x, out_y = side / 2 + pose.shift[0] * SCALE, side / 2 + pose.shift[1] * SCALE
    centre = side / 2 + MARGIN * SCALE
    matrix = (cos, sin, centre - cos * out_x - sin * out_y, -sin, cos, centre + sin * out_x - cos * out_y)
    return image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR).reduce(SCALE)


def _occlude(image: Image.Image, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0, CROP, 2).tolist()
    a, b = rng.uniform(8, 22), rng.uniform(4, 12)
    if rng.random() < 0.5:
        a, b = b, a
    shape = ImageDraw.Draw(image).rectangle if rng.random() < 0.5 else ImageDraw.Draw(image).ellipse
    shape((x - a, y - b, x + a, y + b), fill=mix(rng.integers(0, 256, 3).tolist(), (110, 105, 100), 0.4))


_ACROSS = np.linspace(-1.0, 1.0, CROP, dtype=np.float32)


def develop_frame(
    image: Image.Image, shot: Shot, frame: int, difficulty: float, rng: np.random.Generator
) -> Image.Image:
    """Adds occlusion, light, blur, lost resolution and noise to a crop."""
    if rng.random() < _OCCLUDED * difficulty:
        _occlude(image, rng)
    blur, noise = (shot.blur, shot.noise) * np.exp(_FLICKER * rng.standard_normal(2))
    if blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(float(blur)))
    if shot.lost > 1.15:
        small = round(CROP / shot.lost)
        image = image.resize((small, small), Image.Resampling.BILINEAR).resize((CROP, CROP), Image.Resampling.BICUBIC)
    right, down, exposure = _drift(shot, frame, difficulty)[8:].astype(np.float32)
    light = np.exp(exposure) * (1.0 + right * _ACROSS + down * _ACROSS[:, None])
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels * (light[..., None] * (shot.contrast * shot.white).astype(np.float32)) + np.float32(
        (1.0 - shot.contrast) * 118.0
    )
    if noise > 0.5:
        pixels += np.float32(noise) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def compress(image: Image.Image, quality: int) -> bytes:
    """JPEG bytes of a crop."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
