"""Cross-fitting: members, truth and folds of videos; the fitted rule, with its out-of-fold score."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import ConfigError
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import find_known_tasks
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import Rule
from abawkit.probabilities.members import StoredMember, refuse_other_rows
from abawkit.scoring.bootstrap import (
    PARTS,
    Interval,
    VideoStatistics,
    make_intervals,
    number_videos,
    score_draws,
    sum_by_video,
)
from abawkit.scoring.forecast import list_forecasts
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning.folds import cross_fit, make_video_folds
from abawkit.tuning.support import MIN_POSITIVES, MIN_VIDEOS, NotFitted
from abawkit.tuning.task_search import Chosen


def parse_tasks(names: Sequence[str]) -> list[Task] | None:
    """The tasks that ``--tasks`` names, in the order of `TASKS`; None where it is left out.

    Raises:
        ConfigError: If one is no task.
    """
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"--tasks {name}: no such task; give {', '.join(TASKS)}")
    return [task for task in TASKS if task in names] if names else None


@dataclass(frozen=True, eq=False)
class FittedRule:
    """A rule that was fitted on some rows.

    Attributes:
        rule: The rule.
        predictions: Of the rule, on all rows.
        chosen: For each task that was searched, what was chosen and what else was tried.
        not_fitted: Parameters that were kept as they are, and why.
    """

    rule: Rule
    predictions: Predictions
    chosen: Mapping[Task, Chosen]
    not_fitted: tuple[NotFitted, ...]


@dataclass(frozen=True, eq=False)
class Tuning:
    """A rule that was fitted on all videos, with scores on videos that it was not fitted on.

    Attributes:
        found: What was fitted on all videos; its rule is the one to use.
        held_out: Out-of-fold predictions: each row is of a rule that was fitted, in the same way, without its video.
        untuned_predictions: Predictions with nothing fitted.
        cross_fitted: The scores of `held_out`, by `abawkit.scoring.bootstrap.PARTS`, each with the forecast for a test
            of as many videos.
        in_sample: The scores of the rule on the rows that it was fitted on: too high, as it has seen their truth.
        untuned: The scores of `untuned_predictions`, likewise.
        difference: Cross-fitted less untuned, over the same bootstrap samples of videos. The interval holds the rules
            of the folds fixed: it does not include how much another fit would differ.
        tasks: The tasks that are scored; the parts of others are 0.
        fallen: The tasks whose cross-fitted part of the score falls, and for which the rule therefore changes nothing.
        members: The members that it was fitted for.
        about: Rows, protocol, folds, seed and members behind the scores; as JSON.
    """

    found: FittedRule
    held_out: Predictions
    untuned_predictions: Predictions
    cross_fitted: Mapping[str, Interval]
    in_sample: Mapping[str, float]
    untuned: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    tasks: tuple[Task, ...]
    fallen: tuple[Task, ...]
    members: tuple[StoredMember, ...]
    about: Mapping[str, Any]

    @property
    def rule(self) -> Rule:
        """The rule that was fitted on all videos."""
        return self.found.rule

    @property
    def notes(self) -> tuple[str, ...]:
        """What was kept as it is and why, one line each."""
        return tuple(map(str, self.found.not_fitted))

    def evidence(self) -> dict[str, Any]:
        """All scores, for the rule's file and for ``--json``."""
        chosen = self.found.chosen
        return {
            **self.about,
            "tasks": list(self.tasks),
            "fallen": list(self.fallen),
            "cross_fitted": {part: interval.as_dict() for part, interval in self.cross_fitted.items()},
            "in_sample": dict(self.in_sample),
            "untuned": {part: interval.as_dict() for part, interval in self.untuned.items()},
            "difference": {
                part: interval.as_dict() | {"within_noise": interval.within_noise}
                for part, interval in self.difference.items()
            },
            "chosen": {task: asdict(one.candidate) for task, one in chosen.items()},
            "tried": {task: [tried.as_dict() for tried in one.tried] for task, one in chosen.items()},
            "left_alone": [{"knob": one.parameter, "reason": one.reason} for one in self.found.not_fitted],
        }


_ROUNDING = 1e-12

Progress = Callable[[int, int], None]
"""Called with the number of fits done and the number to do."""


