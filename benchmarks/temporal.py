"""What heads over time gain over the frames alone and over smoothing, on synthetic releases whose test truth is known.

    python -m benchmarks.temporal OUT [--size demo] [--seeds 1 2 3 4 5] [--folds 5]

Each seed has a release of its own, other persons in all splits, and a network that is trained on its frames. Its
features feed the heads. "Tuned" is the rule that `abawkit tune` fits on the validation split, or on out-of-fold
probabilities of the training split where there are folds. Every row is judged on the held-out truth of the test split;
its last columns are the mean difference to the row "published smoothing" with a 95 % interval over the releases, from
Student's t, and in how many releases the forecast of the tuning, which saw no test video, holds the score.

What is in OUT is not made again: a second call continues, and one with other seeds adds to it.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from scipy import stats

import abawkit
from abawkit.models.sequence_config import SequenceKind
from abawkit.postprocessing.rule import apply_rule
from abawkit.postprocessing.rule_file import read_evidence, read_rule
from abawkit.postprocessing.smoothing import PUBLISHED_SMOOTHING, smooth_predictions
from abawkit.probabilities.members import StoredMember, read_member
from abawkit.scoring.matching import read_truth
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Array, Predictions
from abawkit.training.run_folder import read_processor_name

PARTS: Final = ("ccc_va", "expression_f1", "au_f1", "score")
SMOOTHED: Final = "frames, published smoothing"
KINDS: Final[tuple[SequenceKind, ...]] = ("frame", "lstm", "bigru", "tcn", "transformer")
HEADS: Final[Mapping[str, Any]] = {"batch_size": 128, "all.epochs": 20}
"""Changes of the recipe sequence-bigru: its batches are for releases of the official size."""


@dataclass(frozen=True)
class Place:
    """Where one seed's files are.

    Attributes:
        seed: The seed.
        folder: All of them.
    """

    seed: int
    folder: Path

    @property
    def curated(self) -> Path:
        """The curated set."""
        return self.folder / "curated"

    @property
    def test(self) -> dict[str, Path]:
        """The test list, as arguments of `abawkit.predict`."""
        return {"frame_list": self.folder / "release" / "test_set_examples" / "MTL.txt"}

    @property
    def frames(self) -> Path:
        """Frames of the test list."""
        return self.folder / "release" / "test_data" / "cropped_aligned"


def make_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Makes a file or folder that is not there; what an interrupted call left under another name is replaced."""
    done = path.parent / f"{path.name}.done"
    if not done.exists():
        make(path)
        done.touch()
    return path


def make_release(place: Place, size: str) -> None:
    """Renders and curates the release."""
    place.folder.mkdir(parents=True, exist_ok=True)
    release = make_once(
        place.folder / "release",
        lambda out: abawkit.write_release(out, size=size, seed=place.seed, force=out.exists()),
    )
    make_once(place.curated, lambda out: abawkit.curate(release, out, policy="per-task", force=out.exists()))


def train_frames(place: Place) -> Path:
    """Trains on the frames of the release; returns the run."""
    return make_once(
        place.folder / "frames",
        lambda out: abawkit.train("demo", place.curated, out, seed=place.seed, force=out.exists()),
    )


def prepare(place: Place, size: str) -> None:
    """Renders and curates the release, trains on its frames, and stores their features."""
    make_release(place, size)
    run = train_frames(place)
    sources: dict[str, dict[str, Any]] = {
        "features": {"data": place.curated, "flip": True},
        "features-test": {**place.test, "frames": place.frames},
    }
    for name, given in sources.items():
        make_once(place.folder / name, partial(extract, run, given))


def extract(run: Path, given: Mapping[str, Any], out: Path) -> None:
    """Stores the features of a network."""
    abawkit.extract_features(run, out, force=out.exists(), **given)


def train_heads(place: Place, kind: str, folds: int | None, out: Path) -> None:
    """Trains heads of a kind on the stored features."""
    abawkit.train(
        "sequence-bigru",
        place.curated,
        out,
        changes={**HEADS, "sequence.kind": kind},
        features=place.folder / "features",
        seed=place.seed,
        folds=folds,
        force=out.exists(),
    )


def answer_rows(network: Path, given: Mapping[str, Any], out: Path) -> None:
    """Writes the answers of a network, with its probabilities beside them."""
    abawkit.predict(network, out, force=True, **given)


def predict(place: Place, network: str, *, over_time: bool) -> tuple[Path, StoredMember]:
    """Probabilities of the validation split (their file) and of the test list, by the network in that folder."""
    inputs: dict[str, dict[str, Any]] = {
        "validation": {"split": "validation", "data": place.curated},
        "test": dict(place.test),
    }
    if over_time:
        inputs["validation"]["features"] = place.folder / "features"
        inputs["test"]["features"] = place.folder / "features-test"
    else:
        inputs["test"]["frames"] = place.frames
    made = {}
    for name, given in inputs.items():
        make_once(
            place.folder / f"{network}-{name}.txt",
            partial(answer_rows, place.folder / network, given),
        )
        made[name] = place.folder / f"{network}-{name}.npz"
    return made["validation"], read_member(made["test"])


