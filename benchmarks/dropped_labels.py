"""What dropping doubtful labels gains: heads over time trained without them, on releases whose test truth is known.

    python -m benchmarks.dropped_labels OUT [--seeds 1 2 3 4 5]

OUT is that of `benchmarks.temporal`, which was run before: its networks, features and out-of-fold probabilities are
used. In each release, heads (`bigru`) are trained as there, on the set as it is and without the labels that

- `abawkit review` finds contradicted by the out-of-fold networks of two kinds, with two bounds of strength,
- are drawn at random, as many of each task as the first of these lists has,
- are known to be wrong: expressions that the release has exchanged for the class that annotators confuse them with.

The features are the same in all rows, of a network that was trained on all labels. The table has means over the
releases on the held-out truth of the test split, and differences to the set as it is with a 95 % interval from
Student's t.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

import abawkit
from abawkit.curation.cells import escape_cell
from abawkit.curation.curated_set import open_curated
from abawkit.curation.label_drops import NEEDED_COLUMNS, format_label, read_label_drops
from abawkit.labels import TASKS, Task
from abawkit.synth.release import plan_release
from abawkit.tables import Annotations, Array
from abawkit.training.run_folder import read_processor_name
from benchmarks.temporal import HEADS, PARTS, Place, make_once

STRENGTHS: Final = (0.9, 0.5)
WHOLE: Final = "all labels"
REVIEWERS: Final = ("bigru-folds", "tcn-folds")


def write_list(path: Path, truth: Annotations, rows: Mapping[Task, Array]) -> None:
    """Writes a list of training labels to drop.

    Args:
        path: The list.
        truth: The annotations of the training split.
        rows: The numbers of the rows, by task.
    """
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(NEEDED_COLUMNS)
        for task, listed in rows.items():
            for row in listed.tolist():
                image = escape_cell(truth.images[row].as_py())
                writer.writerow(["train", truth.lines[row], image, task, format_label(truth, row, task), "listed"])


def write_lists(place: Place, size: str) -> dict[str, Path]:
    """Writes the lists of a release, by their names in the table."""
    truth = open_curated(place.curated).splits["train"].annotations
    said = [place.folder / network / "out-of-fold.npz" for network in REVIEWERS]
    lists = {}
    for strength in STRENGTHS:
        path = place.folder / f"review-{strength}.csv"
        abawkit.review_labels(place.curated, said, path, only="contradicted", min_strength=strength, force=True)
        lists[f"without those contradicted from {strength}"] = path
    drops = read_label_drops([place.folder / f"review-{STRENGTHS[0]}.csv"])
    rng = np.random.default_rng(place.seed)
    drawn = {
        task: rng.choice(np.flatnonzero(truth.valid[task]), sum(drop.task == task for drop in drops), replace=False)
        for task in TASKS
    }
    shown = plan_release(size, place.seed)["train"][1].shown[truth.lines - 2]
    known = np.flatnonzero(truth.expression_valid & (truth.expression != shown))
    others: dict[str, dict[Task, Array]] = {
        "without as many at random": drawn,
        "without all that are known to be confused": {"expression": known},
    }
    for name, rows in others.items():
        lists[name] = place.folder / f"{name.replace(' ', '-')}.csv"
        write_list(lists[name], truth, rows)
    return lists


def score_heads(place: Place, listed: Path | None, out: Path) -> None:
    """Trains heads without the listed labels, and writes the parts of their score on the test split."""
    curated, folder = place.curated, place.folder / out.stem
    if listed:
        curated = folder / "curated"
        abawkit.curate(place.folder / "release", curated, policy="per-task", drop=listed, labels_only=True, force=True)
    run, features = folder / "run", place.folder / "features"
    abawkit.train("sequence-bigru", curated, run, changes=HEADS, features=features, seed=place.seed, force=run.exists())
    answers = folder / "test.txt"
    listed_frames, test = place.test["frame_list"], place.folder / "features-test"
    abawkit.predict(run, answers, frame_list=listed_frames, features=test, force=True)
    found = abawkit.score(answers, place.folder / "release" / "held_out" / "test_set_annotations.txt")
    parts = {part: getattr(found, part) for part in PARTS}
    count = len(read_label_drops([listed])) if listed else 0
    out.write_text(json.dumps({**parts, "labels": count}), encoding="utf-8")


def show(results: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """Prints the table.

    Args:
        results: For each release the parts of the score and the number of labels, by the name of the row.
    """
    print("| bigru heads, trained on | labels dropped | CCC | EXPR | AU | P | gain |\n| --- |" + " --- |" * 6)
    whole = np.array([result[WHOLE]["score"] for result in results])
    for name in results[0]:
        values = np.array([[result[name][part] for part in PARTS] for result in results])
        differences, gain = values[:, 3] - whole, ""
        if name != WHOLE and len(results) > 1:
            reach = stats.t.ppf(0.975, len(results) - 1) * differences.std(ddof=1) / np.sqrt(len(results))
            gain = f"{differences.mean():+.3f} ± {reach:.3f}"
        labels = np.mean([result[name]["labels"] for result in results])
        print(f"| {name} | {labels:,.0f} | {' | '.join(f'{v:.3f}' for v in values.mean(axis=0))} | {gain} |")


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    given = parser.parse_args()
    results = []
    for seed in given.seeds:
        place = Place(seed, given.out / f"seed{seed}")
        lists: dict[str, Path | None] = {WHOLE: None, **write_lists(place, given.size)}
        result = {}
        for number, (name, listed) in enumerate(lists.items()):
            found = make_once(place.folder / f"dropped-{number}.json", partial(score_heads, place, listed))
            result[name] = json.loads(found.read_text(encoding="utf-8"))
            print(f"seed {seed}, {name}: {result[name]}", flush=True)
        results.append(result)
    print(f"{read_processor_name()}, {len(results)} releases of size {given.size}")
    show(results)


if __name__ == "__main__":
    main()
