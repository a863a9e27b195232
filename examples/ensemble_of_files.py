"""Average the probabilities of other systems, and search a rule for them: `python examples/ensemble_of_files.py`.

Any system can join: a member is an `.npz` (or `.csv`, `.parquet`) with the image names and its probabilities. Here they
are made of the truth of a synthetic release and noise, in the folder `ensemble`. Expect the mean of the two to score
above each of them, and a rule that is written to `ensemble/rule.json`; on so few videos its gain is within noise.
"""

from pathlib import Path

import numpy as np

import abawkit
from abawkit.formats.base import get_format
from abawkit.formats.readers import read_annotations
from abawkit.formats.writing import write_submission
from abawkit.postprocessing.rule import Rule, apply_rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.probabilities.members import read_members
from abawkit.tables import Annotations

FOLDER = Path("ensemble")


def write_member(path: Path, truth: Annotations, seed: int) -> None:
    """Writes what a system says: the truth, blurred."""
    rng = np.random.default_rng(seed)
    expression = np.eye(8)[truth.expression] + rng.gamma(1.0, 0.6, (len(truth), 8))
    np.savez(
        path,
        images=np.array(truth.images.to_pylist()),
        va=np.clip(truth.va + rng.normal(0, 0.4, truth.va.shape), -1, 1).astype(np.float32),
        expression=(expression / expression.sum(axis=1, keepdims=True)).astype(np.float32),
        au=np.clip(0.5 * truth.au + rng.uniform(0, 0.6, truth.au.shape), 0, 1).astype(np.float32),
    )


def main() -> None:
    """Writes two members, scores each and their mean, and searches a rule."""
    abawkit.write_release(FOLDER / "release", size="tiny", labels_only=True)
    truth = FOLDER / "release/held_out/test_set_annotations.txt"
    paths = [FOLDER / "a.npz", FOLDER / "b.npz"]
    for seed, path in enumerate(paths):
        write_member(path, read_annotations(truth), seed)

    tuning = abawkit.tune(paths, truth, FOLDER / "rule.json", folds=3)
    members = read_members(paths)
    for name, rule, used in (
        ("a", Rule(), members[:1]),
        ("b", Rule(), members[1:]),
        ("mean", Rule(), members),
        ("rule", read_rule(FOLDER / "rule.json"), members),
    ):
        submission = apply_rule(rule, used).decide()
        write_submission(FOLDER / f"{name}.txt", get_format("abaw7").encode(submission))
        print(f"{name}: P {abawkit.score(FOLDER / f'{name}.txt', truth).score:.4f}")
    gain = tuning.difference["score"]
    print(f"the rule gains {gain.value:+.4f} on videos that it was not fitted on ({gain.low:+.4f} to {gain.high:+.4f})")


if __name__ == "__main__":
    main()
