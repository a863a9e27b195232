"""Parameters of data augmentation, and its random numbers, a function of seed and row alone. Needs no torch."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from abawkit.errors import ConfigError

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2: Final = np.uint64(0x94D049BB133111EB)


def draw_uniform(seed: int, epoch: int, rows: NDArray[np.integer[Any]], purpose: int) -> NDArray[np.float64]:
    """Samples a number for each row, which does not depend on the other rows or on their order.

    Args:
        seed: Seed of the run; any integer, taken modulo 2^64.
        epoch: Epoch, from 0.
        rows: Row numbers, (n,) integers.
        purpose: Numbers for different purposes are independent.

    Returns:
        Uniform numbers in [0, 1) with 53 random bits, (n,) float64.

    Source: SplitMix64, used as a hash of its counter: Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014, https://doi.org/10.1145/2660193.2660195.
    """
    key = np.zeros(1, np.uint64)
    for word in (seed, epoch, purpose):
        key = _mix_bits(key ^ np.uint64(word % 2**64))
    bits = _mix_bits(key ^ _mix_bits(rows.astype(np.uint64)))
    return (bits >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def _mix_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = words + _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _FACTOR_1
    z = (z ^ (z >> np.uint64(27))) * _FACTOR_2
    return z ^ (z >> np.uint64(31))


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


_CAUSES: Final = ("flip", "affine", "brightness", "contrast", "saturation", "erase")
"""Keys without which no frame is varied; the others say how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training frames are varied; the default varies nothing.

    Attributes:
        flip: Probability of a horizontal flip. It happens before the affine map. A sequence network takes the features
            of mirrored frames for a whole window.
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

    @property
    def varies(self) -> bool:
        """Whether it changes any frame."""
        return any(getattr(self, name) > 0 for name in _CAUSES)

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


DDAMFN_AUGMENTATION: Final = Augmentation(flip=0.5, affine=0.7, angle=20.0, scale=(0.8, 1.0), shift=0.2, erase=0.5)
"""What DDAMFN was trained with. Source: Zhang et al., Electronics 12(17) 3595 (2023), published code."""
