"""How training frames are varied: the parameters, and what their random numbers are for. Needs no torch."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from abawkit.errors import ConfigError


class Purpose(IntEnum):
    """What a random number is for; changing a value changes every run."""

    FLIP = 0
    AFFINE = 1
    ANGLE = 2
    SCALE = 3
    SHIFT_X = 4
    SHIFT_Y = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    SATURATION = 8
    ERASE = 9
    ERASE_AREA = 10
    ERASE_ASPECT = 11
    ERASE_X = 12
    ERASE_Y = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training frames are varied; the default varies nothing.

    Attributes:
        flip: Probability of a horizontal flip. It happens before the affine map.
        affine: Probability of an affine map; the next three values are of no effect where it is 0.
        angle: Rotation, uniform in -angle..angle degrees around the centre.
        scale: Lower and upper bound of the size, uniform, 0.01 to 100; below 1 shrinks the face.
        shift: Shift in x and in y, each uniform in -shift..shift of the frame's side.
        brightness: All channels times a factor, uniform in 1 -+ brightness.
        contrast: Distance to the frame's mean grey times a factor, uniform in 1 -+ contrast.
        saturation: Distance to the pixel's own grey times a factor, uniform in 1 -+ saturation.
        erase: Probability that a rectangle is erased, to the ImageNet mean.
        erase_area: Bounds of its area as a part of the frame, uniform.
        erase_aspect: Bounds of its height over its width, 0.01 to 100, uniform in the logarithm.

    Raises:
        ConfigError: If a value is out of its range.
    """

    flip: float = 0.0
    affine: float = 0.0
    angle: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.33)
    erase_aspect: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        for name in ("flip", "affine", "shift", "brightness", "contrast", "saturation", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augmentation: {name} is {getattr(self, name)}, expected 0..1")
        if not 0 <= self.angle <= 180:
            raise ConfigError(f"augmentation: angle is {self.angle}, expected 0..180 degrees")
        for name, lowest, highest in (("scale", 0.01, 100), ("erase_area", 0, 1), ("erase_aspect", 0.01, 100)):
            low, high = getattr(self, name)
            if not (lowest <= low <= high <= highest and low > 0):
                expected = (
                    f"0 < lower <= upper <= {highest}" if not lowest else f"{lowest} <= lower <= upper <= {highest}"
                )
                raise ConfigError(f"augmentation: {name} is {low}, {high}; expected {expected}")


PUBLISHED: Final = Augmentation(flip=0.5, affine=0.7, angle=20.0, scale=(0.8, 1.0), shift=0.2, erase=0.5)
"""What DDAMFN was trained with. Source: Zhang et al., Electronics 12(17) 3595 (2023), published code."""