def tune(
    place: Place, name: str, members: list[Path], tests: list[StoredMember], split: Literal["train", "validation"]
) -> "Answer":
    """The rule that is fitted on the members' probabilities of a split, applied to those of the test list."""
    rule = make_once(
        place.folder / f"{name}-rule.json",
        lambda out: abawkit.tune(members, place.curated, out, split=split, force=out.exists()),
    )
    return Answer(apply_rule(read_rule(rule), tests), read_evidence(rule)["cross_fitted"]["score"])


@dataclass(frozen=True)
class Answer:
    """Predictions of the test list.

    Attributes:
        predictions: The predictions.
        forecast: Of the score, from videos of other splits that the rule was not fitted on: ``low`` and ``high``.
    """

    predictions: Predictions
    forecast: Mapping[str, float] | None = None


def answer(place: Place, folds: int) -> dict[str, Answer]:
    """The answers of all rows of the table, by their names."""
    stored, test = predict(place, "frames", over_time=False)
    answers = {
        "frames": Answer(test.predictions),
        SMOOTHED: Answer(smooth_predictions(test.predictions, PUBLISHED_SMOOTHING)),
        "frames, tuned": tune(place, "frames", [stored], [test], "validation"),
    }
    validations, tests = [stored], [test]
    for kind in KINDS:
        make_once(place.folder / kind, partial(train_heads, place, kind, None))
        validation, test = predict(place, kind, over_time=True)
        validations.append(validation)
        tests.append(test)
        answers[f"{kind} head"] = Answer(test.predictions)
        answers[f"{kind} head, tuned"] = tune(place, kind, [validation], [test], "validation")
    answers["frames and all heads, tuned"] = tune(place, "all", validations, tests, "validation")
    for kind in ("bigru", "tcn"):
        name = f"{kind}-folds"
        make_once(place.folder / name, partial(train_heads, place, kind, folds))
        _, test = predict(place, name, over_time=True)
        held_out = place.folder / name / "out-of-fold.npz"
        answers[f"{kind} heads of {folds} folds, tuned"] = tune(place, name, [held_out], [test], "train")
    return answers


def measure(answers: Mapping[str, Answer], truth: Annotations) -> dict[str, dict[str, Any]]:
    """The parts of each answer's score on the truth, and whether the forecast holds it."""
    rows: dict[str, dict[str, Any]] = {}
    for name, given in answers.items():
        found = score(truth, given.predictions.decide())
        rows[name] = {part: getattr(found, part) for part in PARTS}
        held = given.forecast and given.forecast["low"] <= found.score <= given.forecast["high"]
        rows[name]["held"] = held if given.forecast else None
    return rows


def show(results: list[dict[str, dict[str, Any]]]) -> None:
    """Prints the table: means over the seeds, and differences to `SMOOTHED`."""
    print("| | CCC | EXPR | AU | P | deviation | less smoothing | forecast holds |\n| --- |" + " --- |" * 7)
    for name in results[0]:
        values = np.array([[result[name][part] for part in PARTS] for result in results])
        differences = values[:, 3] - np.array([result[SMOOTHED]["score"] for result in results])
        spread = values[:, 3].std(ddof=1) if len(results) > 1 else float("nan")
        held = [result[name]["held"] for result in results]
        holds = "" if held[0] is None else f"{sum(held)} of {len(held)}"
        parts = " | ".join(f"{value:.3f}" for value in values.mean(axis=0))
        gain = "" if name == SMOOTHED else format_mean(differences)
        print(f"| {name} | {parts} | {spread:.3f} | {gain} | {holds} |")


def format_mean(differences: Array) -> str:
    """The mean of differences with half of its 95 % interval, from Student's t; (n,)."""
    count = len(differences)
    reach = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count) if count > 1 else float("nan")
    return f"{differences.mean():+.3f} ± {reach:.3f}"


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    results = []
    for seed in given.seeds:
        place = Place(seed, given.out / f"seed{seed}")
        prepare(place, given.size)
        truth = read_truth(place.folder / "release" / "held_out" / "test_set_annotations.txt", None)
        results.append(measure(answer(place, given.folds), truth))
        (place.folder / "table.json").write_text(json.dumps(results[-1], indent=1))
        print(f"seed {seed} is done", flush=True)
    print(f"{read_processor_name()}, release of size {given.size}, {len(results)} seeds")
    show(results)


if __name__ == "__main__":
    main()
