"""How much sooner does a first stage end that passes each frame through the frozen network once?

Trains the heads for some epochs on a synthetic release, with stored embeddings and without them in turn, and prints the
medians of the whole time of these epochs with their validation, the ratio, and the largest difference of a loss.

With ``--official``, the heads are trained on a store of features, random ones, for the rows of the official sizes that
are annotated for all tasks, as the submission `paper-classifier` trains them; prints the time of that.

    python -m benchmarks.frozen_stage [--network ddamfn] [--epochs 5] [--rounds 3] [--official]
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
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import digest_state, save_weights
from abawkit.synth.release import SIZES, write_release
from abawkit.training.recipe import read_recipe
from abawkit.training.run import train
from abawkit.training.start import Inputs
from benchmarks.sequence import OFFICIAL, write_features


def measure_official(network: str, epochs: int, rounds: int) -> None:
    """Heads on stored features, for official sizes; these need no frames."""
    changes = [f"network={network}", f"heads.epochs={epochs}", "heads.augment=false", "all.epochs=0"]
    SIZES["official"] = OFFICIAL  # type: ignore[assignment]
    seconds = []
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:
        folder = Path(name)
        write_release(folder / "release", size="official", labels_only=True)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release", labels_only=True), folder / "curated", policy="strict")
        state = DDAMFN(NETWORKS[network]).state_dict()
        save_weights(folder / "weights.safetensors", NETWORKS[network], state)
        source = {"kind": "network", "digest": digest_state(state)}
        dimension = NETWORKS[network].embedding
        store = write_features(folder / "features", folder / "curated", dimension, source=source, dtype="float32")
        inputs = Inputs(folder / "curated", folder / "weights.safetensors", features=(store,))
        for number in range(rounds):
            (folder / f"run-{number}").mkdir()
            began = time.perf_counter()
            run = train(read_recipe("paper", changes), inputs, folder / f"run-{number}")
            seconds.append(time.perf_counter() - began)
        rows = json.loads((run.out / "manifest.json").read_text())["rows"]
    print(
        f"{network}, {epochs} epochs of heads on stored features, {rows['train']:,} rows of training and "
        f"{rows['validation']:,} of validation, {torch.get_num_threads()} threads: {median(seconds):.1f} s, median of "
        f"{rounds} ({min(seconds):.1f} to {max(seconds):.1f})"
    )


def main() -> None:
    """Measures one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="ddamfn")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--official", action="store_true", help="stored features of the official number of rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    measure = measure_official if options.official else measure_passes
    measure(options.network, options.epochs, options.rounds)


def measure_passes(network: str, epochs: int, rounds: int) -> None:
    """Heads with one pass over the frames, and with one for each epoch."""
    changes = [f"network={network}", f"heads.epochs={epochs}", "heads.augment=false", "all.epochs=0"]
    recipe = read_recipe("baseline", [*changes, "batch_size=48"])
    seconds: dict[bool, list[float]] = {True: [], False: []}
    losses: dict[bool, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:
        folder = Path(name)
        write_release(folder / "release", size="tiny", workers=2)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release"), folder / "curated", policy="per-task")
        for number in range(rounds):
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
        f"{network}, {epochs} epochs of heads, {torch.get_num_threads()} threads, medians of "
        f"{rounds}: {once:.1f} s with stored embeddings, {each:.1f} s without, {each / once:.2f} x; losses "
        f"differ by {difference:.1e} at most"
    )


if __name__ == "__main__":
    main()
