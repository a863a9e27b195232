"""Augmentation on a device: the same random choices as on the CPU, and the same pixels but for rounding."""

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.frames.augmentation import augment
from abawkit.frames.augmentation_config import DDAMFN_AUGMENTATION, Augmentation
from tests.frames.test_augmentation import EVERYTHING

BOUND = 2e-3
"""Of normalised values, in which a grey level is 0.017: coordinates of float32 are off by 1e-5 pixels, and neighbouring
pixels of random noise differ by up to 255 levels."""

ROWS = np.arange(300, 340)

CONFIGS = {"normalised alone": Augmentation(), "published": DDAMFN_AUGMENTATION, "everything": EVERYTHING}


@pytest.fixture
def pixels() -> Tensor:
    shape = (len(ROWS), 112, 112, 3)
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_device_gives_the_pixels_of_the_cpu(pixels: Tensor, name: str, device: str) -> None:
    expected = augment(pixels, ROWS, seed=3, epoch=2, config=CONFIGS[name])
    found = augment(pixels.to(device), ROWS, seed=3, epoch=2, config=CONFIGS[name])
    assert found.device.type == device
    assert (found.dtype, found.shape, found.is_contiguous()) == (expected.dtype, expected.shape, True)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=BOUND)
    erased = (expected == 0).all(1)
    assert torch.equal((found == 0).all(1).cpu(), erased)
    assert bool(erased.any()) is (name != "normalised alone")


def test_a_row_is_the_same_to_the_last_bit_whatever_is_beside_it(pixels: Tensor, device: str) -> None:
    whole = augment(pixels.to(device), ROWS, seed=3, epoch=2, config=EVERYTHING)
    order = np.random.default_rng(1).permutation(len(ROWS))
    shuffled = augment(pixels[torch.from_numpy(order)].to(device), ROWS[order], seed=3, epoch=2, config=EVERYTHING)
    assert torch.equal(shuffled.cpu(), whole.cpu()[torch.from_numpy(order)])
    alone = augment(pixels[7:8].to(device), ROWS[7:8], seed=3, epoch=2, config=EVERYTHING)
    assert torch.equal(alone[0], whole[7])
