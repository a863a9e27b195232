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

import abawkit
from abawkit.ablation.steps import drop_heads
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.run_names import LAST
from abawkit.submissions.create import create_submission
from abawkit.submissions.recipe import RECIPE
from abawkit.submissions.submit import submit
from abawkit.submissions.workspace import SubmissionInputs
from abawkit.training.run_folder import read_processor_name
from benchmarks.temporal import PARTS, Place, format_mean, make_once, make_release, train_frames

SIZE: Final = "demo"
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


def make_strict(place: Place) -> Path:
    """The curated set of the rows that are annotated for all tasks."""
    release = place.folder / "release"
    return make_once(
        place.folder / "curated-strict",
        lambda out: abawkit.curate(release, out, policy="strict", force=out.exists()),
    )


def make_stand_in(place: Place) -> Path:
    """The stand-in for published weights."""
    make_release(place, SIZE)
    run = train_frames(place)
    return make_once(place.folder / "stand-in.safetensors", partial(drop_heads, run / LAST))


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
        data=make_strict(place) if name.startswith("paper") else place.curated,
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
        spread = values[:, 3].std(ddof=1) if len(values) > 1 else float("nan")
        above = format_mean(results[BEST][:, 3] - values[:, 3]) if name != BEST and BEST in results else ""
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
        make_release(place, SIZE)
        for name in given.names:
            found = make_once(place.folder / f"{name}.json", partial(score_submission, place, name, weights))
            scores = json.loads(found.read_text(encoding="utf-8"))
            results[name].append([scores[part] for part in PARTS])
            print(f"seed {seed}, {name}: {scores['score']:.4f}", flush=True)
    print(f"{read_processor_name()}, {len(given.seeds)} releases")
    show({name: np.array(values) for name, values in results.items()})


if __name__ == "__main__":
    main()
