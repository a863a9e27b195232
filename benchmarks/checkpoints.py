"""What does a checkpoint cost, as a share of the steps between two of them?

Takes steps of a recipe on a drawn release and writes a checkpoint after each, in turn, and prints the medians, the
size, and the checkpoint's share of the recipe's interval.

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
from abawkit.training.distributed import ALONE
from abawkit.training.loop import Callbacks
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
    steps, writes = [], []
    for k in range(rounds + 1):
        began = time.perf_counter()
        loop.learner.step(1e-4, collected).read()
        steps.append(time.perf_counter() - began)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        loop.progress.position = loop.progress.position._replace(batch=k)
        began = time.perf_counter()
        loop.save()
        writes.append(time.perf_counter() - began)
    step, write, every = median(steps[1:]), median(writes[1:]), recipe.checkpoints.every
    size = sum(path.stat().st_size for path in (out / CHECKPOINTS).rglob("*") if path.is_file())
    print(
        f"{recipe.network}: {write * 1e3:.0f} ms for {size / 1e6:.1f} MB, {write / step:.2f} x a step of "
        f"{step * 1e3:.0f} ms; every {every} steps: {write / (every * step):.4%}; below 2 % while a step takes "
        f"more than {write / (0.02 * every) * 1e3:.1f} ms"
    )


if __name__ == "__main__":
    main()