class CrossValidation:
    """Members, the truth of their rows, and the rows that are scored.

    Attributes:
        tasks: The tasks that are scored.
        scored: For each of them the mask of its rows, shape (n,).
        videos: Number of each row's video, int64, shape (n,).
    """

    def __init__(
        self, members: Sequence[StoredMember], truth: Annotations, tasks: Sequence[Task] | None, protocol: Protocol
    ) -> None:
        for member in members:
            refuse_other_rows(member, truth)
        known = find_known_tasks(members)
        if unknown := [task for task in tasks or () if task not in known]:
            raise ConfigError(f"no member knows {', '.join(unknown)}; these are known: {', '.join(known)}")
        self.tasks = tuple(task for task in known if tasks is None or task in tasks)
        masks = select_scored_rows(truth, protocol)
        self.scored: Mapping[Task, Array] = {task: masks[task] for task in self.tasks}
        self.videos = number_videos(truth.videos)[1]
        self._members, self._truth, self._protocol = members, truth, protocol

    def select_tasks(self, tasks: Sequence[Task] | None) -> tuple[Task, ...]:
        """These of the scored tasks, or all of them."""
        if unknown := [task for task in tasks or () if task not in self.tasks]:
            raise ConfigError(f"{', '.join(unknown)} can't be calibrated, scored are: {', '.join(self.tasks)}")
        return tuple(task for task in self.tasks if tasks is None or task in tasks)

    def select_rows(self, rows: Array) -> dict[Task, Array]:
        """For each task the scored ones among these rows."""
        return {task: mask & rows for task, mask in self.scored.items()}

    def cross_validate(
        self,
        fit: Callable[[Array, Sequence[Task]], FittedRule],
        untuned: Predictions,
        folds: int,
        seed: int,
        draws: int,
        progress: Progress | None,
    ) -> Tuning:
        """Fits on all videos, and for each fold on the others; scores both, with an interval of the difference.

        The rule changes nothing for a task whose cross-fitted part of the score falls. The scores still include it, as
        leaving out what fell would make them too good.

        Args:
            fit: Fits on the rows of a mask, shape (n,), and on nothing else, and predicts all n; the tasks that it is
                given are kept as they are.
            untuned: Predictions with nothing fitted.
            folds: Folds of videos.
            seed: Of the folds and of the bootstrap.
            draws: Of the bootstrap.
            progress: See `Progress`.

        Raises:
            DataError: If too few videos are annotated.
        """
        images, counted = self._truth.images, np.logical_or.reduce(list(self.scored.values()))
        fold_of = make_video_folds(images, folds, seed, scored=counted)
        steps = int(fold_of.max()) + 2
        done = 0

        def step(rows: Array, without: Sequence[Task] = ()) -> FittedRule:
            nonlocal done
            found = fit(rows, without)
            done += 1
            if progress:
                progress(done, steps)
            return found

        held_out = cross_fit(images, fold_of, lambda rows: step(rows).predictions)
        after, before = (self._sum_statistics(predictions) for predictions in (held_out, untuned))
        videos = len(before.names)
        counts = score_draws(videos, draws, seed)
        scores, scores_before = after.scores(counts), before.scores(counts)
        gains = dict(zip(TASKS, (scores - scores_before)[0].tolist(), strict=False))
        fallen = tuple(task for task in self.tasks if gains[task] < -_ROUNDING)
        found = step(np.ones(len(images), dtype=bool), fallen)
        seen = self._sum_statistics(found.predictions)
        return Tuning(
            found=found,
            held_out=held_out,
            untuned_predictions=untuned,
            cross_fitted=list_forecasts(scores, videos, videos, seen.tasks),
            in_sample=dict(zip(PARTS, seen.scores(counts[:1])[0].tolist(), strict=True)),
            untuned=list_forecasts(scores_before, videos, videos, seen.tasks),
            difference=make_intervals(scores - scores_before),
            tasks=self.tasks,
            fallen=fallen,
            members=tuple(self._members),
            about={
                "protocol": self._protocol,
                "rows": int(seen.rows.sum()),
                "videos": videos,
                "folds": steps - 1,
                "seed": seed,
                "draws": draws,
                "least_rows": MIN_POSITIVES,
                "least_videos": MIN_VIDEOS,
                "list_digest": self._truth.digest,
                "truth_digest": digest_truth(self._truth),
                "members": [{"key": m.key, "digest": m.digest, "file": m.path.name} for m in self._members],
            },
        )

    def _sum_statistics(self, predictions: Predictions) -> VideoStatistics:
        return sum_by_video(self._truth, decide(predictions, self.tasks), self._protocol)


def digest_truth(truth: Annotations) -> str:
    """SHA-256 over the rows' names and all that is annotated: equal for the same truth, whatever file it came from."""
    digest = hashlib.sha256(truth.digest.encode())
    for task in TASKS:
        valid = getattr(truth, f"{task}_valid")
        digest.update(np.packbits(valid).tobytes())
        digest.update(np.ascontiguousarray(getattr(truth, task)[valid], dtype="<f8").tobytes())
    return digest.hexdigest()
