"""The loader: packed frames, read in random order and augmented as training does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import torch
from PIL import Image

from abawkit.bench.networks import Run
from abawkit.frames.augmentation import augment
from abawkit.frames.decode import FRAME_SIZE
from abawkit.frames.packed import PackedFrames
from abawkit.frames.packing import pack_frames
from abawkit.models.inference import make_model_input
from abawkit.training.recipe import read_recipe

RECIPE: Final = "baseline"
"""The recipe whose augmentation is measured."""


@contextmanager
def make_loader_work(frames: int, batch: int) -> Iterator[dict[str, Run]]:
    """Reads and augments batches of random frames, in another order each time.

    Args:
        frames: Frames in the packed store, which lies in a temporary folder.
        batch: Frames at a time.

    Yields:
        The work by who does it, which is ``abawkit`` alone.
    """
    random = np.random.default_rng(0)
    with TemporaryDirectory(prefix="abawkit-bench-") as folder:
        store = _pack_random_frames(Path(folder), frames, random)
        config = read_recipe(RECIPE).augmentation

        def load() -> object:
            rows = random.choice(frames, batch, replace=False)
            return make_model_input(augment(torch.from_numpy(store.take(rows)), rows, seed=0, epoch=0, config=config))

        yield {"abawkit": load}


def _pack_random_frames(folder: Path, frames: int, random: np.random.Generator) -> PackedFrames:
    names = [f"video/{number + 1:05d}.jpg" for number in range(frames)]
    (folder / "video").mkdir()
    for name in names:
        coarse = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((FRAME_SIZE, FRAME_SIZE)).save(folder / name)
    pack_frames(names, folder, folder / "packed", workers=2)
    return PackedFrames.open(folder / "packed")
