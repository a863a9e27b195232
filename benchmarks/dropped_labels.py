"""What does training gain where labels that `abawkit review` lists are dropped?

    python -m benchmarks.dropped_labels OUT [--seeds 6]

Releases and features are those of `benchmarks.drawn_releases`, whose wrong labels are known: expressions that
annotators confuse, action units near the annotator's threshold, and, in a second set of the same releases, gross errors
besides.

Heads on single frames are trained on all labels; without those that a review lists by two cross-validations of such
heads; without as many of each task that are drawn by chance; and without all that are wrong, which no review can know.
Each is scored on the test split's truth, and its table row has the mean difference to training on all labels with a
95 % interval over the releases, from Student's t.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

import abawkit
from abawkit.curation.curated_set import SPLITS, open_curated, select_truth
from abawkit.curation.label_drops import format_label
from abawkit.labels import EXPRESSIONS, TASKS, Task
from abawkit.probabilities.members import read_member
from abawkit.scoring.matching import read_truth
from abawkit.scoring.score import score
from abawkit.synth.action_units import PRESENT_ABOVE
from abawkit.synth.release import plan_release
from abawkit.tables import Annotations, Array
from abawkit.training.run_folder import read_processor_name
from benchmarks.drawn_releases import SIZE, prepare
from benchmarks.temporal import PARTS, Place, format_mean, make_once, train_heads

ALL: Final = "all labels"
LISTED: Final = "without those that review lists"
CHANCE: Final = "without as many, by chance"
WRONG: Final = "without those that are wrong"
GROSS_EXPRESSIONS: Final = 0.05
"""Share of expressions that any other one replaces."""
LOST_SIGNS: Final = 0.02
"""Share of the rows whose valence is beyond 0.4 that lose its sign."""
FOLDS: Final = 4


def add_gross_errors(annotations: Path, seed: int) -> None:
    """Replaces some of the training split's expressions and signs of valence, in the file."""
    table = pd.read_csv(annotations)
    rng = np.random.default_rng(seed)
    others = (table["expression"] + rng.integers(1, len(EXPRESSIONS), len(table))) % len(EXPRESSIONS)
    chosen = (rng.random(len(table)) < GROSS_EXPRESSIONS) & (table["expression"] >= 0)
    table.loc[chosen, "expression"] = others[chosen]
    strong = (table["valence"].abs() > 0.4) & (table["valence"] >= -1)
    lost = strong & (rng.random(len(table)) < LOST_SIGNS)
    table.loc[lost, "valence"] *= -1
    table.to_csv(annotations, index=False)


def find_wrong_labels(truth: Annotations, seed: int) -> dict[Task, Array]:
    """The rows of each task whose label is not what the face shows; of valence, those whose sign was lost.

    Args:
        truth: The training rows, as they are annotated.
        seed: Of the release.
    """
    planned, rows = plan_release(SIZE, seed)["train"][1], truth.lines - 2
    on = planned.intensity[rows][:, :12] > PRESENT_ABOVE
    return {
        "va": np.flatnonzero(truth.va_valid & (truth.va[:, 0] != planned.va[rows, 0].astype(truth.va.dtype))),
        "expression": np.flatnonzero(truth.expression_valid & (truth.expression != planned.shown[rows])),
        "au": np.flatnonzero(truth.au_valid & (truth.au != on).any(axis=1)),
    }


