"""What a review finds: labels of a row, what is suggested in their place, and why; and its list as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from abawkit.choices import Split
from abawkit.curation.cells import escape_cell
from abawkit.curation.label_drops import REVIEW_COLUMNS
from abawkit.errors import ConfigError, printable
from abawkit.labels import Task
from abawkit.system.files import replacing

Reason = Literal["contradicted", "outlier", "shifted", "near-duplicate"]
"""``contradicted``: every network takes an expression or an action unit for another one. ``outlier``: valence or
arousal is further from the networks than their disagreement and the usual noise explain. ``shifted``: the annotation of
the video is shifted in time. ``near-duplicate``: nearly the same picture is annotated otherwise."""

REVIEW_REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


def parse_reasons(names: Sequence[str]) -> list[Reason]:
    """The reasons of these names, in the order in which they are listed.

    Raises:
        ConfigError: If there is no such reason.
    """
    for name in names:
        if name not in REVIEW_REASONS:
            raise ConfigError(f"--only {printable(name)}: no such rule; expected {', '.join(REVIEW_REASONS)}")
    return [reason for reason in REVIEW_REASONS if reason in names]


@dataclass(frozen=True)
class DoubtfulLabel:
    """Labels of one task in one row that are probably wrong.

    Attributes:
        row: Row number in the truth that is reviewed, from 0.
        task: The task.
        label: The doubtful labels as they are annotated: see `abawkit.curation.label_drops.format_label`.
        suggestion: What is suggested in their place, in the same form, or the shift in time.
        reason: Why.
        strength: 0..1; what it means depends on the reason: docs/how-to/review-labels.md.
        detail: The figures behind it, in one line.
    """

    row: int
    task: Task
    label: str
    suggestion: str
    reason: Reason
    strength: float
    detail: str


@dataclass(frozen=True)
class RowPlace:
    """Where a row that is reviewed stands.

    Attributes:
        split: Its split.
        line: Its line in the annotations, counted from 1.
        image: Its image.
    """

    split: Split
    line: int
    image: str


def sort_doubtful_labels(doubtful: Sequence[DoubtfulLabel]) -> list[DoubtfulLabel]:
    """Reason after reason, and of each the strongest first."""
    return sorted(doubtful, key=lambda one: (REVIEW_REASONS.index(one.reason), -one.strength, one.row, one.task))


def write_review(path: Path, doubtful: Sequence[DoubtfulLabel], places: Sequence[RowPlace]) -> None:
    """Writes the list that ``abawkit curate --drop`` takes.

    Args:
        path: The file, CSV.
        doubtful: The labels, in the order in which they are written.
        places: Where each row stands that was reviewed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REVIEW_COLUMNS)
    for one in doubtful:
        place = places[one.row]
        where = (place.split, place.line, escape_cell(place.image))
        writer.writerow(
            [*where, one.task, one.label, one.suggestion, one.reason, f"{one.strength:.4f}", escape_cell(one.detail)]
        )
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))
