"""Eyes, brows and glasses."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from abawkit.synth.face.pen import MIDDLE, SCALE, Pen, bezier, mix
from abawkit.synth.people import Person

EYE_X: Final = 17.5
"""Distance of each eye's centre from the middle of the face: the crops have eyes at x = 38.5 and 73.5."""

EYE_Y: Final = 51.5

_PATCH_HALF: Final = (11.0, 9.0)


@dataclass(frozen=True)
class Gaze:
    """Where the eyes look, in pixels right and down, and how far the lids are closed by a blink, 0..1."""

    right: float = 0.0
    down: float = 0.0
    blink: float = 0.0


def draw_eye(pen: Pen, person: Person, side: int, unit: dict[str, float], gaze: Gaze) -> None:
    """Draws one eye: `side` is -1 for the left of the picture and 1 for its right."""
    x, y = MIDDLE + side * EYE_X, EYE_Y
    half = 8.2 * person.eye_size
    closed = max(gaze.blink, unit["AU43"] * 0.9)
    upper = 4.6 * person.eye_opening * (1 - 0.42 * unit["AU7"]) * (1 + 0.42 * unit["AU5"]) * (1 - closed)
    lower = 2.9 * person.eye_opening * (1 - 0.75 * unit["AU7"]) * (1 - 0.60 * unit["AU6"]) * (1 - 0.5 * closed)
    upper = max(upper, 0.4 - lower if closed < 0.5 else -lower + 0.5)
    inner, outer = (x - side * half, y + 1.0), (x + side * half, y - 0.5 - person.eye_slant)
    lid = bezier(inner, (x - side * half * 0.5, y - 1.36 * upper), (x + side * half * 0.5, y - 1.36 * upper), outer)
    rim = bezier(outer, (x + side * half * 0.5, y + 1.36 * lower), (x - side * half * 0.4, y + 1.36 * lower), inner)
    half_w, half_h = _PATCH_HALF
    size = (round(2 * half_w * SCALE), round(2 * half_h * SCALE))
    corner = (x - half_w, y - half_h)
    ball, mask = Image.new("RGB", size, mix((244, 240, 236), person.skin, 0.10)), Image.new("L", size)
    inside, window = Pen(ball, (0.0, 0.0), SCALE, corner), Pen(mask, (0.0, 0.0), SCALE, corner)
    ix, iy, iris = x + gaze.right, y - 0.4 + gaze.down, 3.7
    inside.line(lid + np.array([0.0, 0.9]), mix((190, 180, 176), person.skin, 0.3), 2.0)
    inside.ellipse(ix, iy, iris, iris, mix(person.iris, (10, 8, 8), 0.6))
    inside.ellipse(ix, iy, iris - 0.6, iris - 0.6, person.iris)
    inside.ellipse(ix, iy + 1.0, iris - 1.5, iris - 2.0, mix(person.iris, (255, 240, 200), 0.25))
    inside.ellipse(ix, iy, 1.6, 1.6, (12, 10, 12))
    inside.ellipse(ix + 1.1, iy - 1.3, 0.8, 0.8, (255, 255, 255))
    window.polygon(np.concatenate([lid, rim]), 255)
    (left, top), near = corner, 1.0 - (EYE_X / 52.0) ** 2
    place = ((left + pen.turn[0] * near - pen.corner[0]), (top + pen.turn[1] * near - pen.corner[1]))
    pen.image.paste(ball, (round(place[0] * SCALE), round(place[1] * SCALE)), mask)
    lash = mix(person.brow_color, (14, 10, 10), 0.7)
    pen.line(rim, mix(person.skin, (70, 26, 20), 0.55), 0.5)
    pen.line(lid, lash, 1.2)
    pen.line(np.array([outer, (outer[0] + side * 1.6, outer[1] - 1.0)]), lash, 1.0)


def draw_brow(pen: Pen, person: Person, side: int, unit: dict[str, float]) -> None:
    """Draws one eyebrow."""
    x, y = MIDDLE + side * EYE_X, 40.5 - person.brow_height
    up1, up2, down = unit["AU1"], unit["AU2"], unit["AU4"]
    inner = (x - side * (9.5 + 3.4 * down), y + 1.2 - 7.0 * up1 + 5.4 * down)
    middle = (x - side * (0.5 + 1.2 * down), y - 3.0 * person.brow_arch - 3.0 * up1 - 3.2 * up2 + 3.0 * down)
    outer = (x + side * 11.0, y + 2.4 + 0.6 * up1 - 5.0 * up2 + 0.6 * down)
    control = (2 * middle[0] - (inner[0] + outer[0]) / 2, 2 * middle[1] - (inner[1] + outer[1]) / 2)
    ridge = bezier(inner, control, outer, count=12)
    taper = person.brow_thickness * np.interp(np.linspace(0, 1, 12), (0.0, 0.15, 0.55, 1.0), (1.2, 1.7, 1.5, 0.3))
    rise = np.stack([np.zeros(12), taper], axis=1)
    pen.polygon(np.concatenate([ridge - rise, (ridge + rise)[::-1]]), mix(person.skin, person.brow_color, 0.82))
    pen.line(ridge[1:-1], person.brow_color, 0.9 * person.brow_thickness)


def draw_glasses(pen: Pen, person: Person) -> None:
    """Draws a frame around both eyes, its bridge and its temples."""
    if person.glasses == "none":
        return
    corner = 0.55 if person.glasses == "square" else 1.0
    angle = np.linspace(0, 2 * np.pi, 41)
    ring = np.stack(
        [np.sign(f(angle)) * np.abs(f(angle)) ** corner * size for f, size in ((np.cos, 12.6), (np.sin, 9.6))], axis=1
    )
    for side in (-1, 1):
        pen.line(ring + np.array([MIDDLE + side * EYE_X, EYE_Y + 1.5]), person.frame_color, 1.1)
        rim = MIDDLE + side * (EYE_X + 12.6)
        pen.line(np.array([(rim, 50.0), (MIDDLE + side * 46, 47.5)]), person.frame_color, 1.2)
    pen.line(bezier((MIDDLE - 5.0, 51.5), (MIDDLE, 48.5), (MIDDLE + 5.0, 51.5)), person.frame_color, 1.2)
