"""Batches: what is packed for one copy comes out of it again, for one process and for a part of several."""

from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.frames.augmentation import apply_variation, augment, normalise, plan_variation
from abawkit.frames.augmentation_config import DDAMFN_AUGMENTATION
from abawkit.labels import TASKS
from abawkit.models.devices import upload
from abawkit.training.batches import collect_batch, unpack_batch
from abawkit.training.data import read_training_rows
from abawkit.training.recipe import Recipe
from tests.host_traffic import HostTraffic

CPU = torch.device("cpu")
RECIPE = Recipe(seed=5, augmentation=DDAMFN_AUGMENTATION)
BATCH = np.array([7, 3, 40, 11, 2])


@pytest.mark.parametrize("part", [BATCH, BATCH[2:4]], ids=["alone", "a part"])
def test_a_batch_comes_out_as_it_went_in(curated: Path, part: np.ndarray) -> None:
    rows = read_training_rows(open_curated(curated), TASKS)
    batch = collect_batch(rows, BATCH, part, 2, RECIPE.seed, RECIPE.augmentation, CPU)
    targets, variation = unpack_batch(batch.numbers, len(BATCH), len(part))
    for name, expected in rows.targets(BATCH)._asdict().items():
        found = getattr(targets, name)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
        assert found.is_contiguous()
    expected_variation = plan_variation(rows.rows[part], 112, seed=5, epoch=2, config=DDAMFN_AUGMENTATION)
    assert all(torch.equal(a, b) for a, b in zip(variation, expected_variation, strict=True))
    pixels = torch.from_numpy(rows.pixels(part))
    assert torch.equal(batch.frames, pixels)
    whole = augment(pixels, rows.rows[part], seed=5, epoch=2, config=DDAMFN_AUGMENTATION)
    assert torch.equal(apply_variation(batch.frames, variation, DDAMFN_AUGMENTATION), whole)


def test_a_batch_goes_to_its_device_in_two_copies_and_is_taken_apart_there_without_any(curated: Path) -> None:
    batch = collect_batch(
        read_training_rows(open_curated(curated), TASKS), BATCH, BATCH, 0, RECIPE.seed, RECIPE.augmentation, CPU
    )
    normalise(torch.empty(1, 2, 2, 3, dtype=torch.uint8, device="meta"))  # makes what is kept for a device
    with HostTraffic() as traffic:
        frames, numbers = (upload(part, torch.device("meta")) for part in (batch.frames, batch.numbers))
        targets, variation = unpack_batch(numbers, len(BATCH), len(BATCH))
        apply_variation(frames, variation, DDAMFN_AUGMENTATION)
    assert traffic.counts() == {"aten::_to_copy": 2}
    assert {part.device.type for part in (*targets, *variation)} == {"meta"}
