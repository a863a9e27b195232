"""The search for the best weights, smoothing and calibration of one task.

P is a sum of three parts, one for each task, and no parameter of one task affects another: the best for all three
together is the best for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from abawkit.choices import Pooling
from abawkit.frame_columns import Timeline
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import POOLED, average_members, find_knowing_members
from abawkit.postprocessing.smoothing import Smoothing, apply_smoothing
from abawkit.probabilities.members import StoredMember
from abawkit.scoring.bootstrap import number_videos
from abawkit.tables import Annotations, Array
from abawkit.tuning.calibration_fit import decide_task, fit_parameters, is_tunable, score_part
from abawkit.tuning.ensemble_weights import WeightFit
from abawkit.tuning.folds import SEARCH_FOLDS, make_video_folds
from abawkit.tuning.support import MIN_POSITIVES, MIN_VIDEOS, NotFitted

NO_SMOOTHING: Final = Smoothing()

SMOOTHINGS: Final = (
    NO_SMOOTHING,
    *(Smoothing("median", radius) for radius in (2, 5, 10)),
    *(
        Smoothing("gaussian", radius, scale)
        for radius, scale in ((5, 1e3), (10, 1e4), (10, 1e5), (25, 1e5), (50, 1e5), (50, 1e6))
    ),
)
"""How a task may be smoothed. Of two with the same score the first is taken.

