from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from abawkit.errors import ConfigError
from abawkit.frames.augmentation import MEAN, STD, _erase_by_mask_, apply_variation, augment, normalise, plan_variation
from abawkit.frames.augmentation_config import DDAMFN_AUGMENTATION, Augmentation
from tests.host_traffic import HostTraffic

EVERYTHING = Augmentation(
    flip=0.5,
    affine=0.7,
    angle=20.0,
    scale=(0.8, 1.2),
    shift=0.2,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    erase=0.5,
)
ROWS = np.arange(40, 56)


@pytest.fixture
def pixels(scene: Callable[..., NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack([scene(seed=int(row)) for row in ROWS]))


def grey_levels(images: Tensor) -> Tensor:
    """Undoes the normalisation."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images * deviation + mean) * 255


def vary(pixels: Tensor, epoch: int = 0, rows: NDArray[Any] = ROWS, **config: Any) -> Tensor:
    return grey_levels(augment(pixels, rows, seed=1, epoch=epoch, config=Augmentation(**config)))


def dots(x: int, y: int, count: int = 16) -> Tensor:
    """Black frames with one white pixel at column x and row y."""
    pixels = torch.zeros(count, 112, 112, 3, dtype=torch.uint8)
    pixels[:, y, x] = 255
    return pixels


def centres(images: Tensor) -> Tensor:
    """Centre of gravity of the light, (n, 2) as x, y in pixels; NaN where it left the frame."""
    light = images.mean(1).clamp_min(0)
    axis = torch.arange(112.0)
    return (
        torch.stack([(light * axis).sum((1, 2)), (light * axis[:, None]).sum((1, 2))], 1) / light.sum((1, 2))[:, None]
    )


def test_normalising_is_imagenets(pixels: Tensor) -> None:
    images = normalise(pixels)
    expected = (pixels.permute(0, 3, 1, 2).double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images.double(), expected, atol=1e-6, rtol=1e-6)


def test_the_default_only_normalises(pixels: Tensor) -> None:
    assert torch.equal(augment(pixels, ROWS, seed=1, epoch=0, config=Augmentation()), normalise(pixels))


@pytest.mark.parametrize("config", [DDAMFN_AUGMENTATION, EVERYTHING], ids=["published", "everything"])
def test_a_row_does_not_depend_on_its_batch(pixels: Tensor, config: Augmentation) -> None:
    whole = augment(pixels, ROWS, seed=1, epoch=3, config=config)
    order = np.random.default_rng(0).permutation(len(ROWS))
    shuffled = augment(pixels[torch.from_numpy(order)], ROWS[order], seed=1, epoch=3, config=config)
    assert torch.equal(shuffled, whole[torch.from_numpy(order)])
    for k in range(len(ROWS)):
        assert torch.equal(augment(pixels[k : k + 1], ROWS[k : k + 1], seed=1, epoch=3, config=config)[0], whole[k])


def test_a_repeated_call_gives_the_same_bits_and_leaves_its_input(pixels: Tensor) -> None:
    before = pixels.clone()
    first = augment(pixels, ROWS, seed=1, epoch=0, config=EVERYTHING)
    torch.manual_seed(123)
    np.random.default_rng(5).random(10)
    assert torch.equal(augment(pixels, ROWS, seed=1, epoch=0, config=EVERYTHING), first)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}, {"rows": ROWS + 1}], ids=str)
def test_seed_epoch_and_row_each_change_every_frame(pixels: Tensor, change: dict[str, Any]) -> None:
    config = Augmentation(affine=1, angle=20, shift=0.2)
    arguments: dict[str, Any] = {"rows": ROWS, "seed": 1, "epoch": 0, "config": config}
    first, second = augment(pixels, **arguments), augment(pixels, **(arguments | change))
    assert (first != second).flatten(1).any(1).all()


def test_a_flip_mirrors_left_and_right_alone(pixels: Tensor) -> None:
    expected = pixels.permute(0, 3, 1, 2).flip(3).float()
    torch.testing.assert_close(vary(pixels, flip=1), expected, atol=0.01, rtol=0)


def test_half_of_the_rows_are_flipped() -> None:
    rows = np.arange(400)
    centre = centres(vary(dots(10, 20, 400), rows=rows, flip=0.5))[:, 0]
    torch.testing.assert_close(centre[centre < 56], torch.full_like(centre[centre < 56], 10.0), atol=0.01, rtol=0)
    torch.testing.assert_close(centre[centre > 56], torch.full_like(centre[centre > 56], 101.0), atol=0.01, rtol=0)
    assert 160 < int((centre > 56).sum()) < 240


def test_a_rotation_keeps_the_distance_to_the_centre_and_stays_within_the_angle() -> None:
    offset = centres(vary(dots(86, 56), affine=1, angle=20)) - 55.5
    angles = torch.rad2deg(torch.atan2(offset[:, 1], offset[:, 0]) - np.arctan2(0.5, 30.5))
    torch.testing.assert_close(offset.norm(dim=1), torch.full((16,), float(np.hypot(30.5, 0.5))), atol=0.3, rtol=0)
    assert angles.abs().max() <= 20.5
    assert angles.min() < -5
    assert angles.max() > 5


def test_a_size_below_one_draws_the_frame_together() -> None:
    for size in (0.5, 0.8, 1.25):
        spot = dots(75, 95)
        spot[:, 94:97, 74:77] = 255
        torch.testing.assert_close(
            centres(vary(spot, affine=1, scale=(size, size))),
            (55.5 + size * torch.tensor([75 - 55.5, 95 - 55.5])).expand(16, 2),
            atol=0.3,
            rtol=0,
        )


def test_a_shift_moves_by_a_part_of_the_side_in_both_directions() -> None:
    moved = centres(vary(dots(40, 60, 400), rows=np.arange(400), affine=1, shift=0.2)) - torch.tensor([40.0, 60.0])
    assert moved.abs().max() <= 0.2 * 112 + 0.01
    assert (moved.min(0).values < -20).all()
    assert (moved.max(0).values > 20).all()
    assert abs(float(np.corrcoef(moved.numpy().T)[0, 1])) < 0.2


def test_flip_size_rotation_and_shift_are_done_in_this_order() -> None:
    """The parts of each row's map, seen one at a time, say where all of them together take a dot."""
    right = centres(vary(dots(95, 55), affine=1, angle=20)) - 55.5
    angle = torch.atan2(right[:, 1], right[:, 0]) - float(np.arctan2(-0.5, 39.5))
    size = (centres(vary(dots(95, 55), affine=1, scale=(0.7, 0.9))) - 55.5)[:, 0] / 39.5
    shift = centres(vary(dots(55, 55), affine=1, shift=0.1)) - 55
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(16, 2, 2)
    for x, y in [(40, 45), (75, 50), (50, 80)]:
        seen = centres(vary(dots(x, y), flip=1, affine=1, angle=20, scale=(0.7, 0.9), shift=0.1))
        flipped = torch.tensor([111 - x - 55.5, y - 55.5])
        expected = 55.5 + size[:, None] * (rotation @ flipped) + shift
        torch.testing.assert_close(seen, expected, atol=0.8, rtol=0)


def test_what_comes_in_from_outside_is_black() -> None:
    white = torch.full((16, 112, 112, 3), 255, dtype=torch.uint8)
    shrunk = vary(white, affine=1, scale=(0.5, 0.5))
    torch.testing.assert_close(shrunk[:, :, :27, :], torch.zeros(16, 3, 27, 112), atol=1e-3, rtol=0)
    torch.testing.assert_close(shrunk[:, :, 29:83, 29:83], torch.full((16, 3, 54, 54), 255.0), atol=0.01, rtol=0)


def test_the_published_share_of_rows_is_moved() -> None:
    rows = np.arange(400)
    centre = centres(vary(dots(40, 60, 400), rows=rows, affine=0.7, shift=0.2))
    still = ((centre - torch.tensor([40.0, 60.0])).abs() < 0.01).all(1)
    assert 90 < int(still.sum()) < 150


def test_brightness_is_a_factor() -> None:
    grey = torch.full((16, 112, 112, 3), 100, dtype=torch.uint8)
    factors = vary(grey, brightness=0.4)[:, :, 0, 0] / 100
    assert factors.min() >= 0.6 - 1e-5
    assert factors.max() <= 1.4 + 1e-5
    assert factors[:, 0].std() > 0.1
    torch.testing.assert_close(factors[:, 0], factors[:, 2])


def test_contrast_keeps_the_mean_grey(pixels: Tensor) -> None:
    middle = 64 + pixels // 4  # no clamping
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    before = (grey_levels(normalise(middle)) * weights).sum(1)
    after = (vary(middle, contrast=0.5) * weights).sum(1)
    torch.testing.assert_close(after.mean((1, 2)), before.mean((1, 2)), atol=0.01, rtol=0)
    ratio = after.std((1, 2)) / before.std((1, 2))
    assert ratio.min() >= 0.5
    assert ratio.max() <= 1.5
    assert ratio.std() > 0.1


def test_saturation_keeps_each_pixels_grey_and_leaves_grey_pixels(pixels: Tensor) -> None:
    middle = 64 + pixels // 4
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    before, after = grey_levels(normalise(middle)), vary(middle, saturation=0.5)
    torch.testing.assert_close((after * weights).sum(1), (before * weights).sum(1), atol=0.01, rtol=0)
    assert (after - before).abs().amax((1, 2, 3)).min() > 0.1
    grey = torch.full((16, 112, 112, 3), 100, dtype=torch.uint8)
    torch.testing.assert_close(vary(grey, saturation=0.5), torch.full((16, 3, 112, 112), 100.0), atol=0.01, rtol=0)


def test_brightness_contrast_and_saturation_are_done_in_this_order(pixels: Tensor) -> None:
    """Compared with the three steps one after the other, their factors read off frames of two colours."""
    amounts: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    middle = 64 + pixels // 4
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = torch.full((16, 112, 112, 3), 100, dtype=torch.uint8)
    brightness = (vary(grey, brightness=0.2)[:, :1, :1, :1]) / 100
    grey[:, :56] = 140
    contrast = (vary(grey, contrast=0.2)[:, :1, :1, :1] - 120) / 20
    coloured = grey.clone()
    coloured[..., 0] = 60
    own = (coloured[:, :1, :1].permute(0, 3, 1, 2) * weights).sum(1, keepdim=True)
    saturation = (vary(coloured, saturation=0.2)[:, :1, :1, :1] - own) / (60 - own)
    expected = grey_levels(normalise(middle)) * brightness
    mean = (expected * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    expected = mean + contrast * (expected - mean)
    own = (expected * weights).sum(1, keepdim=True)
    expected = own + saturation * (expected - own)
    torch.testing.assert_close(vary(middle, **amounts), expected.clamp(0, 255), atol=0.05, rtol=0)


def test_colours_stay_in_the_range_of_pixels(pixels: Tensor) -> None:
    images = vary(pixels, brightness=1, contrast=1, saturation=1)
    assert images.min() > -0.01
    assert images.max() < 255.01


def test_an_erased_rectangle_has_its_area_and_its_shape_and_the_mean_colour() -> None:
    rows = np.arange(300)
    white = torch.full((300, 112, 112, 3), 255, dtype=torch.uint8)
    config = Augmentation(erase=1, erase_area=(0.1, 0.2), erase_aspect=(0.5, 2.0))
    images = augment(white, rows, seed=1, epoch=0, config=config)
    erased = (images == 0).all(1)
    assert torch.equal(erased, (images == 0).any(1))
    height, width = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(erased.sum((1, 2)), height * width)
    area, aspect = height * width / 112**2, height / width
    assert 0.097 < area.min() < 0.105
    assert 0.195 < area.max() < 0.204
    assert 0.48 < aspect.min() < 0.55
    assert 1.8 < aspect.max() < 2.1
    share = erased.float().mean(0)
    assert share[56, 56] > share[0, 0]
    assert share.flip(0).sub(share).abs().max() < 0.15


def test_half_of_the_rows_are_erased_in_the_published_training() -> None:
    white = torch.full((400, 112, 112, 3), 255, dtype=torch.uint8)
    images = augment(white, np.arange(400), seed=1, epoch=0, config=Augmentation(erase=DDAMFN_AUGMENTATION.erase))
    assert 160 < int((images == 0).flatten(1).any(1).sum()) < 240


def test_a_rectangle_larger_than_the_frame_is_cut_to_it(pixels: Tensor) -> None:
    config = Augmentation(erase=1, erase_area=(1, 1), erase_aspect=(1, 1))
    assert not augment(pixels, ROWS, seed=1, epoch=0, config=config).any()
    config = Augmentation(erase=1, erase_area=(0.5, 0.5), erase_aspect=(8, 8))
    assert (augment(pixels, ROWS, seed=1, epoch=0, config=config) == 0).all(1).any(2).all()


def test_the_result_is_float32_contiguous_and_without_gradient_under_autocast_too(pixels: Tensor) -> None:
    plain = augment(pixels, ROWS, seed=1, epoch=0, config=EVERYTHING)
    with torch.autocast("cpu", torch.bfloat16):
        images = augment(pixels, ROWS, seed=1, epoch=0, config=EVERYTHING)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert not images.requires_grad
    assert torch.equal(images, plain)


def test_a_batch_of_no_rows_is_a_batch() -> None:
    empty = torch.empty(0, 112, 112, 3, dtype=torch.uint8)
    for config in (Augmentation(), EVERYTHING):
        assert augment(empty, np.empty(0, np.int64), seed=1, epoch=0, config=config).shape == (0, 3, 112, 112)


def test_rows_of_another_number_than_frames_are_an_error(pixels: Tensor) -> None:
    with pytest.raises(ValueError, match="15 rows"):
        augment(pixels, ROWS[1:], seed=1, epoch=0, config=DDAMFN_AUGMENTATION)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"affine": -0.1},
        {"erase": float("nan")},
        {"angle": 200},
        {"scale": (0, 1)},
        {"scale": (1.2, 0.8)},
        {"scale": (1, float("inf"))},
        {"erase_area": (0.1, 1.1)},
        {"erase_aspect": (-1, 1)},
        {"brightness": 2},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"augmentation: {next(iter(wrong))} is .*expected"):
        Augmentation(**wrong)


