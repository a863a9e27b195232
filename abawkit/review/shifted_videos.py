"""Videos whose annotation is shifted, task by task, and the rows that this makes doubtful."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abawkit.curation.label_drops import format_label
from abawkit.errors import DataError
from abawkit.frame_columns import Timeline
from abawkit.labels import EXPRESSIONS, Task
from abawkit.review.doubtful_labels import DoubtfulLabel
from abawkit.review.shifts import TimeShift, measure_shift
from abawkit.tables import Annotations, Array


@dataclass(frozen=True)
class ShiftedVideo:
    """A video whose annotation of a task is shifted.

    Attributes:
        video: Its name.
        task: The task.
        rows: Its rows that are annotated with it, numbers in the truth, int64, shape (n,).
        shift: By how much.
    """

    video: str
    task: Task
    rows: Array
    shift: TimeShift


def find_shifted_videos(
    truth: Annotations, networks: Mapping[Task, Sequence[Array]], seed: int = 0
) -> list[ShiftedVideo]:
    """Measures the shift of each video and task against the mean of the networks.

    Args:
        truth: The rows, n of them.
        networks: For each task the values or probabilities of each network that knows it, shape (n, c).
        seed: Of the bootstrap.

    Returns:
        Those that are certain, in the order of videos; none where names of frames have no numbers.
    """
    found = []
    for task, columns in networks.items():
        rows = np.flatnonzero(truth.valid[task])
        if not len(rows):
            continue
        try:
            timeline = Timeline.of(truth.images.take(rows))
        except DataError:
            return []
        labels = timeline.collect(_get_label_columns(truth, task)[rows])
        predicted = timeline.collect(np.asarray(np.mean([values[rows] for values in columns], axis=0)))
        for start, stop in zip(timeline.starts[:-1], timeline.starts[1:], strict=True):
            shift = measure_shift(timeline.numbers[start:stop], labels[start:stop], predicted[start:stop], seed)
            if shift and shift.certain:
                of_video = rows[np.flatnonzero((timeline.frames >= start) & (timeline.frames < stop))]
                found.append(ShiftedVideo(truth.videos[int(of_video[0])].as_py(), task, of_video, shift))
    return sorted(found, key=lambda one: (int(one.rows[0]), one.task))


def list_shifted_rows(truth: Annotations, shifted: Sequence[ShiftedVideo]) -> list[DoubtfulLabel]:
    """The labels of each row of a shifted video; strength: by how much the shift raises the correlation."""
    return [
        DoubtfulLabel(
            int(row),
            one.task,
            format_label(truth, int(row), one.task),
            f"{abs(one.shift.lag)} frames {'earlier' if one.shift.lag > 0 else 'later'}",
            "shifted",
            min(1.0, one.shift.after - one.shift.before),
            describe_shift(one.shift),
        )
        for one in shifted
        for row in one.rows
    ]


def describe_shift(shift: TimeShift) -> str:
    """The lag with its interval, and the correlation without and with it."""
    word = "late" if shift.lag > 0 else "early"
    low, high = sorted((abs(shift.low), abs(shift.high)))
    return (
        f"{abs(shift.lag)} frames too {word} (95 % interval {low} to {high}), "
        f"correlation {shift.before:.2f}, shifted {shift.after:.2f}"
    )


def _get_label_columns(truth: Annotations, task: Task) -> Array:
    if task == "expression":
        return np.eye(len(EXPRESSIONS))[truth.expression]
    return truth.va if task == "va" else truth.au
