"""A contact sheet: what the drawn faces look like."""

from PIL import Image

from abawkit.labels import EXPRESSIONS
from abawkit.synth.frame import VideoRenderer
from abawkit.synth.muscles import prototype
from abawkit.synth.pen import CROP


def contact_sheet(people: int = 6, seed: int = 0, hardest: float = 0.9) -> Image.Image:
    """Draws textbook expressions of some people.

    Args:
        people: Number of rows, at least 1, each another person.
        seed: Seed of the people, as in `write_release`.
        hardest: Difficulty of the last row, 0..1; it rises evenly from 0 in the first.

    Returns:
        RGB, 896 pixels wide, `people` times 112 high; columns are the eight expressions in their order.
    """
    sheet = Image.new("RGB", (CROP * len(EXPRESSIONS), CROP * people))
    for row in range(people):
        renderer = VideoRenderer(seed, "train", row, hardest * row / max(people - 1, 1))
        for column in range(len(EXPRESSIONS)):
            sheet.paste(renderer.image(40 * column, prototype(column)), (CROP * column, CROP * row))
    return sheet