@pytest.mark.parametrize("erase", [0.0, 0.5, 1.0])
def test_a_mask_erases_what_a_loop_over_rows_does(pixels: Tensor, erase: float) -> None:
    config = Augmentation(erase=erase, erase_area=(0.01, 0.9), erase_aspect=(0.2, 5.0))
    rectangles = plan_variation(ROWS, 112, seed=1, epoch=2, config=config).rectangles
    by_loop = augment(pixels, ROWS, seed=1, epoch=2, config=config)
    assert torch.equal(_erase_by_mask_(normalise(pixels), rectangles), by_loop)
    assert int((by_loop == 0).all(1).flatten(1).any(1).sum()) == int((rectangles[:, 1] > 0).sum())


def test_off_the_cpu_no_value_and_no_constant_goes_between_host_and_device() -> None:
    pixels = torch.empty(16, 112, 112, 3, dtype=torch.uint8, device="meta")
    variation = plan_variation(ROWS, 112, seed=1, epoch=0, config=EVERYTHING).to(pixels.device)
    apply_variation(pixels, variation, EVERYTHING)  # makes what is kept for a device
    with HostTraffic() as traffic:
        images = apply_variation(pixels, variation, EVERYTHING)
    assert traffic.counts() == {}
    assert traffic.operations["aten::masked_fill_"] == 1
    assert images.shape == (16, 3, 112, 112)
