"""A review from end to end: the rows and networks, the rules, and what they find."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from abawkit.choices import MIN_STRENGTH, Split, TruthSplit
from abawkit.curation.curated_set import (
    SPLITS,
    CuratedSet,
    find_truth_rows,
    join_splits,
    open_curated,
    select_truth,
)
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task
from abawkit.probabilities.members import (
    StoredMember,
    read_manifest_beside,
    read_members,
    refuse_other_rows,
    warn_of_training_rows,
)
from abawkit.review.contradictions import (
    count_agreement,
    find_contradicted_expressions,
    find_contradicted_units,
)
from abawkit.review.doubtful_labels import REVIEW_REASONS, DoubtfulLabel, Reason, RowPlace, sort_doubtful_labels
from abawkit.review.duplicate_labels import find_different_labels
from abawkit.review.near_duplicates import find_similar_rows
from abawkit.review.outliers import find_va_outliers
from abawkit.review.shifted_videos import ShiftedVideo, find_shifted_videos, list_shifted_rows
from abawkit.tables import Annotations, Array


@dataclass(frozen=True)
class Review:
    """What was found.

    Attributes:
        split: The rows that were reviewed.
        truth: These rows.
        places: Where each stands in the annotations.
        tasks: The tasks that were reviewed.
        networks: How many were asked.
        doubtful: Reason after reason, the strongest first.
        shifted: Videos whose annotation is shifted.
        agreement: For expressions and action units, how many labels the networks are as sure of as contradictions must
            be, and how many of these are annotated so.
        policy: Of the curated set.
        frames: Whether frames were compared.
    """

    split: TruthSplit
    truth: Annotations
    places: list[RowPlace]
    tasks: tuple[Task, ...]
    networks: int
    doubtful: list[DoubtfulLabel]
    shifted: list[ShiftedVideo]
    agreement: dict[Task, tuple[int, int]]
    policy: str
    frames: bool

    def count(self) -> dict[Reason, dict[Task, int]]:
        """Rows with doubtful labels, by reason and task."""
        counts: dict[Reason, dict[Task, int]] = {}
        for one in self.doubtful:
            by_task = counts.setdefault(one.reason, dict.fromkeys(self.tasks, 0))
            by_task[one.task] += 1
        return counts

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "split": self.split,
            "rows": len(self.truth),
            "annotated": {task: int(self.truth.valid[task].sum()) for task in self.tasks},
            "networks": self.networks,
            "agreement": {task: {"sure": sure, "agree": agree} for task, (sure, agree) in self.agreement.items()},
            "frames_compared": self.frames,
            "found": self.count(),
            "rows_found": len({one.row for one in self.doubtful}),
            "shifted": [
                {"video": one.video, "task": one.task, "rows": len(one.rows), **asdict(one.shift)}
                for one in self.shifted
            ],
        }


def review_labels(
    folder: Path,
    predictions: Sequence[Path],
    *,
    split: TruthSplit | None = None,
    only: Collection[Reason] = (),
    min_strength: float = MIN_STRENGTH,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Review:
    """Looks for labels of a curated set that are probably wrong; nothing is changed.

    Args:
        folder: The curated set.
        predictions: Stored probabilities of its rows, by networks that were not trained on them.
        split: The rows; by default those that the manifest of the predictions names, else the training rows.
        only: The rules to apply; by default all.
        min_strength: Of contradictions, 0.5 to 1: see `abawkit.review.contradictions`.
        seed: Of the bootstrap.
        progress: Called with the frames compared and the frames in all.

    Raises:
        ConfigError: If there is no prediction, or near-duplicates are asked for and the set has no frames.
        DataError: If a file is not what it must be, or is about other rows.

    Warns:
        DataWarning: If predictions are by networks that were trained on these rows.
    """
    rules = [reason for reason in REVIEW_REASONS if not only or reason in only]
    curated = open_curated(folder)
    members = read_members(predictions)
    chosen: TruthSplit = split or _find_split(members)
    truth = select_truth(curated, chosen)
    for member in members:
        refuse_other_rows(member, truth)
    warn_of_training_rows(members)
    if "near-duplicate" in rules and not curated.frames_digest and only:
        raise ConfigError(f"{folder}: holds labels only, and near-duplicates are found in frames; curate with frames")
    if "near-duplicate" in rules and not curated.frames_digest:
        rules.remove("near-duplicate")
    tasks = tuple(task for task in TASKS if any(task in member.tasks for member in members))
    networks = {task: [_get_columns(member, task) for member in members if task in member.tasks] for task in tasks}
    doubtful: list[DoubtfulLabel] = []
    shifted: list[ShiftedVideo] = []
    if "contradicted" in rules:
        doubtful += find_contradicted_expressions(truth, networks.get("expression", ()), min_strength)
        doubtful += find_contradicted_units(truth, networks.get("au", ()), min_strength)
    if "outlier" in rules:
        doubtful += find_va_outliers(truth, networks.get("va", ()))
    if "shifted" in rules:
        shifted = find_shifted_videos(truth, networks, seed)
        doubtful += list_shifted_rows(truth, shifted)
    if "near-duplicate" in rules:
        similar = find_similar_rows(truth, _get_frames(curated, chosen), curated.open_frames(), progress)
        doubtful += find_different_labels(truth, similar, tasks)
    return Review(
        chosen,
        truth,
        _list_places(curated, chosen),
        tasks,
        len(members),
        sort_doubtful_labels(doubtful),
        shifted,
        count_agreement(truth, networks, min_strength),
        curated.policy,
        "near-duplicate" in rules,
    )


def _get_columns(member: StoredMember, task: Task) -> Array:
    columns: Array = getattr(member.predictions, task)
    return columns


def _get_frames(curated: CuratedSet, split: TruthSplit) -> Array:
    """Index of the frame of each row of `select_truth`."""
    rows = join_splits(curated) if split == "train+validation" else curated.splits[split]
    return np.asarray(rows.frames[find_truth_rows(curated, split)])


def _list_places(curated: CuratedSet, split: TruthSplit) -> list[RowPlace]:
    """Where each row of `select_truth` stands."""
    chosen: tuple[Split, ...] = SPLITS if split == "train+validation" else (split,)
    return [
        RowPlace(each, line, image)
        for each in chosen
        for truth in [select_truth(curated, each)]
        for line, image in zip(truth.lines.tolist(), truth.images.to_pylist(), strict=True)
    ]


def _find_split(members: Sequence[StoredMember]) -> TruthSplit:
    """The rows that the manifests of predictions name, where they agree."""
    sources = [(read_manifest_beside(member.path) or {}).get("source") for member in members]
    named = {source.get("split") for source in sources if isinstance(source, dict)}
    return next((each for each in get_args(TruthSplit) if named == {each}), "train")
