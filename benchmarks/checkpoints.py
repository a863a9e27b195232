"""What does a checkpoint cost, as a share of the steps between two of them?

Takes steps of a recipe on a synthetic release and saves a checkpoint after each, in turn, and prints the medians, the
size, and the checkpoint's share of the recipe's interval. A run stands still while its state is copied, and goes on
while a thread writes the copy: a step beside that is measured too.

    python benchmarks/checkpoints.py [--rounds 15] [--batch 32]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from abawkit.curation import curate, find_sources, open_curated
from abawkit.run_names import BEST, CHECKPOINTS
from abawkit.synth.release import write_release
from abawkit.training.build import build_loop
from abawkit.training.callbacks import Callbacks
from abawkit.training.distributed import ALONE
from abawkit.training.recipe import read_recipe
from abawkit.training.start import Inputs


def main() -> None:
    """Measures both recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32, help="rows of a step, fewer than the recipes have")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, batches of {options.batch}, medians of {options.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:  # the disk, not memory
        folder = Path(name)
        write_release(folder / "release", size="tiny", workers=2)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release"), folder / "curated", policy="per-task")
        for recipe in ("demo", "baseline"):
            measure(recipe, folder / "curated", folder / recipe, options.rounds, options.batch)


def measure(name: str, curated: Path, out: Path, rounds: int, batch_size: int) -> None:
    """Prints what a checkpoint of a recipe costs."""
    recipe = read_recipe(name, [f"batch_size={batch_size}"])
    out.mkdir()
    inputs = Inputs(curated)
    loop = build_loop(recipe, inputs, open_curated(curated), out, processes=ALONE, callbacks=Callbacks())
    scheduled, batch = loop.plan[-1], loop.batches(0)[0]
    loop.learner.begin_epoch(scheduled, fresh=True)
    collected = loop.learner.collect(0, batch, batch)
    loop.save_validated([BEST], 0.0)
    loop.progress.best_epoch = 1  # from the first epoch on a checkpoint holds the best weights too
    steps, copies, slowed, writes = [], [], [], []
    for k in range(rounds + 1):
        began = time.perf_counter()
        loop.learner.step(1e-4, collected).read()
        steps.append(time.perf_counter() - began)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        loop.progress.position = loop.progress.position._replace(batch=k)
        began = time.perf_counter()
        loop.save()
        copies.append(time.perf_counter() - began)
        middle = time.perf_counter()
        loop.learner.step(1e-4, collected).read()
        slowed.append(time.perf_counter() - middle)
        loop.finish_save()
        loop.progress.position = loop.progress.position._replace(epoch=1)
        began = time.perf_counter()
        loop.save()
        loop.finish_save()
        writes.append(time.perf_counter() - began)
        loop.progress.position = loop.progress.position._replace(epoch=0)
    step, copy, beside, write = (median(times[1:]) for times in (steps, copies, slowed, writes))
    every = recipe.checkpoints.every
    size = sum(path.stat().st_size for path in (out / CHECKPOINTS).glob("0001-*/*"))
    print(
        f"{recipe.network}: {size / 1e6:.1f} MB in {write * 1e3:.0f} ms, of which the run stands still for "
        f"{copy * 1e3:.1f} ms ({copy / write:.1%}), {copy / step:.3f} x a step of {step * 1e3:.0f} ms; a step beside "
        f"the writing takes {beside / step:.2f} x as long; of {every} steps the copy takes {copy / (every * step):.4%}"
    )


if __name__ == "__main__":
    main()
