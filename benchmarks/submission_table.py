"""What does a submission score, out-of-fold and on a test split whose truth it has not seen? Prints a README's table.

    python benchmarks/submission_table.py submissions/temporal --truth s-Aff-Wild2/held_out/test_set_annotations.txt

The submission has to be run before, with the list of that test split.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from abawkit.errors import DataError
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import Rule, apply_rule
from abawkit.probabilities.members import read_member, read_probabilities
from abawkit.scoring.bootstrap import PARTS, Interval, make_difference_interval, sum_by_video
from abawkit.scoring.matching import read_truth
from abawkit.submissions.manifest import Manifest, Range, Scores, read_manifest
from abawkit.submissions.plan import OUTPUTS
from abawkit.tables import Annotations, Submission

SHOWN = ("ccc_va", "expression_f1", "au_f1", "score")


def make_table(folder: Path, truth: Annotations) -> Iterator[str]:
    """The lines of the table, and of the sentence under it.

    Args:
        folder: Of a submission that was run.
        truth: Of the list that it answers.

    Raises:
        DataError: If it was not run, or an output can't be read back.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder}: was not run; run `abawkit submit {folder}` first")
    found = manifest.validation
    yield "| | CCC | EXPR | AU | P |"
    yield "| --- | --- | --- | --- | --- |"
    yield _format_row("validation, out-of-fold", found.crossfitted)
    yield _format_row("the same rows that it was fitted on (too good)", found.in_sample)
    yield _format_row("mean of the members, nothing fitted", found.untuned)
    for member in sorted(found.members, key=lambda member: -member.validation.score):
        yield _format_row(member.name, member.validation)
    answers = _read_answers(folder, manifest)
    for name, submission in answers.items():
        yield _format_row(f"held-out test, {name}", _score(truth, submission, manifest))
    mine = answers["the submission"]
    best = make_difference_interval(truth, mine, answers[found.best_member], found.protocol)
    yield ""
    yield (
        f"Over {found.best_member}, the best single member: {_format_gain(found.difference)} out-of-fold, "
        f"{_format_gain(best)} on the test split. Fitting adds {_format_gain(found.gain)}, out-of-fold."
    )


def _read_answers(folder: Path, manifest: Manifest) -> dict[str, Submission]:
    """The decisions on the list: of the submission, of the mean of its members, and of each of them."""
    outputs, tasks = folder / OUTPUTS, manifest.validation.tasks
    names = [member.name for member in manifest.validation.members]
    members = [read_member(outputs / "test" / f"{name}.npz") for name in names]
    official = read_probabilities((outputs / "predictions").with_suffix(".npz"))
    found = {"the submission": official, "the mean": apply_rule(Rule(), members, tasks)}
    found |= {name: member.predictions for name, member in zip(names, members, strict=True)}
    return {name: decide(predictions, tasks) for name, predictions in found.items()}


def _score(truth: Annotations, submission: Submission, manifest: Manifest) -> Scores:
    statistics = sum_by_video(truth, submission, manifest.validation.protocol)
    values = statistics.scores(np.ones((1, len(statistics.names))))[0]
    return Scores(**dict(zip(PARTS, values.tolist(), strict=True)))


def _format_row(name: str, scores: Scores) -> str:
    return f"| {name} | {' | '.join(_format(getattr(scores, part)) for part in SHOWN)} |"


def _format(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _format_gain(gain: Interval | Range) -> str:
    value, low, high = (f"{number:+.4f}".replace("0.", ".", 1) for number in (gain.value, gain.low, gain.high))
    return f"{value} (95 %: {low} to {high}{', within noise' if gain.within_noise else ''})"


def main() -> None:
    """Prints the table of a submission."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a submission that was run")
    parser.add_argument("--truth", type=Path, required=True, help="annotations of the list that it answers")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for line in make_table(given.folder, read_truth(given.truth)):
        print(line)


if __name__ == "__main__":
    main()
