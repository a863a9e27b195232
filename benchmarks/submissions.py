"""What the shipped submissions score against each other, on synthetic releases whose test truth is known.

    python -m benchmarks.submissions OUT [--seeds 1 2 3 4 5] [--names paper-finetuned strong]

They are for the official data, the published network and published weights. Here each is a copy that differs in three
things, the same in all: the small network takes the place of the published one; it starts from a stand-in for the
published weights, the same network trained on the frames of other persons, without its heads; batches and learning
rates are those of the recipe `demo`, as are the epochs of `strong`, which has three seeds in place of five. All else is
as shipped: rows, losses, optimizer, schedule, augmentation, heads over time, seeds, what is fitted.

Releases and curated sets are those of `benchmarks.temporal`, whose OUT this may be. What is there is not made again.
The last table has each submission's mean over the releases, on the held-out truth of the test split, and how much
`strong` is above it, with a 95 % interval from Student's t.
"""

import argparse
import json
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

import abawkit
from abawkit.models.network import HEADS
from abawkit.models.weights import load_weights, save_weights
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.submissions.create import create_submission
from abawkit.submissions.recipe import RECIPE
from abawkit.submissions.submit import submit
from abawkit.submissions.workspace import SubmissionInputs
from abawkit.training.run_folder import read_processor_name
from benchmarks.temporal import PARTS, Place, make_once

BEST: Final = "strong"
NAMES: Final = ("paper-classifier", "paper-finetuned", "paper-single-tasks", BEST)
FRAMES: Final = (
    "network=ddamfn-nano",
    "weights=optional",
    "batch_size=64",
    "heads.learning_rate=1e-2",
    "all.learning_rate=4e-3",
)
CHANGES: Final[Mapping[str, tuple[str, ...]]] = {
    "paper": FRAMES,
    "network.toml": (*FRAMES, "all.epochs=4", "ema=0.99"),
    "sequence-bigru": ("batch_size=128", "all.epochs=20"),
}
"""Changes by the recipe of a network."""
STAND_IN_SEED: Final = 100
"""Seed of the release that the stand-in is trained on; no person of it is in another one."""


def make_release(place: Place) -> None:
    """Renders a release and curates it, once by each policy."""
    place.folder.mkdir(parents=True, exist_ok=True)
    release = make_once(
        place.folder / "release",
        lambda out: abawkit.write_release(out, size="demo", seed=place.seed, force=out.exists()),
    )
    make_once(place.curated, lambda out: abawkit.curate(release, out, policy="per-task", force=out.exists()))
    make_once(strict(place), lambda out: abawkit.curate(release, out, policy="strict", force=out.exists()))


def strict(place: Place) -> Path:
    """The curated set of the rows that are annotated for all tasks."""
    return place.folder / "curated-strict"


def make_stand_in(place: Place) -> Path:
    """The stand-in for published weights."""
    make_release(place)
    run = make_once(
        place.folder / "frames",
        lambda out: abawkit.train("demo", place.curated, out, seed=place.seed, force=out.exists()),
    )

    def drop_heads(out: Path) -> None:
        weights = load_weights(run / "last.safetensors")
        save_weights(out, weights.config, {k: v for k, v in weights.state.items() if not k.startswith(HEADS)})

    return make_once(place.folder / "stand-in.safetensors", drop_heads)


def adapt_submission(name: str, out: Path) -> Path:
    """Creates a copy of a submission for a small release."""
    if not out.exists():
        create_submission(out, name)
    recipe = tomllib.loads((out / RECIPE).read_text(encoding="utf-8"))
    recipe["seeds"] = recipe["seeds"][:3]
    for network in recipe["networks"]:
        set_keys = {change.partition("=")[0] for change in CHANGES[network["recipe"]]}
        kept = [change for change in network.get("set", []) if change.partition("=")[0] not in set_keys]
        network["set"] = [*kept, *CHANGES[network["recipe"]]]
    (out / RECIPE).write_text(format_recipe(recipe), encoding="utf-8")
    return out


def format_recipe(recipe: Mapping[str, Any]) -> str:
    """A submission's recipe as TOML, whose values are those of JSON here."""
    scalars = {key: value for key, value in recipe.items() if key not in {"networks", "decisions"}}
    sections = [("", scalars), *(("[[networks]]", network) for network in recipe["networks"])]
    sections.append(("[decisions]", recipe["decisions"]))
    lines = [[title, *(f"{key} = {json.dumps(value)}" for key, value in values.items())] for title, values in sections]
    return "\n\n".join("\n".join(filter(None, each)) for each in lines) + "\n"


def score_submission(place: Place, name: str, weights: Path, out: Path) -> None:
    """Makes a submission and writes its scores on the truth of the test split."""
    release = place.folder / "release"
    folder = adapt_submission(name, place.folder / "submissions" / name)
    inputs = SubmissionInputs(
        data=strict(place) if name.startswith("paper") else place.curated,
        listed=release / "test_set_examples" / "MTL.txt",
        frames=release / "test_data" / "cropped_aligned",
        weights=weights,
    )
    result = submit(folder, inputs, ExecutionOptions())
    found = abawkit.score(result.official, truth=release / "held_out" / "test_set_annotations.txt")
    out.write_text(json.dumps({part: getattr(found, part) for part in PARTS}), encoding="utf-8")


def show(results: Mapping[str, np.ndarray]) -> None:
    """Prints the table: means over the releases, and how much `BEST` is above each.

    Args:
        results: Parts of the score in each release, (releases, 4), by the name of the submission.
    """
    print("| | CCC | EXPR | AU | P | deviation | `strong` is above by |\n| --- |" + " --- |" * 6)
    for name, values in results.items():
        parts = " | ".join(f"{value:.3f}" for value in values.mean(axis=0))
        above, spread = "", values[:, 3].std(ddof=1) if len(values) > 1 else float("nan")
        if name != BEST and BEST in results:
            differences = results[BEST][:, 3] - values[:, 3]
            count = len(differences)
            error = differences.std(ddof=1) / np.sqrt(count) if count > 1 else float("nan")
            above = f"{differences.mean():+.3f} ± {stats.t.ppf(0.975, max(count - 1, 1)) * error:.3f}"
        print(f"| {name} | {parts} | {spread:.3f} | {above} |")


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    given = parser.parse_args()
    weights = make_stand_in(Place(STAND_IN_SEED, given.out / f"seed{STAND_IN_SEED}"))
    results: dict[str, list[list[float]]] = {name: [] for name in given.names}
    for seed in given.seeds:
        place = Place(seed, given.out / f"seed{seed}")
        make_release(place)
        for name in given.names:
            found = make_once(place.folder / f"{name}.json", partial(score_submission, place, name, weights))
            scores = json.loads(found.read_text(encoding="utf-8"))
            results[name].append([scores[part] for part in PARTS])
            print(f"seed {seed}, {name}: {scores['score']:.4f}", flush=True)
    print(f"{read_processor_name()}, {len(given.seeds)} releases")
    show({name: np.array(values) for name, values in results.items()})


if __name__ == "__main__":
    main()
