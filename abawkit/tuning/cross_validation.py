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
from abawkit.scoring.score import select_scored_rows
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
class Found:
    """What was fitted on some rows.

    Attributes:
        rule: All of it.
        predictions: Of the rule, on all rows.
        chosen: For each task that was searched, what was chosen and what else was tried.
        left: Knobs that were left alone, and why.
    """

    rule: Rule
    predictions: Predictions
    chosen: Mapping[Task, Chosen]
    left: tuple[NotFitted, ...]


@dataclass(frozen=True, eq=False)
class Tuning:
    """A rule that was fitted on all videos, with figures that say what it is worth.

    Attributes:
        found: What was fitted on all videos; its rule is the one to use.
        held_out: Predictions of which each row comes from what was fitted, in the same way, without its video.
        untuned_predictions: Predictions of nothing fitted.
        cross_fitted: The scores of `held_out`, by `abawkit.scoring.bootstrap.PARTS`: the honest figures, each with the
            forecast for a test of as many videos.
        in_sample: The scores of the rule on the rows that it was fitted on: too high, as it has seen their truth.
        untuned: The scores of `untuned_predictions`, likewise.
        difference: Cross-fitted less untuned, over the same draws of videos. The interval is that of the decisions that
            the rules of the folds made; another fit would have given another rule, which it does not know of.
        tasks: The tasks that are scored; the parts of others are 0.
        fallen: The tasks whose cross-fitted part of the score falls, and which the rule therefore leaves alone.
        members: What it was fitted for.
        about: What the figures hold for: rows, protocol, folds, seed, members; as JSON.
    """

    found: Found
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
        """What was fitted on all videos."""
        return self.found.rule

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left alone and why, a line each."""
        return tuple(str(knob) for knob in self.found.left)

    def evidence(self) -> dict[str, Any]:
        """All figures, for the rule's file and for ``--json``."""
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
            "left_alone": [asdict(knob) for knob in self.found.left],
        }


_ROUNDING = 1e-12

Progress = Callable[[int, int], None]
"""Called with the fits that are done, and with those that there are."""


class CrossValidation:
    """Members, the truth of their rows, and the rows that count.

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

    def among(self, tasks: Sequence[Task] | None) -> tuple[Task, ...]:
        """These of the scored tasks, or all of them."""
        if unknown := [task for task in tasks or () if task not in self.tasks]:
            raise ConfigError(f"{', '.join(unknown)} can't be calibrated, scored are: {', '.join(self.tasks)}")
        return tuple(task for task in self.tasks if tasks is None or task in tasks)

    def rows_of(self, rows: Array) -> dict[Task, Array]:
        """For each task the scored ones among these rows."""
        return {task: mask & rows for task, mask in self.scored.items()}

    def judged(
        self,
        fit: Callable[[Array, Sequence[Task]], Found],
        untuned: Predictions,
        folds: int,
        seed: int,
        draws: int,
        progress: Progress | None,
    ) -> Tuning:
        """Fits on all videos, and for each fold on the others; and says what the difference is worth.

        The rule leaves a task alone whose cross-fitted part of the score falls. The figures stay what fitting gives, as
        to leave out what fell would make them too good.

        Args:
            fit: Fits on the rows of a mask, shape (n,), and on nothing else, and predicts all n; the tasks that it is
                given are left as they are.
            untuned: What nothing was fitted for.
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

        def step(rows: Array, without: Sequence[Task] = ()) -> Found:
            nonlocal done
            found = fit(rows, without)
            done += 1
            if progress:
                progress(done, steps)
            return found

        held_out = cross_fit(images, fold_of, lambda rows: step(rows).predictions)
        honest, before = (self._statistics(predictions) for predictions in (held_out, untuned))
        videos = len(before.names)
        counts = score_draws(videos, draws, seed)
        scores, scores_before = honest.scores(counts), before.scores(counts)
        gains = dict(zip(TASKS, (scores - scores_before)[0].tolist(), strict=False))
        fallen = tuple(task for task in self.tasks if gains[task] < -_ROUNDING)
        found = step(np.ones(len(images), dtype=bool), fallen)
        seen = self._statistics(found.predictions)
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

    def _statistics(self, predictions: Predictions) -> VideoStatistics:
        return sum_by_video(self._truth, decide(predictions, self.tasks), self._protocol)


def digest_truth(truth: Annotations) -> str:
    """SHA-256 over the rows' names and all that is annotated: equal for the same truth, whatever file it came from."""
    digest = hashlib.sha256(truth.digest.encode())
    for task in TASKS:
        valid = getattr(truth, f"{task}_valid")
        digest.update(np.packbits(valid).tobytes())
        digest.update(np.ascontiguousarray(getattr(truth, task)[valid], dtype="<f8").tobytes())
    return digest.hexdigest()
