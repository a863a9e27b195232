"""Lips, teeth and what lies behind them."""

import numpy as np

from abawkit.synth.face.pen import MIDDLE, Pen, Points, bezier, mix
from abawkit.synth.people import Person

MOUTH_Y = 92.0
JAW_DROP = 3.5
"""Pixels that AU26 lowers the chin by at intensity 1."""


def measure_opening(unit: dict[str, float]) -> float:
    """Height in pixels of the gap between the lips: none without AU25, as the lips then stay together."""
    parted = unit["AU25"]
    return 3.0 * parted + 3.75 * unit["AU26"] * min(1.0, parted / 0.3)


def locate_corners(person: Person, unit: dict[str, float]) -> tuple[float, float]:
    """Distance of the mouth's corners from the middle, and their y."""
    half = 12.5 * person.mouth_width * (1 + 0.24 * unit["AU12"]) * (1 - 0.20 * unit["AU23"]) * (1 + 0.14 * unit["AU20"])
    return half, MOUTH_Y - 4.6 * unit["AU12"] + 4.6 * unit["AU15"] + 0.8 * unit["AU20"]


def draw_mouth(pen: Pen, person: Person, unit: dict[str, float]) -> None:
    """Draws the mouth."""
    half, side_y = locate_corners(person, unit)
    gap = measure_opening(unit)
    height = person.fullness * (1 - 0.45 * unit["AU23"]) * (1 - 0.78 * unit["AU24"])
    middle = MOUTH_Y - 1.0 * unit["AU17"] + 0.6 * unit["AU12"]
    upper_in = middle - 0.35 * gap - 1.2 * unit["AU10"]
    lower_in = upper_in + gap + (1.2 * unit["AU10"] if gap > 0 else 0.0)
    top = upper_in - 3.7 * height - 2.0 * unit["AU10"]
    bottom = lower_in + 4.9 * height - 0.9 * unit["AU17"]
    left, right = (MIDDLE - half, side_y), (MIDDLE + half, side_y)
    peak = 0.24 * half
    upper_out = np.concatenate(
        [
            bezier(left, (MIDDLE - 0.55 * half, top + 0.6), (MIDDLE - peak, top), count=8),
            bezier((MIDDLE - peak, top), (MIDDLE, top + 1.9 * height), (MIDDLE + peak, top), count=6),
            bezier((MIDDLE + peak, top), (MIDDLE + 0.55 * half, top + 0.6), right, count=8),
        ]
    )
    inset = 0.12 * half
    start, end = (left[0] + inset, side_y), (right[0] - inset, side_y)
    ceiling = bezier(start, (MIDDLE, 2 * upper_in - side_y), end, count=14)
    floor = bezier(start, (MIDDLE, 2 * lower_in - side_y), end, count=14)
    reach = side_y + (bottom - side_y) * 4 / 3
    lower_out = bezier(left, (MIDDLE - 0.62 * half, reach), (MIDDLE + 0.62 * half, reach), right, count=16)
    upper_lip = mix(person.lips, (60, 10, 16), 0.16)
    pen.polygon(np.concatenate([upper_out, ceiling[::-1]]), upper_lip)
    pen.polygon(np.concatenate([lower_out, floor[::-1]]), person.lips)
    if height > 0.4:
        shine = bezier(
            (MIDDLE - 0.4 * half, lower_in + 2.2 * height),
            (MIDDLE, lower_in + 2.9 * height),
            (MIDDLE + 0.4 * half, lower_in + 2.2 * height),
            count=7,
        )
        pen.line(shine, mix(person.lips, (255, 236, 226), 0.28), 1.0 * height)
    if gap > 0.15:
        _draw_inside(pen, ceiling, floor)
    seam = mix(person.lips, (34, 8, 10), 0.72)
    full_seam = np.concatenate([[left], ceiling, [right]])
    pen.line(full_seam, seam, 0.8 if gap > 0.15 else 1.1)
    for x in (left[0], right[0]):
        pen.ellipse(x, side_y, 0.9, 0.8, seam)


def _draw_inside(pen: Pen, ceiling: Points, floor: Points) -> None:
    space = np.maximum(floor[:, 1] - ceiling[:, 1], 0.0)
    teeth, tongue = ceiling.copy(), floor.copy()
    teeth[:, 1] += np.minimum(0.68 * space, 3.2)
    tongue[:, 1] -= np.maximum(0.45 * space - 1.2, 0.0)
    pen.polygon(np.concatenate([ceiling, floor[::-1]]), (52, 12, 18))
    pen.polygon(np.concatenate([tongue, floor[::-1]]), (168, 72, 78))
    pen.polygon(np.concatenate([ceiling, teeth[::-1]]), (240, 236, 226))
