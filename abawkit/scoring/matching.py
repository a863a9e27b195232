"""Scoring files: a submission against annotations or a curated split."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abawkit.choices import Protocol, TruthSplit
from abawkit.curation.curated_set import CURATED_TABLE, open_curated, select_truth
from abawkit.errors import ConfigError, Problem, ProblemsError
from abawkit.formats.base import SubmissionFormat, get_format
from abawkit.formats.readers import read_annotations
from abawkit.formats.row_order import find_order_problems
from abawkit.formats.rows import shorten
from abawkit.frame_columns import make_frame_keys
from abawkit.scoring.score import Score, score, score_compound
from abawkit.tables import Annotations, Array, FrameList, Submission


def read_truth(path: Path, split: TruthSplit | None = None) -> Annotations:
    """Reads annotations of all tasks.

    Args:
        path: An annotation file, or the folder of a curated set: then the rows of a split, which are those with at
            least one annotated task.
        split: Which split of a curated set, by default validation; of training, the rows that its policy keeps.

    Raises:
        ConfigError: If a split of a file is asked for.
        DataError: If it is neither.
    """
    if path.is_dir():
        return select_truth(open_curated(path), split or "validation")
    if split:
        raise ConfigError(f"--split {split}: {path} is no curated set, and a file has no splits; leave it out")
    return read_annotations(path)


def score_file(submission: Path, truth: Path, *, protocol: Protocol = "official", format_name: str = "abaw7") -> Score:
    """Scores a submission; see `abawkit.scoring.score.score`, and `match_rows` for how rows are joined.

    Args:
        submission: The file or folder.
        truth: What its format reads as truth, or the folder of a curated set: see `read_truth`.
        protocol: Which rows count; the same for compound expressions.
        format_name: Format of the submission.

    Raises:
        ProblemsError: As `match_rows`.
        ConfigError: If there is no such format.
    """
    right, answers = match_rows(submission, truth, get_format(format_name))
    return score_rows(right, answers, protocol)


def score_rows(truth: Annotations | Submission, answers: Submission, protocol: Protocol = "official") -> Score:
    """Scores what `match_rows` returns; see `score_file`."""
    return score(truth, answers, protocol) if isinstance(truth, Annotations) else score_compound(truth, answers)


def match_rows(
    submission: Path, truth: Path, plugin: SubmissionFormat, split: TruthSplit | None = None
) -> tuple[Annotations | Submission, Submission]:
    """Reads a submission and its truth, and joins their rows.

    Rows are joined by row. Of a folder with a file for each video, they are joined by video and frame: every frame has
    exactly one line there. Its truth need not have every frame, and rows that repeat a frame take the same answer.

    Args:
        submission: The file or folder.
        truth: What its format reads as truth, or the folder of a curated set: see `read_truth`.
        plugin: Format of the submission.
        split: Of a curated set: see `read_truth`.

    Returns:
        The truth and the answers, row for row; of a folder, the rows on which a task that it holds is annotated.

    Raises:
        DataError: If there is no truth of this format at `truth`.
        ProblemsError: If a cell of either is invalid, or if the rows of the submission are not those of the truth.
    """
    answers = plugin.read(submission)
    right = _read_any_truth(truth, plugin, split)
    if plugin.container == "folder" and isinstance(right, Annotations):
        return _join_by_frame(right, answers, submission, truth)
    if not right.images.equals(answers.images):
        rows = plugin.read_list(submission)
        advice = f"the rows of {submission} must be those of {truth}, in order, repeats included; nothing was scored"
        raise ProblemsError(submission, find_order_problems(rows, _make_frame_list(right)), advice)
    return right, answers


def _read_any_truth(path: Path, plugin: SubmissionFormat, split: TruthSplit | None) -> Annotations | Submission:
    curated = path.is_dir() and (plugin.container == "file" or (path / CURATED_TABLE).exists())
    if split and "compound" in plugin.tasks:
        raise ConfigError(f"--split {split}: curated sets hold no compound expressions; give a file of them as --truth")
    if split or (curated and "compound" not in plugin.tasks):
        return read_truth(path, split)
    return plugin.read_truth(path)


def _make_frame_list(table: Annotations | Submission) -> FrameList:
    lines: Array = table.lines if isinstance(table, Annotations) else np.arange(len(table), dtype=np.int64) + 2
    return FrameList(images=table.images, lines=lines)


def _join_by_frame(
    truth: Annotations, answers: Submission, path: Path, truth_path: Path
) -> tuple[Annotations, Submission]:
    """The annotated rows of the truth, and of each row's frame the answer.

    Raises:
        ProblemsError: If an annotated frame has no answer.
    """
    annotated = [mask for task, mask in truth.valid.items() if task in answers.tasks]
    truth = truth.select(np.logical_or.reduce(annotated)) if annotated else truth
    found = pc.index_in(make_frame_keys(truth.images), value_set=make_frame_keys(answers.images))
    if found.null_count == len(truth) and len(truth):
        what = f"none of its {len(answers):,} lines is of one of the {len(truth):,} annotated frames of {truth_path}"
        raise ProblemsError(path, [Problem(0, "", what)], "give the truth of the videos that it answers")
    if found.null_count:
        rows = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
        problems = [
            Problem(0, "", f"no line for '{shorten(name)}' (line {line:,} of {truth_path.name})")
            for name, line in zip(truth.images.take(pa.array(rows)).to_pylist(), truth.lines[rows], strict=True)
        ]
        raise ProblemsError(path, problems, f"{path} must answer every annotated frame; nothing was scored")
    chosen = answers.select(found.to_numpy())
    columns = {task: getattr(chosen, task) for task in answers.tasks}
    return truth, Submission.of(truth.images, **columns)
