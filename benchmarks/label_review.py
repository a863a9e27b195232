"""How many of the labels that `abawkit review` lists are wrong, on a synthetic release, whose wrong labels are known.

    python -m benchmarks.label_review CURATED OUT_OF_FOLD... [--size demo] [--seed 0]

CURATED is of a release of this size and seed, with the policy per-task. Beside the networks, a *reader* stands for one
that sees faces perfectly: logistic regression on the intensities that each frame was rendered from, out of fold by
video. For each kind of error it prints how many labels are wrong at all (what chance finds), how many are listed, how
many of those are wrong (precision), how many of the wrong ones are listed (recall), and the precision of as many labels
with the highest loss, and with the widest margin of probability among those that confident learning finds.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from abawkit.curation.curated_set import open_curated, select_truth
from abawkit.frame_columns import rank_videos
from abawkit.probabilities.members import read_members
from abawkit.review.confident_learning import find_doubtful_classes
from abawkit.review.outliers import OUTLIER_LIMIT, measure_outliers
from abawkit.review.shifts import measure_shift
from abawkit.synth.action_units import PRESENT_ABOVE
from abawkit.synth.release import plan_release
from abawkit.tables import Array

STRENGTHS: Final = (0.5, 0.9, 0.95)
GROSS: Final = 0.05
"""Share of labels that are replaced by any other one, besides those that annotators confuse."""
FOLDS: Final = 4
FILMS: Final = 100
"""Simulated videos for each lag."""


def show(kind: str, who: str, wrong: Array, listed: Array, losses: Array, by_margin: Array | None = None) -> None:
    """Prints a line.

    Args:
        kind: Of the errors.
        who: What reviewed.
        wrong: Whether each label is, bool, shape (n,).
        listed: Numbers of those that are listed, shape (m,).
        losses: Of each label, shape (n,).
        by_margin: As many labels as are listed, of those that confident learning finds, with the widest margins.
    """
    by_loss = np.argsort(-losses, kind="stable")[: len(listed)]
    recall = wrong[listed].sum() / max(wrong.sum(), 1)
    orders = (listed, by_loss, by_margin)
    precisions = ["-" if of is None or not len(of) else f"{wrong[of].mean():.3f}" for of in orders]
    found = f"{len(wrong):,} | {wrong.mean():.3f} | {len(listed):,} | {recall:.3f}"
    print(f"| {kind} | {who} | {found} | {' | '.join(precisions)} |", flush=True)


def review_classes(kind: str, who: str, labels: Array, wrong: Array, networks: Sequence[Array]) -> None:
    """Prints a line for each of `STRENGTHS`."""
    losses = -np.log(np.maximum(np.mean(networks, axis=0)[np.arange(len(labels)), labels], 1e-12))
    found = find_doubtful_classes(labels, networks)
    for strength in STRENGTHS:
        listed = found.rows[found.strength >= strength]
        widest = found.rows[np.argsort(found.given - found.likely, kind="stable")[: len(listed)]]
        show(kind, f"{who}, from {strength}", wrong, listed, losses, widest)


def read_intensities(labels: Array, intensity: Array, videos: Array) -> Array:
    """Out-of-fold probabilities of the reader, shape (n, 8)."""
    model, folds = LogisticRegression(max_iter=1000), GroupKFold(FOLDS)
    return np.asarray(cross_val_predict(model, intensity, labels, groups=videos, cv=folds, method="predict_proba"))


def review_expressions(labels: Array, shown: Array, networks: Sequence[Array], reader: Array) -> None:
    """Confusions of the release, and gross errors that no network was trained on."""
    reviewers = {f"{len(networks)} networks": networks, "reader": [reader]}
    for who, said in reviewers.items():
        review_classes("confused expression", who, labels, labels != shown, said)
    rng = np.random.default_rng(0)
    gross = rng.random(len(labels)) < GROSS
    changed = np.where(gross, (labels + rng.integers(1, 8, len(labels))) % 8, labels)
    for who, said in reviewers.items():
        review_classes("any other expression", who, changed, gross, said)


def review_units(labels: Array, on: Array, networks: Sequence[Array]) -> None:
    """Action units that the annotator's noise has turned over, all twelve as one list."""
    wrong, losses = (labels != on).ravel(), np.empty(labels.shape)
    listed: dict[float, list[int]] = {strength: [] for strength in STRENGTHS}
    for unit in range(labels.shape[1]):
        said = [np.stack([1 - p[:, unit], p[:, unit]], axis=1) for p in networks]
        found = find_doubtful_classes(labels[:, unit], said)
        losses[:, unit] = -np.log(np.maximum(np.mean(said, axis=0)[np.arange(len(labels)), labels[:, unit]], 1e-12))
        for strength, rows in listed.items():
            rows += (found.rows[found.strength >= strength] * labels.shape[1] + unit).tolist()
    for strength, rows in listed.items():
        show("action unit", f"{len(networks)} networks, from {strength}", wrong, np.array(rows, int), losses.ravel())


