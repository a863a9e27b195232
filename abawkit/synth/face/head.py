"""The still part of a picture: background, shoulders, hair, and the head's skin with its soft shading."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from abawkit.synth.face.pen import CROP, MARGIN, MIDDLE, SCALE, Pen, Points, bezier, mix
from abawkit.synth.people import Person

SIDE: Final = CROP + 2 * MARGIN
"""Side of the canvas, in crop pixels."""

_TOP, _CENTRE, _CHIN = -6.0, 54.0, 113.0
_HALF_WIDTH = 45.0


def outline_face(person: Person) -> Points:
    """The face's contour from the crown round the chin, in crop coordinates; shape (72, 2)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
    across, down = np.cos(angle), np.sin(angle)
    below = np.maximum(down, 0.0)
    height = np.where(down > 0, _CHIN - _CENTRE, _CENTRE - _TOP)
    taper = 1.0 - person.jaw * below**2 - 0.10 * below**5
    x = MIDDLE + _HALF_WIDTH * person.face_width * np.sign(across) * np.abs(across) ** 0.9 * taper
    return np.stack([x, _CENTRE + height * down], axis=1)


def _evaluate_blob(
    x: NDArray[np.float64], y: NDArray[np.float64], cx: float, cy: float, a: float, b: float
) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(((x - cx) / a) ** 2) - ((y - cy) / b) ** 2))


