"""Scoring files: a submission against annotations or a curated split."""

from pathlib import Path

from abawkit.choices import Protocol
from abawkit.curation.table import open_curated
from abawkit.errors import ProblemsError
from abawkit.formats.annotations import read_annotations
from abawkit.formats.base import get_format
from abawkit.formats.order import order_problems
from abawkit.scoring.score import Score, score
from abawkit.tables import Annotations, FrameList


def read_truth(path: Path) -> Annotations:
    """Reads what a submission is scored against.

    Args:
        path: An annotation file, or the folder of a curated set: then its validation rows, which are those with at
            least one annotated task.

    Raises:
        DataError: If it is neither.
    """
    return open_curated(path).splits["validation"].annotations if path.is_dir() else read_annotations(path)


def score_file(submission: Path, truth: Path, *, protocol: Protocol = "official", format_name: str = "abaw7") -> Score:
    """Scores a submission file; see `abawkit.scoring.score.score`.

    Args:
        submission: The file.
        truth: Annotations of the same rows: see `read_truth`.
        protocol: Which rows count.
        format_name: Format of the submission.

    Raises:
        ProblemsError: If a cell of either file is not what it must be, or if the rows of the submission are not those
            of the truth: missing, extra or moved.
        ConfigError: If there is no such format.
    """
    answers = get_format(format_name).read(submission)
    annotations = read_truth(truth)
    if not annotations.images.equals(answers.images):
        frames = FrameList(images=annotations.images, lines=annotations.lines)
        rows = get_format(format_name).read_list(submission)
        advice = f"the rows of {submission} must be those of {truth}, in order, repeats included; nothing was scored"
        raise ProblemsError(submission, order_problems(rows, frames), advice)
    return score(annotations, answers, protocol)
