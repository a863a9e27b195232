"""Folds, bulges and wrinkles of the skin, as masks of what is darker and brighter than at rest.

Source: which line belongs to which action unit follows the Facial Action Coding System (Ekman, Friesen and Hager,
2002).
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from abawkit.synth.face.eyes import EYE_X, EYE_Y
from abawkit.synth.face.head import SIDE
from abawkit.synth.face.mouth import locate_corners, measure_opening
from abawkit.synth.face.pen import MIDDLE, SCALE, Pen, bezier
from abawkit.synth.people import Person

Anchor = Literal["middle", "eye", "corner", "nose", "wing", "chin"]


class Stroke(NamedTuple):
    """A line on both halves of the face.

    Attributes:
        unit: Action unit that makes it, or ``""`` for what is always there.
        anchor: What its points are relative to.
        strength: Of the mask at intensity 1, 0..1.
        width: In pixels.
        points: Control points of a Bezier curve, pixels outwards from the middle of the face and down.
    """

    unit: str
    anchor: Anchor
    strength: float
    width: float
    points: tuple[tuple[float, float], ...]


class Spot(NamedTuple):
    """An ellipse on both halves of the face: centre and half axes in pixels, the rest as in `Stroke`."""

    unit: str
    anchor: Anchor
    strength: float
    centre: tuple[float, float]
    size: tuple[float, float]


_WRINKLES: Final = (
    *(Stroke("AU1", "middle", 0.92, 1.0, ((0, y), (6, y), (11, y + 1.6))) for y in (21.5, 26.0, 30.5)),
    *(Stroke("AU2", "eye", 0.92, 1.0, ((-3, y), (5, y - 2.6), (13, y + 2.5))) for y in (-27.0, -23.0, -19.5)),
    Stroke("AU4", "middle", 0.92, 1.3, ((3.4, 36.0), (2.2, 41.0), (3.2, 47.0))),
    Stroke("AU6", "eye", 0.84, 0.8, ((-7, 6.5), (0, 9.7), (8, 5.5))),
    *(Stroke("AU6", "eye", 0.84, 0.7, ((11, 0.3 * d - 0.5), (14, 0.7 * d), (17, 1.4 * d))) for d in (-3.5, 0.0, 3.5)),
    Stroke("AU7", "eye", 0.67, 0.7, ((-7, 5.0), (0, 6.5), (7.5, 4.5))),
    Stroke("AU9", "nose", 0.76, 0.9, ((1, -21), (3, -22.5), (6.5, -20.5))),
    Stroke("AU9", "nose", 0.76, 0.9, ((1, -17.5), (3.5, -18.5), (6, -16))),
    Stroke("AU10", "wing", 0.40, 1.0, ((-1.5, -3.5), (1.6, -1), (-1.2, 2.4))),
    Stroke("AU10", "wing", 0.86, 1.3, ((1.7, -3), (5, 2), (7.7, 11))),
    Stroke("AU12", "corner", 0.86, 1.2, ((-4.5, -12), (4.5, -8.4), (5.5, 1))),
    Stroke("AU12", "corner", 0.65, 1.0, ((1.2, -2.6), (2.6, 0), (1.4, 2.4))),
    Stroke("AU15", "corner", 0.92, 1.2, ((0.5, 1), (2.2, 4), (0.8, 9))),
    Stroke("AU20", "corner", 0.76, 0.9, ((2.5, -4), (3.5, 0), (2.5, 4))),
    *(Stroke("AU23", "middle", 0.86, 0.8, ((x, 87.0), (0.8 * x, 83.5))) for x in (0, 4, 8)),
    *(Stroke("AU23", "middle", 0.86, 0.8, ((x, 97.0), (0.8 * x, 100.5))) for x in (0, 4, 8)),
    Stroke("AU24", "middle", 0.75, 1.0, ((0, 100.0), (5, 100.0), (10, 99.0))),
    Stroke("", "eye", 0.22, 0.7, ((-7.5, -3.9), (0, -9.0), (8.5, -4.1))),
    Stroke("", "wing", 0.42, 1.0, ((-1.5, -3.5), (1.6, -1), (-1.2, 2.4))),
)
_SHADOWS: Final = (
    Stroke("AU6", "eye", 0.75, 2.2, ((-6, 8.5), (0, 11), (9, 6.5))),
    Stroke("AU6", "eye", 0.43, 2.0, ((-6, 19.5), (4, 24), (13, 16.5))),
    Stroke("AU10", "wing", 0.80, 2.4, ((1, -1), (5.5, 3), (8, 11))),
    Stroke("AU12", "corner", 0.82, 2.4, ((-5, -12), (5, -9.4), (5, -1))),
    Stroke("AU17", "middle", 0.51, 1.6, ((0, 99.5), (4, 99.5), (8, 101.0))),
    Stroke("", "eye", 0.20, 2.0, ((-8, -4), (0, -8), (9, -4))),
    Stroke("", "nose", 0.33, 2.4, ((5.5, -30), (4, -16), (8, -2))),
    Stroke("", "middle", 0.14, 1.0, ((0.5, 82.5), (0.5, 86.0))),
)
_HOLLOWS: Final = (
    Spot("AU4", "middle", 0.55, (0, 43), (4.5, 4.5)),
    Spot("AU15", "corner", 0.59, (1.5, 3), (2.6, 3.4)),
    Spot("AU26", "middle", 0.16, (27, 90), (3, 12)),
    Spot("", "wing", 0.47, (-0.8, 1.5), (2.2, 2.8)),
    Spot("", "nose", 0.51, (3, 4), (4.5, 1.7)),
    Spot("", "chin", 0.27, (0, 1.6), (7, 1.5)),
)
_BULGES: Final = (
    Spot("AU6", "eye", 0.78, (3, 14.5), (9, 4.5)),
    Spot("AU17", "middle", 0.43, (0, 104), (6.5, 3.5)),
    Spot("AU24", "middle", 0.55, (0, 86.5), (9, 2.2)),
    Spot("AU24", "middle", 0.55, (0, 97.5), (9, 2.2)),
    Spot("", "nose", 0.35, (0, -16), (1.2, 10)),
    Spot("", "nose", 0.47, (0, -2), (3.4, 2.6)),
)
_DEEPER: Final = 1.5
"""How much farther the nose moves than the face around it when the head turns."""

_FAINTEST = 6


class _Marks:
    """Draws strokes and spots of one expression."""

    def __init__(self, person: Person, unit: dict[str, float]) -> None:
        half, corner_y = locate_corners(person, unit)
        tip = 76.0 + person.nose_length - 1.5 * unit["AU9"]
        self._unit = unit | {"": 1.0}
        self._anchors: dict[Anchor, tuple[float, float]] = {
            "middle": (0.0, 0.0),
            "eye": (EYE_X, EYE_Y),
            "corner": (half, corner_y),
            "nose": (0.0, tip),
            "wing": (8.8 * person.nose_width, tip - 1.3 * unit["AU10"]),
            "chin": (0.0, 98.0 + 0.65 * measure_opening(unit)),
        }

    def _value(self, mark: Stroke | Spot, depth: float) -> int:
        return round(min(255 * mark.strength * self._unit[mark.unit] * depth, 235))

    def strokes(self, pen: Pen, strokes: tuple[Stroke, ...], depth: float = 1.0) -> None:
        deep = pen.deeper(_DEEPER)
        for stroke in strokes:
            value = self._value(stroke, depth)
            if value < _FAINTEST:
                continue
            curve = bezier(*stroke.points, count=8) + np.array(self._anchors[stroke.anchor])
            for side in (-1.0, 1.0):
                points = np.stack([MIDDLE + side * curve[:, 0], curve[:, 1]], axis=1)
                (deep if stroke.anchor in ("nose", "wing") else pen).line(points, value, stroke.width)

    def spots(self, pen: Pen, spots: tuple[Spot, ...]) -> None:
        deep = pen.deeper(_DEEPER)
        for spot in spots:
            value = self._value(spot, 1.0)
            if value < _FAINTEST:
                continue
            x, y = self._anchors[spot.anchor]
            for side in (-1.0, 1.0):
                near = deep if spot.anchor in ("nose", "wing") else pen
                near.ellipse(MIDDLE + side * (x + spot.centre[0]), y + spot.centre[1], *spot.size, value)


def _blur(mask: Image.Image) -> Image.Image:
    soft = mask.filter(ImageFilter.BoxBlur(2)).filter(ImageFilter.BoxBlur(1))
    return soft.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.BILINEAR)


def render_relief(person: Person, unit: dict[str, float], turn: tuple[float, float]) -> tuple[Image.Image, Image.Image]:
    """Draws the relief of a face's skin.

    Args:
        person: Whose face.
        unit: Intensity of each of the 17 units in this face, by name.
        turn: As in `Face.draw`.

    Returns:
        Masks of what is darker and of what is brighter than the head at rest: 8-bit grey, `SCALE` pixels to a crop
        pixel, with `MARGIN` crop pixels around the crop.
    """
    marks = _Marks(person, unit)
    shade, glow = Image.new("L", (SIDE, SIDE)), Image.new("L", (SIDE, SIDE))
    lines = Image.new("L", (SIDE * SCALE, SIDE * SCALE))
    marks.strokes(Pen(shade, turn, scale=1), _SHADOWS)
    marks.spots(Pen(shade, turn, scale=1), _HOLLOWS)
    marks.spots(Pen(glow, turn, scale=1), _BULGES)
    marks.strokes(Pen(lines, turn), _WRINKLES, person.wrinkles)
    return ImageChops.lighter(_blur(shade), lines), _blur(glow)