def write_list(path: Path, truth: Annotations, rows: Mapping[Task, Iterable[int]]) -> None:
    """A list of labels for `abawkit curate --drop`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "line", "image", "task", "label", "reason"))
        for task, chosen in rows.items():
            for row in chosen:
                label = format_label(truth, row, task)
                writer.writerow(("train", truth.lines[row], truth.images[row].as_py(), task, label, "benchmark"))


def read_listed_rows(path: Path, truth: Annotations) -> dict[Task, Array]:
    """The rows of each task in a list of `abawkit review`."""
    table = pd.read_csv(path)
    return {task: np.searchsorted(truth.lines, np.unique(table.loc[table["task"] == task, "line"])) for task in TASKS}


def train_without(place: Place, name: str, dropped: Path | None) -> Path:
    """Curates without the labels of a list, trains, and returns the answers to the test list."""
    folder = place.folder / name
    if not dropped:
        make_once(folder, lambda out: train_heads(place, "frame", None, out))
    else:
        own = replace(place, folder=folder)
        folder.mkdir(exist_ok=True)
        make_once(own.curated, lambda out: curate(place, out, dropped))
        make_once(folder / "features", lambda out: import_rows(place, own, out))
        make_once(folder / "run", lambda out: train_heads(own, "frame", None, out))
        folder /= "run"
    answers = place.folder / f"{name}.txt"
    listed = place.test["frame_list"]
    features = place.folder / "features-test"
    make_once(answers, lambda out: abawkit.predict(folder, out, frame_list=listed, features=features, force=True))
    return answers.with_suffix(".npz")


def curate(place: Place, out: Path, dropped: Path | None = None) -> None:
    """Curates the annotations of the release, without the labels of a list."""
    drop = [dropped] if dropped else []
    release = place.folder / "release"
    abawkit.curate(release, out, policy="per-task", labels_only=True, drop=drop, force=out.exists())


def import_rows(place: Place, own: Place, out: Path) -> None:
    """Imports the features of the rows that were left in a curated set."""
    stored = np.load(place.folder / "trained.npz")
    before, left = (
        np.concatenate(
            [
                number * 1_000_000 + open_curated(folder).splits[split].annotations.lines
                for number, split in enumerate(SPLITS)
            ]
        )
        for folder in (place.curated, own.curated)
    )
    rows = np.searchsorted(before, left)
    np.savez(own.folder / "trained.npz", images=stored["images"][rows], features=stored["features"][rows])
    abawkit.import_features(own.folder / "trained.npz", out, data=own.curated, force=out.exists())


def measure(place: Place, *, gross: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """The parts of each training's score, and how many labels were listed, listed and wrong, and wrong."""
    if gross:
        annotations = place.folder / "release" / "training_set_annotations.txt"
        make_once(place.folder / "errors", lambda _: add_gross_errors(annotations, place.seed))
        make_once(place.folder / "curated-with-errors", lambda _: curate(place, place.curated))
    truth = select_truth(open_curated(place.curated), "train")
    wrong = find_wrong_labels(truth, place.seed)
    held_out = []
    for number in range(2):
        folds = place.folder / f"folds{number}"
        other = replace(place, seed=place.seed + 1000 * number)
        make_once(folds, lambda out, other=other: train_heads(other, "frame", FOLDS, out))  # type: ignore[misc]
        held_out.append(folds / "out-of-fold.npz")
    review = make_once(
        place.folder / "review.csv",
        lambda out: abawkit.review_labels(place.curated, held_out, out, force=out.exists()),
    )
    listed = read_listed_rows(review, truth)
    rng = np.random.default_rng(place.seed)
    chance = {
        task: np.sort(rng.choice(np.flatnonzero(truth.valid[task]), len(rows), replace=False))
        for task, rows in listed.items()
    }
    others = {CHANCE: place.folder / "chance.csv", WRONG: place.folder / "wrong.csv"}
    for name, rows in ((CHANCE, chance), (WRONG, wrong)):
        write_list(others[name], truth, rows)
    lists = {ALL: None, LISTED: review, **others}
    held = read_truth(place.folder / "release" / "held_out" / "test_set_annotations.txt", None)
    scores = {}
    for name, path in lists.items():
        answers = train_without(place, name.split()[-1], path)
        found = score(held, read_member(answers).predictions.decide())
        scores[name] = {part: getattr(found, part) for part in PARTS}
    counts = {
        f"{task} {what}": len(rows)
        for task in TASKS
        for what, rows in (
            ("listed", listed[task]),
            ("listed and wrong", np.intersect1d(listed[task], wrong[task])),
            ("wrong", wrong[task]),
            ("annotated", np.flatnonzero(truth.valid[task])),
        )
    }
    return scores, counts


def show(title: str, results: list[tuple[dict[str, Any], dict[str, int]]]) -> None:
    """Prints a table of the trainings, and what was listed."""
    print(f"\n{title}, {len(results)} releases\n")
    print("| trained on | CCC | EXPR | AU | P | CCC gained | EXPR gained | AU gained | P gained |")
    print("| --- |" + " --- |" * 8)
    for name in (ALL, LISTED, CHANCE, WRONG):
        values = np.array([[scores[name][part] for part in PARTS] for scores, _ in results])
        first = np.array([[scores[ALL][part] for part in PARTS] for scores, _ in results])
        gained = ["" if name == ALL else format_mean(each) for each in (values - first).T]
        print(f"| {name} | " + " | ".join([*(f"{value:.3f}" for value in values.mean(axis=0)), *gained]) + " |")
    for task in TASKS:
        total = {
            what: sum(counts[f"{task} {what}"] for _, counts in results)
            for what in ("listed", "listed and wrong", "wrong", "annotated")
        }
        print(f"{task}: " + ", ".join(f"{count:,} {what}" for what, count in total.items()))


def main() -> None:
    """Reads the arguments, and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    print(read_processor_name())
    for title, gross in (("labels as drawn", False), ("gross errors besides", True)):
        results = []
        for seed in range(1, given.seeds + 1):
            place = Place(seed, given.out / ("gross" if gross else "drawn") / f"seed{seed}")
            make_once(place.folder, lambda out, place=place: prepare(place, out))  # type: ignore[misc]
            results.append(measure(place, gross=gross))
        show(title, results)


if __name__ == "__main__":
    main()