def _render_skin(person: Person, rng: np.random.Generator) -> Image.Image:
    """The head's skin, everywhere: a lit ellipsoid with sockets, cheeks, nose and chin; RGB, canvas size."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] - MARGIN + 0.5
    u = (x - MIDDLE) / (_HALF_WIDTH * person.face_width * 1.06)
    v = (y - _CENTRE) / np.where(y > _CENTRE, _CHIN - _CENTRE + 4.0, _CENTRE - _TOP + 8.0)
    depth = np.sqrt(np.clip(1.0 - u**2 - v**2, 0.02, 1.0))
    light = 0.60 + 0.42 * depth - 0.10 * v
    for side in (-1.0, 1.0):
        light -= 0.13 * _evaluate_blob(x, y, MIDDLE + side * 17.5, 48.5, 10.5, 6.0)
        light += 0.05 * _evaluate_blob(x, y, MIDDLE + side * 20.0, 69.0, 10.0, 7.0)
        light -= 0.07 * _evaluate_blob(x, y, MIDDLE + side * 31.0, 88.0, 9.0, 16.0)
        light -= 0.05 * _evaluate_blob(x, y, MIDDLE + side * 6.5, 55.0, 3.0, 9.0)
    light += 0.06 * _evaluate_blob(x, y, MIDDLE, 26.0, 24.0, 12.0) + 0.05 * _evaluate_blob(
        x, y, MIDDLE, 106.0, 9.0, 5.0
    )
    light -= 0.07 * _evaluate_blob(x, y, MIDDLE, 99.5, 9.0, 2.6)
    tone = np.asarray(person.skin, dtype=np.float64) * light[..., None]
    flush = sum(_evaluate_blob(x, y, MIDDLE + side * 21.0, 73.0, 11.0, 9.0) for side in (-1.0, 1.0)) + _evaluate_blob(
        x, y, MIDDLE, 76, 7, 6
    )
    tone += np.asarray(flush)[..., None] * np.array([7.0, -9.0, -8.0])
    grain = Image.fromarray(rng.integers(0, 256, (SIDE // 2, SIDE // 2), dtype=np.uint8)).resize((SIDE, SIDE))
    tone *= 1.0 + 0.022 * (np.asarray(grain, dtype=np.float64)[..., None] / 127.5 - 1.0)
    image = Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8))
    return image.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.BICUBIC)


def _render_background(person: Person, rng: np.random.Generator) -> Image.Image:
    ramp = Image.linear_gradient("L").rotate(int(rng.integers(4)) * 90).resize((SIDE, SIDE))
    near, far = (Image.new("RGB", (SIDE, SIDE), color) for color in person.backdrop)
    image = Image.composite(near, far, ramp)
    pen = Pen(image, scale=1)
    for _ in range(int(rng.integers(2, 7))):
        shade = mix(person.backdrop[int(rng.integers(2))], rng.integers(0, 256, 3).tolist(), 0.35)
        (x, y), size = rng.uniform(-MARGIN, CROP + MARGIN, 2).tolist(), float(rng.uniform(4, 16))
        pen.ellipse(x, y, size, size * float(rng.uniform(0.6, 1.6)), shade)
    return image.filter(ImageFilter.GaussianBlur(3)).resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.BICUBIC)


def _draw_behind(pen: Pen, person: Person) -> None:
    """Hair behind the head, neck, shoulders and ears."""
    half = _HALF_WIDTH * person.face_width
    if person.hair == "long":
        shade = mix(person.hair_color, (0, 0, 0), 0.25)
        pen.ellipse(MIDDLE, 46, half + 9, 62, shade)
        pen.polygon(np.array([(MIDDLE - half - 9, 46), (MIDDLE + half + 9, 46), (108, 130), (4, 130)]), shade)
    elif person.hair != "bald":
        pen.ellipse(MIDDLE, 40, half + 3.5, 54, mix(person.hair_color, (0, 0, 0), 0.25))
    neck = mix(person.skin, (40, 16, 10), 0.42)
    pen.polygon(np.array([(32, 96), (80, 96), (84, 130), (28, 130)]), neck)
    pen.ellipse(MIDDLE, 134, 62, 14, person.shirt)
    if person.hair != "long":
        for side in (-1, 1):
            pen.ellipse(MIDDLE + side * (half + 0.5), 60, 4.6, 9.5, mix(person.skin, (60, 20, 10), 0.22))
            pen.ellipse(MIDDLE + side * (half + 1.2), 60, 2.4, 6.0, mix(person.skin, (60, 20, 10), 0.42))


def _outline_hair(person: Person) -> Points:
    """Contour of the hair in front of the forehead."""
    half, line = _HALF_WIDTH * person.face_width + 1.5, person.hairline
    left, right = MIDDLE - half, MIDDLE + half
    crown = bezier(
        (right, 44),
        (right + 5, -20),
        (MIDDLE + 16, -24),
        (MIDDLE, -22),
        (MIDDLE - 16, -24),
        (left - 5, -20),
        (left, 44),
        count=24,
    )
    rims: dict[str, Points] = {
        "cropped": bezier(
            (left, 44),
            (left + 7, line + 4),
            (MIDDLE - 22, line),
            (MIDDLE, line - 2),
            (MIDDLE + 22, line),
            (right - 7, line + 4),
            (right, 44),
            count=24,
        ),
        "parted": np.concatenate(
            [
                bezier((left, 46), (left + 5, line + 10), (MIDDLE - 26, line - 1), (MIDDLE - 16, line - 7), count=12),
                bezier((MIDDLE - 16, line - 7), (MIDDLE + 14, line + 8), (right - 6, line + 6), (right, 46), count=12),
            ]
        ),
        "fringe": bezier(
            (left, 56),
            (left + 6, line + 10),
            (MIDDLE - 20, line + 9),
            (MIDDLE, line + 7),
            (MIDDLE + 20, line + 9),
            (right - 6, line + 10),
            (right, 56),
            count=24,
        ),
        "long": np.concatenate(
            [
                bezier((left - 2, 130), (left + 5, 60), (left + 8, line + 12), (MIDDLE, line - 8), count=16),
                bezier((MIDDLE, line - 8), (right - 8, line + 12), (right - 5, 60), (right + 2, 130), count=16),
            ]
        ),
    }
    return np.concatenate([crown, rims[person.hair]])


def _add_hair(image: Image.Image, person: Person, rng: np.random.Generator) -> None:
    mask = Image.new("L", image.size)
    Pen(mask).polygon(_outline_hair(person), 255)
    cast = mask.filter(ImageFilter.GaussianBlur(5)).point([round(0.42 * value) for value in range(256)])
    image.paste(mix(person.skin, (30, 8, 4), 0.75), (0, 5), cast)
    strands = Image.new("RGB", image.size, person.hair_color)
    pen = Pen(strands)
    part = MIDDLE - 16 if person.hair == "parted" else MIDDLE
    for _ in range(90):
        end = float(rng.uniform(-10, 122))
        shine = float(rng.uniform(-0.30, 0.22))
        shade = mix(person.hair_color, (255, 236, 210) if shine > 0 else (0, 0, 0), abs(shine))
        top = (part + (end - part) * 0.25, -20.0)
        pen.line(
            bezier(top, (end, -6.0), (end + (end - part) * 0.12, 60 if person.hair != "long" else 120)), shade, 0.8
        )
    image.paste(strands, mask=mask.filter(ImageFilter.GaussianBlur(1.2)))


def _add_beard(image: Image.Image, face: Image.Image, person: Person, rng: np.random.Generator) -> None:
    half = _HALF_WIDTH * person.face_width * (1 - 0.5 * person.jaw)
    mask = Image.new("L", image.size)
    pen = Pen(mask)
    if person.beard != "moustache":
        rim = bezier(
            (MIDDLE - half, 66), (MIDDLE - half + 6, 132), (MIDDLE + half - 6, 132), (MIDDLE + half, 66), count=24
        )
        inner = bezier(
            (MIDDLE + half - 3, 66),
            (MIDDLE + 20, 92),
            (MIDDLE + 12, 86),
            (MIDDLE, 85),
            (MIDDLE - 12, 86),
            (MIDDLE - 20, 92),
            (MIDDLE - half + 3, 66),
            count=24,
        )
        pen.polygon(np.concatenate([rim, inner]), 255)
        pen.ellipse(MIDDLE, 93, 12.0, 4.6, 60)
    pen.polygon(
        np.concatenate(
            [
                bezier((MIDDLE - 15, 92), (MIDDLE - 8, 82), (MIDDLE, 83.5), (MIDDLE + 8, 82), (MIDDLE + 15, 92)),
                bezier((MIDDLE + 15, 92), (MIDDLE, 86), (MIDDLE - 15, 92)),
            ]
        ),
        255,
    )
    strength = {"stubble": 0.30, "moustache": 0.85, "full": 0.88}[person.beard]
    speckle = rng.integers(130, 256, image.size[::-1])
    soft = (
        np.asarray(ImageChops.multiply(face, mask.filter(ImageFilter.GaussianBlur(3))), dtype=np.float64)
        * speckle
        / 255.0
        * strength
    )
    hair = Image.new("RGB", image.size, mix(person.hair_color, (20, 14, 12), 0.3))
    image.paste(hair, mask=Image.fromarray(soft.astype(np.uint8)))


def draw_head(person: Person) -> Image.Image:
    """Draws what does not move.

    Returns:
        RGB, `SCALE` pixels to a crop pixel, with `MARGIN` crop pixels around the crop.
    """
    rng = np.random.default_rng(person.seed)
    image = _render_background(person, rng)
    _draw_behind(Pen(image), person)
    face = Image.new("L", image.size)
    Pen(face).polygon(outline_face(person), 255)
    face = face.filter(ImageFilter.GaussianBlur(0.8))
    image.paste(_render_skin(person, rng), mask=face)
    if person.freckles:
        pen = Pen(image)
        for _ in range(int(70 * person.freckles)):
            x, y = float(MIDDLE + 15 * rng.standard_normal()), float(72 + 6 * rng.standard_normal())
            pen.ellipse(x, y, 0.5, 0.5, mix(person.skin, (130, 66, 34), 0.55))
    if person.beard != "none":
        _add_beard(image, face, person, rng)
    if person.hair != "bald":
        _add_hair(image, person, rng)
    return image