def review_valence(labels: Array, networks: Sequence[Array]) -> None:
    """Valence whose sign was lost, in one row of fifty of those beyond 0.4."""
    rng = np.random.default_rng(0)
    wrong = (rng.random(len(labels)) < 0.02) & (np.abs(labels[:, 0]) > 0.4)
    changed = labels.copy()
    changed[wrong, 0] *= -1
    found = measure_outliers(changed, networks)
    listed = np.flatnonzero((found.z > OUTLIER_LIMIT).any(axis=1))
    losses = np.abs(changed - np.mean(networks, axis=0)).max(axis=1)
    show("sign of valence", f"{len(networks)} networks", wrong, listed, losses)


def review_shifts(every: int, frames: int) -> None:
    """Simulated films: labels wander within 60 frames, and predictions correlate with them by .6."""
    for late in (0, 45, 120):
        rng, certain, right, rows = np.random.default_rng(late), 0, 0, 0
        for _ in range(FILMS):
            shown, seen = (_wander(frames + 300, 60.0, rng) for _ in range(2))
            numbers = np.arange(150, 150 + frames, every)
            found = measure_shift(numbers, shown[numbers - late], 0.6 * shown[numbers] + 0.8 * seen[numbers])
            certain += bool(found and found.certain)
            right += bool(found and found.certain and abs(found.lag - late) <= 30)
            rows = len(numbers)
        print(f"| {rows} rows, {frames:,} frames | {late} | {certain} of {FILMS} | {right} |", flush=True)


def _wander(n: int, memory: float, rng: np.random.Generator) -> Array:
    from scipy.signal import lfilter

    keep = np.exp(-1 / memory)
    noise = rng.normal(size=(n + 500, 2))
    return np.asarray(lfilter([np.sqrt(1 - keep**2)], [1, -keep], noise, axis=0)[500:])


def main() -> None:
    """Measures, and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curated", type=Path)
    parser.add_argument("predictions", type=Path, nargs="+")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    truth = select_truth(open_curated(given.curated), "train")
    said = [member.predictions for member in read_members(given.predictions)]
    planned = plan_release(given.size, given.seed)["train"][1]
    rows = truth.lines - 2  # of the release
    print("| error | reviewer | labels | wrong | listed | recall | precision | by loss | by margin |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    valid = truth.expression_valid
    labels, intensity = truth.expression[valid].astype(np.int64), planned.intensity[rows][valid]
    reader = read_intensities(labels, intensity, rank_videos(truth.images)[valid])
    review_expressions(labels, planned.shown[rows][valid], [p.expression[valid] for p in said], reader)
    valid = truth.au_valid
    on = (planned.intensity[rows][valid][:, :12] > PRESENT_ABOVE).astype(np.int64)
    review_units(truth.au[valid].astype(np.int64), on, [p.au[valid] for p in said])
    valid = truth.va_valid
    review_valence(truth.va[valid], [p.va[valid] for p in said])
    print("\n| video | late by | called shifted | by 30 frames or less off |\n| --- | --- | --- | --- |")
    review_shifts(1, 600)
    review_shifts(5, 1500)
    review_shifts(15, 6000)


if __name__ == "__main__":
    main()
