"""What does training heads over time cost, beside training the published network on frames?

Trains every kind of sequence network for ten epochs on random features of a set with as many rows as the official one,
and prints the time, the rows a second of a training step's work, and how often that is the rate of the published
network's training step.

    python benchmarks/sequence.py [--kinds bigru frame] [--epochs 10] [--quick]
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import abawkit
from abawkit.curation import curate, find_sources, open_curated
from abawkit.features.store import FeatureStore, StoredType
from abawkit.features.store_writer import StoreWriter
from abawkit.frames.augmentation import normalise
from abawkit.labels import TASKS
from abawkit.models.config import NETWORKS
from abawkit.models.inference import place_network
from abawkit.models.network import DDAMFN
from abawkit.synth.release import SIZES, write_release
from abawkit.training.losses import Targets
from abawkit.training.optimizers import make_optimizer
from abawkit.training.recipe import Recipe, read_recipe
from abawkit.training.run_folder import read_processor_name
from abawkit.training.step import Objective, TrainingStep

RECIPES = {
    "frame": ("sequence-frame", []),
    "bigru": ("sequence-bigru", []),
    "lstm": ("sequence-bigru", ["sequence.kind=lstm"]),
    "tcn": ("sequence-tcn", []),
    "transformer": ("sequence-bigru", ["sequence.kind=transformer"]),
}
OFFICIAL = {"train": (142_333, 257), "validation": (26_876, 50), "test": (51_159, 82)}
QUICK = {"train": (2_000, 20), "validation": (500, 5), "test": (500, 5)}


def write_features(
    folder: Path, curated: Path, dimension: int, *, source: dict[str, Any] | None = None, dtype: StoredType = "float16"
) -> Path:
    """Random features of all rows of a curated set, of an unknown source if none is given."""
    names = [name for split in open_curated(curated).splits.values() for name in split.annotations.images.to_pylist()]
    notes: dict[str, Any] = {"source": source or {}, "frames": {}, "preprocessing": {}, "versions": {}}
    writer = StoreWriter(folder, names, dimension, dtype, **notes)
    random = np.random.default_rng(0)
    for start in range(0, len(names), 4096):
        rows = min(4096, len(names) - start)
        writer.append(random.standard_normal((rows, dimension), dtype=np.float32))
    return writer.finish().folder


def measure_frames(name: str, batch: int, rounds: int) -> float:
    """Rows a second of a training step on frames, the median of some rounds after one to warm up."""
    recipe = read_recipe("baseline", [f"network={name}", f"batch_size={batch}"])
    network = DDAMFN(NETWORKS[name]).train()
    place_network(network, torch.device("cpu"))
    optimizer = make_optimizer(network.parameters(), recipe.optimizer, 1e-4)
    step = TrainingStep(network, Objective(recipe.losses, TASKS, attention=True), optimizer, recipe, bfloat16=False)
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8))
    targets = _make_targets(batch)
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        step(normalise(pixels), targets).read()
        times.append(time.perf_counter() - began)
    return batch / float(np.median(times[1:]))


def _make_targets(rows: int) -> Targets:
    generator = torch.Generator().manual_seed(0)
    valid = torch.ones(rows, dtype=torch.bool)
    return Targets(
        torch.rand(rows, 2, generator=generator) * 2 - 1,
        torch.randint(8, (rows,), generator=generator),
        torch.randint(2, (rows, 12), generator=generator).float(),
        valid,
        valid,
        valid,
    )


def describe(recipe: Recipe) -> str:
    """The parts of a recipe that its time depends on."""
    s = recipe.sequence
    return f"width {s.width}, layers {s.layers}, window {s.training_window}, batch {recipe.batch_size:,}"


def main() -> None:
    """Measures the kinds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--quick", action="store_true", help="2,000 rows and one epoch: whether it runs, not how fast")
    options = parser.parse_args()
    sizes, epochs = (QUICK, 1) if options.quick else (OFFICIAL, options.epochs)
    SIZES["benchmark"] = sizes  # type: ignore[assignment]
    network, batch, rounds = ("ddamfn-nano", 8, 1) if options.quick else ("ddamfn", 32, 3)
    frames = measure_frames(network, batch, rounds)
    print(f"{read_processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{network} on frames: {frames:.1f} rows/s in a training step of {batch}\n")
    print(f"| kind | recipe | {epochs} epochs | training rows/s | x {network} on frames | with validation, an epoch |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:
        folder = Path(name)
        write_release(folder / "release", size="benchmark", labels_only=True)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release", labels_only=True), folder / "curated", policy="per-task")
        store = write_features(folder / "features", folder / "curated", options.dimension)
        FeatureStore.open(store).verify()  # the files are in memory for all kinds alike
        for kind in options.kinds:
            source, changes = RECIPES[kind]
            speeds: list[float] = []
            began = time.perf_counter()
            abawkit.train(
                source,
                folder / "curated",
                folder / kind,
                changes=[*changes, f"all.epochs={epochs}"],
                features=store,
                on_epoch=lambda line, _, speeds=speeds: speeds.append(line["images_per_second"]),  # type: ignore[misc]
            )
            seconds = time.perf_counter() - began
            speed = float(np.median(speeds))
            about = describe(read_recipe(source, changes))
            cells = (
                kind,
                about,
                f"{seconds:.1f} s",
                f"{speed:,.0f}",
                f"{speed / frames:,.0f}",
                f"{seconds / epochs:.2f} s",
            )
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
