"""One face: the head, folds and bulges of its skin, and the features on top."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abawkit.synth.action_units import UNITS
from abawkit.synth.face.eyes import Gaze, draw_brow, draw_eye, draw_glasses
from abawkit.synth.face.head import draw_head
from abawkit.synth.face.mouth import JAW_DROP, draw_mouth
from abawkit.synth.face.pen import MARGIN, MIDDLE, SCALE, Pen, mix
from abawkit.synth.face.skin import render_relief
from abawkit.synth.people import Person

_HINGE, _BELOW = 82.0, 118.0


class Face:
    """A person's face, ready to be drawn with any expression."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._head = draw_head(person)
        self._dark = Image.blend(
            self._head, Image.new("RGB", self._head.size, mix((30, 6, 4), person.skin, 0.12)), 0.62
        )
        lit = Image.new("RGB", self._head.size, mix(person.skin, (255, 244, 232), 0.48))
        self._bright = Image.blend(self._head, lit, 0.55)

    def draw(
        self, intensity: NDArray[np.float64], turn: tuple[float, float] = (0.0, 0.0), gaze: Gaze | None = None
    ) -> Image.Image:
        """Draws the face.

        Args:
            intensity: Intensity of each of the 17 `UNITS`, 0..1, before this person's gain; shape (17,).
            turn: How far the middle of the face is turned to the right and down, in crop pixels.
            gaze: Where the eyes look; straight ahead and open if left out.

        Returns:
            RGB, `SCALE` pixels to a crop pixel, with `MARGIN` crop pixels around the crop.
        """
        unit = dict(zip(UNITS, (intensity * self.person.gain).tolist(), strict=True))
        shadow, glow = render_relief(self.person, unit, turn)
        image = Image.composite(self._dark, self._head, shadow)
        image.paste(self._bright, mask=glow)
        image = _drop_jaw(image, JAW_DROP * unit["AU26"])
        pen = Pen(image, turn)
        self._nostrils(pen.deeper(1.5), unit)
        draw_mouth(pen, self.person, unit)
        for side in (-1, 1):
            draw_eye(pen, self.person, side, unit, gaze or Gaze())
            draw_brow(pen, self.person, side, unit)
        draw_glasses(pen, self.person)
        return image

    def _nostrils(self, pen: Pen, unit: dict[str, float]) -> None:
        y = 77.5 + self.person.nose_length - 0.5 * unit["AU10"] - 1.0 * unit["AU9"]
        for side in (-1, 1):
            x = MIDDLE + side * 4.0 * self.person.nose_width
            pen.ellipse(x, y, 1.9, 1.0, mix(self.person.skin, (36, 10, 8), 0.78))


def _drop_jaw(image: Image.Image, drop: float) -> Image.Image:
    """Stretches the lower face so that the chin sinks by `drop` crop pixels."""
    if drop < 0.1:
        return image
    top, side = round((_HINGE + MARGIN) * SCALE), image.size[0]
    chin = (_BELOW - _HINGE - drop) / (_BELOW - _HINGE)
    below = image.size[1] - top
    stretched = image.resize((side, below), Image.Resampling.BILINEAR, box=(0, top, side, top + below * chin))
    image.paste(stretched, (0, top))
    return image
