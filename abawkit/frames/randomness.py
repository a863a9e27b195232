"""Random numbers as a function of what they are for: the same row draws the same in any batch, on any machine."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2: Final = np.uint64(0x94D049BB133111EB)


def uniform(seed: int, epoch: int, rows: NDArray[np.integer[Any]], purpose: int) -> NDArray[np.float64]:
    """Draws one number for each row, independent of which other rows are asked for, and in which order.

    Args:
        seed: Seed of the run; any integer, taken modulo 2^64.
        epoch: Epoch, from 0.
        rows: Row numbers, (n,) integers.
        purpose: What the number is for: numbers for different purposes are independent.

    Returns:
        Uniform numbers in [0, 1) with 53 random bits, (n,) float64.

    Source: SplitMix64, used as a hash of its counter: Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014, https://doi.org/10.1145/2660193.2660195.
    """
    key = np.zeros(1, np.uint64)
    for word in (seed, epoch, purpose):
        key = _mix(key ^ np.uint64(word % 2**64))
    bits = _mix(key ^ _mix(rows.astype(np.uint64)))
    return (bits >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = words + _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _FACTOR_1
    z = (z ^ (z >> np.uint64(27))) * _FACTOR_2
    return z ^ (z >> np.uint64(31))
