"""Drawing in crop coordinates: smooth curves, and a pen for a canvas and a turned head."""

from collections.abc import Sequence
from functools import cache
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CROP: Final = 112
"""Side of an aligned crop, in pixels; all drawing is in its coordinates."""

MARGIN: Final = 14
"""Pixels of the canvas beyond each side of the crop, so that a turned or shifted face has surroundings."""

SCALE: Final = 2
"""Canvas pixels to a crop pixel."""

MIDDLE: Final = 56.0

Points = NDArray[np.float64]
Color = tuple[int, int, int]


@cache
def _bernstein(degree: int, count: int) -> NDArray[np.float64]:
    t = np.linspace(0.0, 1.0, count)
    return np.stack([comb(degree, k) * t**k * (1.0 - t) ** (degree - k) for k in range(degree + 1)], axis=1)


def bezier(*controls: tuple[float, float], count: int = 10) -> Points:
    """Points on the Bezier curve with the given control points, ends included; shape (count, 2)."""
    return np.asarray(_bernstein(len(controls) - 1, count) @ np.asarray(controls))


def mix(first: Sequence[float], second: Sequence[float], share: float) -> Color:
    """The colour that is `share` of the way from the first to the second."""
    r, g, b = (round(min(max(a + (b - a) * share, 0.0), 255.0)) for a, b in zip(first, second, strict=True))
    return r, g, b


class Pen:
    """Draws on an image in crop coordinates, seen on a head that is turned a little.

    Args:
        image: What to draw on: its top left corner is `corner`.
        turn: Shift in pixels of the middle of the face to the right and down; the rim of the face stays.
        scale: Pixels of the image to a crop pixel.
        corner: Crop coordinates of the image's top left corner.
    """

    def __init__(
        self,
        image: Image.Image,
        turn: tuple[float, float] = (0.0, 0.0),
        scale: float = SCALE,
        corner: tuple[float, float] = (-MARGIN, -MARGIN),
    ) -> None:
        self.image = image
        self.turn = turn
        self.scale = scale
        self.corner = corner
        self._draw = ImageDraw.Draw(image)

    def deeper(self, factor: float) -> "Pen":
        """A pen on the same image for what stands out from the face, and so moves more when the head turns."""
        return Pen(self.image, (self.turn[0] * factor, self.turn[1] * factor), self.scale, self.corner)

    def place(self, points: Points) -> list[float]:
        """Image coordinates of crop coordinates, flat: x0, y0, x1, y1 ..."""
        across = (points[:, 0] - MIDDLE) / 52.0
        near = 1.0 - across * across
        placed = np.empty_like(points)
        placed[:, 0] = (points[:, 0] + self.turn[0] * near - self.corner[0]) * self.scale
        placed[:, 1] = (points[:, 1] + self.turn[1] * near - self.corner[1]) * self.scale
        flat: list[float] = placed.ravel().tolist()
        return flat

    def polygon(self, points: Points, fill: Color | int) -> None:
        """Fills a closed outline."""
        self._draw.polygon(self.place(points), fill=fill)

    def line(self, points: Points, fill: Color | int, width: float) -> None:
        """Draws an open line; `width` in crop pixels."""
        self._draw.line(self.place(points), fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, fill: Color | int) -> None:
        """Fills an ellipse around a point."""
        if half_width <= 0 or half_height <= 0:
            return
        near = 1.0 - ((x - MIDDLE) / 52.0) ** 2
        cx = (x + self.turn[0] * near - self.corner[0]) * self.scale
        cy = (y + self.turn[1] * near - self.corner[1]) * self.scale
        a, b = half_width * self.scale, half_height * self.scale
        self._draw.ellipse((cx - a, cy - b, cx + a, cy + b), fill=fill)
