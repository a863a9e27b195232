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
    """How one video is filmed; each slow quantity is a sum of two waves with these phases and periods.

    Attributes:
        phases: Of the waves of each slow quantity, shape (8, 2).
        periods: In frames, shape (8, 2).
        pose: Middle of turn right, turn down, roll in degrees, scale, shift right, shift down, gaze right, gaze down.
        gradient: Light's fall over the crop to the right and down, as a share of its middle.
        white: Gain of red, green and blue.
        contrast: Factor on the distance from mid-grey.
        noise: Standard deviation in grey levels.
        blur: Standard deviation in pixels.
        lost: Factor by which resolution was lost, 1 or more.
        quality: JPEG quality.
    """

    phases: NDArray[np.float64]
    periods: NDArray[np.float64]
    pose: NDArray[np.float64]
    gradient: tuple[float, float]
    white: NDArray[np.float64]
    contrast: float
    noise: float
    blur: float
    lost: float
    quality: int


_POSE_SPREAD = np.array([6.0, 4.0, 10.0, 0.09, 4.0, 3.5, 2.4, 1.2])
"""Standard deviation of each slow quantity at difficulty 1, half of its variance between videos."""


def plan_shot(difficulty: float, rng: np.random.Generator) -> Shot:
    """Samples how a video is filmed."""
    d = difficulty
    return Shot(
        phases=rng.uniform(0, 2 * np.pi, (8, 2)),
        periods=np.stack([rng.uniform(60, 160, 8), rng.uniform(15, 40, 8)], axis=1),
        pose=_POSE_SPREAD * d * 0.7 * rng.standard_normal(8),
        gradient=(float(0.55 * d * rng.uniform(-1, 1)), float(0.40 * d * rng.uniform(-1, 1))),
        white=np.exp(0.15 * d * rng.standard_normal(3)) * np.exp(0.35 * d * rng.standard_normal()),
        contrast=float(1.0 - 0.55 * d * rng.random()),
        noise=float(24.0 * d * rng.random() ** 2),
        blur=float(1.8 * d * rng.random() ** 2),
        lost=float(1.0 + 1.6 * d * rng.random() ** 3),
        quality=round(_BASE_QUALITY - _QUALITY_LOSS * d * rng.random()),
    )


@dataclass(frozen=True)
class Pose:
    """How the head is held in one frame: see `Shot.pose` for the units."""

    turn: tuple[float, float]
    roll: float
    scale: float
    shift: tuple[float, float]
    gaze: Gaze


def hold_pose(shot: Shot, frame: int, difficulty: float, rng: np.random.Generator) -> Pose:
    """The pose in one frame, near that of the frames around it."""
    waves = np.sin(2 * np.pi * frame / shot.periods + shot.phases) @ np.array([0.8, 0.5])
    turn_x, turn_y, roll, scale, shift_x, shift_y, gaze_x, gaze_y = shot.pose + 0.7 * _POSE_SPREAD * difficulty * waves
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


def develop_frame(image: Image.Image, shot: Shot, difficulty: float, rng: np.random.Generator) -> Image.Image:
    """Adds occlusion, light, blur, lost resolution and noise to a crop."""
    if rng.random() < 0.22 * difficulty:
        _occlude(image, rng)
    if shot.blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(shot.blur))
    if shot.lost > 1.15:
        small = round(CROP / shot.lost)
        image = image.resize((small, small), Image.Resampling.BILINEAR).resize((CROP, CROP), Image.Resampling.BICUBIC)
    light = 1.0 + shot.gradient[0] * _ACROSS + shot.gradient[1] * _ACROSS[:, None]
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels * (light[..., None] * (shot.contrast * shot.white).astype(np.float32)) + np.float32(
        (1.0 - shot.contrast) * 118.0
    )
    if shot.noise > 0.5:
        pixels += np.float32(shot.noise) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def compress(image: Image.Image, quality: int) -> bytes:
    """JPEG bytes of a crop."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
