"""How much sooner does a first stage end that passes each frame through the frozen network once?

Trains the heads for some epochs on a synthetic release, with stored embeddings and without them in turn, and prints the
medians of the whole time of these epochs with their validation, the ratio, and the largest difference of a loss.

    python benchmarks/frozen_stage.py [--network ddamfn] [--epochs 5] [--rounds 3]
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch

from abawkit.curation import curate, find_sources
from abawkit.synth.release import write_release
from abawkit.training.recipe import read_recipe
from abawkit.training.run import train
from abawkit.training.start import Inputs


def main() -> None:
    """Measures one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="ddamfn")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    changes = [f"network={options.network}", f"heads.epochs={options.epochs}", "heads.augment=false", "all.epochs=0"]
    recipe = read_recipe("baseline", [*changes, "batch_size=48"])
    seconds: dict[bool, list[float]] = {True: [], False: []}
    losses: dict[bool, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:
        folder = Path(name)
        write_release(folder / "release", size="tiny", workers=2)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release"), folder / "curated", policy="per-task")
        for number in range(options.rounds):
            for stored in (True, False):
                out = folder / f"run-{number}-{stored}"
                out.mkdir()
                began = time.perf_counter()
                with patch("abawkit.training.learner.stores_embeddings", lambda _, stored=stored: stored):
                    train(recipe, Inputs(folder / "curated"), out)
                seconds[stored].append(time.perf_counter() - began)
                lines = (out / "metrics.jsonl").read_text().splitlines()
                losses[stored] = [json.loads(line)["losses"]["total"] for line in lines]
    once, each = (median(seconds[stored]) for stored in (True, False))
    difference = max(abs(a / b - 1) for a, b in zip(losses[True], losses[False], strict=True))
    print(
        f"{options.network}, {options.epochs} epochs of heads, {torch.get_num_threads()} threads, medians of "
        f"{options.rounds}: {once:.1f} s with stored embeddings, {each:.1f} s without, {each / once:.2f} x; losses "
        f"differ by {difference:.1e} at most"
    )


if __name__ == "__main__":
    main()