Source: Gaussian filters over frames, https://arxiv.org/abs/2407.13184; participants' code has scale 100000 with 10 rows
for valence and arousal and with 50 for expressions. The others lie around these; finer steps would fit the noise of 50
videos.
"""

CALIBRATED_SMOOTHINGS: Final = 3
"""Smoothings that calibration is tried with besides none: the best without calibration. A fit costs far more than a
smoothing, and calibration makes no frame less noisy: a smoothing that is poor without it is rarely the best with it."""


@dataclass(frozen=True)
class Candidate:
    """One way to make decisions for a task.

    Attributes:
        smoothing: How it is smoothed.
        calibrated: Whether its thresholds, biases, or scales and shifts are fitted.
        weighted: Whether the members' weights are fitted; else all count alike.
        pool: How the members are pooled.
    """

    smoothing: Smoothing = NO_SMOOTHING
    calibrated: bool = False
    weighted: bool = False
    pool: Pooling = "linear"


@dataclass(frozen=True)
class Trial:
    """A candidate and its score.

    Attributes:
        candidate: What was tried.
        score: The task's part of the score on the rows that were searched, cross-fitted where something was fitted.
    """

    candidate: Candidate
    score: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self.candidate), "figure": self.score}


@dataclass(frozen=True)
class SearchSpace:
    """What a search may fit.

    Attributes:
        smoothing: Of all tasks.
        weights: Of all tasks.
        calibration: The tasks that may be calibrated.
        pool: Whether expressions and action units may be pooled by their logits.
    """

    smoothing: bool = True
    weights: bool = True
    calibration: Sequence[Task] = TASKS
    pool: bool = True


@dataclass(frozen=True)
class Chosen:
    """What was found best for a task on some rows.

    Attributes:
        candidate: The best of `tried`; of equals the simplest.
        weights: Fitted weights of the members by key; None for the mean.
        tried: All that was tried, in order; empty where too little is annotated to try anything.
    """

    candidate: Candidate
    weights: Mapping[str, float] | None = None
    tried: tuple[Trial, ...] = ()

    def list_not_fitted(self, task: Task) -> list[NotFitted]:
        """What was not fitted for the task as a whole, and why."""
        if not self.tried:
            reasons = {
                "va": "valence and arousal are not annotated",
                "expression": "no expression is annotated",
                "au": "no action unit is active",
            }
            return [NotFitted(f"all of {task}", f"{reasons[task]} in {MIN_POSITIVES} rows of {MIN_VIDEOS} videos")]
        offered = {
            f"smoothing of {task}": [one.candidate.smoothing != NO_SMOOTHING for one in self.tried],
            f"calibration of {task}": [one.candidate.calibrated for one in self.tried],
            f"weights of {task}": [one.candidate.weighted for one in self.tried],
            f"pool of logits of {task}": [one.candidate.pool == "log" for one in self.tried],
        }
        best = self.candidate
        taken = (best.smoothing != NO_SMOOTHING, best.calibrated, best.weighted, best.pool == "log")
        return [
            NotFitted(what, "the search gained nothing by it")
            for (what, tried), used in zip(offered.items(), taken, strict=True)
            if any(tried) and not used
        ]


class TaskSearch:
    """Searches one task on any set of rows; what does not depend on the rows is computed once.

    Args:
        task: The task.
        members: Stored probabilities; at least one knows the task.
        truth: The annotations of their rows.
        scored: Mask of the rows on which the task is scored, shape (n,).
        timeline: Of the rows; None where nothing is to be smoothed.
        allowed: What may be fitted.
        seed: Of the folds.
    """

    def __init__(
        self,
        task: Task,
        members: Sequence[StoredMember],
        truth: Annotations,
        scored: Array,
        timeline: Timeline | None,
        allowed: SearchSpace,
        seed: int,
    ) -> None:
        self._task, self._scored, self._timeline, self._allowed, self._seed = task, scored, timeline, allowed, seed
        self._images = truth.images
        self._truth: Array = getattr(truth, task)
        self._videos = number_videos(truth.videos)[1]
        self._members = find_knowing_members(members, task)
        self._pool = WeightFit(self._members, truth)
        self._means: dict[tuple[Smoothing, Pooling], Array] = {}

    def search(self, rows: Array) -> Chosen:
        """Finds the best for the task, looking at the truth of some rows alone.

        What is fitted is scored across folds of these rows; smoothing alone, for which nothing is fitted, on the rows
        as they are. The best score is taken, and of equal ones the simplest. The choice has seen all of these rows, so
        that only other videos can show what it gains.

        Args:
            rows: Mask, shape (n,).
        """
        rows = rows & self._scored
        if not is_tunable(self._task, self._truth[rows], self._videos[rows]):
            return Chosen(Candidate())
        folds = np.where(rows, make_video_folds(self._images, SEARCH_FOLDS, self._seed, scored=rows, least=1), -1)
        tried: list[Trial] = []

        def attempt(candidates: Iterable[Candidate]) -> Candidate:
            tried.extend(Trial(candidate, self._score(candidate, rows, folds)) for candidate in candidates)
            return max(tried, key=lambda one: one.score).candidate  # the first of equals

        several = len(self._members) > 1
        pools = several and self._allowed.pool and self._task in POOLED
        best = attempt(map(Candidate, SMOOTHINGS if self._allowed.smoothing else (NO_SMOOTHING,)))
        plain, *ranked = tried[0], *sorted(tried[1:], key=lambda one: -one.score)[:CALIBRATED_SMOOTHINGS]
        if pools:
            best = attempt([replace(best, pool="log")])
        if self._task in self._allowed.calibration:
            smoothings = [one.candidate.smoothing for one in (plain, *ranked)]
            best = attempt([Candidate(smoothing, calibrated=True, pool=best.pool) for smoothing in smoothings])
        if self._allowed.weights and several:
            best = attempt([replace(best, weighted=True)])
        if pools and (best.calibrated or best.weighted):
            best = attempt([replace(best, pool="linear" if best.pool == "log" else "log")])
        return Chosen(best, self._fit_weights(best, rows), tuple(tried))

    def _score(self, candidate: Candidate, rows: Array, folds: Array) -> float:
        """The task's part of the score on `rows`, each fold decided by what was fitted on the others."""
        if not candidate.calibrated and not candidate.weighted:
            return score_part(self._task, self._truth[rows], decide_task(self._task, self._columns(candidate)[rows]))
        decisions = np.zeros(self._truth.shape, dtype=np.float64 if self._task == "va" else np.int8)
        for fold in range(int(folds.max()) + 1):
            decided = folds == fold
            fitted_on = rows & ~decided
            columns = self._columns(candidate, self._fit_weights(candidate, fitted_on))
            parameters: Any = None
            if candidate.calibrated:
                given = self._truth[fitted_on], columns[fitted_on], self._videos[fitted_on]
                parameters = fit_parameters(self._task, *given)
            decisions[decided] = decide_task(self._task, columns[decided], parameters)
        return score_part(self._task, self._truth[rows], decisions[rows])

    def _fit_weights(self, candidate: Candidate, rows: Array) -> Mapping[str, float] | None:
        return (
            self._pool.fit({self._task: rows}, {self._task: candidate.pool}).get(self._task)
            if candidate.weighted
            else None
        )

    def _columns(self, candidate: Candidate, weights: Mapping[str, float] | None = None) -> Array:
        """The members' pooled values or probabilities, smoothed; shape (n, 2), (n, 8) or (n, 12)."""
        if weights is not None:
            return self._pool_and_smooth(candidate, weights)
        key = candidate.smoothing, candidate.pool
        if key not in self._means:
            self._means[key] = self._pool_and_smooth(candidate, None)
        return self._means[key]

    def _pool_and_smooth(self, candidate: Candidate, weights: Mapping[str, float] | None) -> Array:
        task, smoothing = self._task, candidate.smoothing
        mixed = average_members(self._members, {task: weights} if weights else {}, (task,), {task: candidate.pool})
        columns: Array = getattr(mixed, task)
        if smoothing.kind == "none" or self._timeline is None:
            return columns
        return apply_smoothing(columns, self._timeline, smoothing, shares=task == "expression")
