"""Fits calibrations and searches rules, with out-of-fold scores.

Everything is fitted twice: on all videos, which gives the rule, and for each fold of videos on the others, which gives
decisions for the videos of the fold. The search is repeated in each fold, across folds within it. So the cross-fitted
score is what the rule can be expected to score on new videos, and the in-sample one shows how much it overfits.

The difference to nothing fitted comes with an interval from a bootstrap over videos. It holds the rules of the folds
fixed, and so includes how videos vary, but not how fits do. What the written rule gains on other videos lies outside of
it a little more often than 5 % of the time: `benchmarks/interval_coverage.py` measures how often.

A task that loses on videos that it was not fitted on is kept as it is: within each fit where its calibration loses
across folds of the rows that are fitted on, and in the rule where its cross-fitted part of the score falls.
"""

from collections.abc import Sequence
from dataclasses import replace

from abawkit.choices import Protocol
from abawkit.frame_columns import Timeline
from abawkit.labels import Task
from abawkit.postprocessing.averaging import average_members
from abawkit.postprocessing.calibration import apply_calibration
from abawkit.postprocessing.rule import Rule, apply_rule, check_made_for
from abawkit.postprocessing.smoothing import smooth_predictions
from abawkit.probabilities.members import StoredMember
from abawkit.scoring.bootstrap import DRAWS
from abawkit.tables import Annotations, Array
from abawkit.tuning.calibration_fit import fit_calibration, is_tunable, measure_gain
from abawkit.tuning.cross_validation import CrossValidation, FittedRule, Progress, Tuning
from abawkit.tuning.folds import FOLDS, SEARCH_FOLDS, make_video_folds
from abawkit.tuning.support import LOSES, NotFitted
from abawkit.tuning.task_search import Candidate, SearchSpace, TaskSearch


def calibrate(
    members: Sequence[StoredMember],
    truth: Annotations,
    *,
    base: Rule | None = None,
    tasks: Sequence[Task] | None = None,
    calibration: Sequence[Task] | None = None,
    protocol: Protocol = "official",
    folds: int = FOLDS,
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> Tuning:
    """Fits scales and shifts, biases and thresholds; weights and smoothing are given.

    Args:
        members: Stored probabilities of the rows of `truth`; usually one.
        truth: The annotations.
        base: Its weights, pool and smoothing are kept; by default the mean, without smoothing.
        tasks: What is scored; by default all that a member knows.
        calibration: The tasks that are calibrated; by default all that are scored.
        protocol: The rows that count.
        folds: Folds of videos; fewer are made of few videos.
        seed: Of the folds and of the bootstrap.
        draws: Of the bootstrap.
        progress: See `Progress`.

    Returns:
        The rule, for these members alone, and its scores; `Tuning.untuned` are those of weights and smoothing alone.

    Raises:
        ConfigError: If a task is asked for that no member knows, or fewer than two folds.
        DataError: If the rows of a member are not those of the truth, or too few videos are annotated.
    """
    cv = CrossValidation(members, truth, tasks, protocol)
    fitted = cv.select_tasks(calibration)
    base = base or Rule()
    given = check_made_for(Rule(base.weights, base.smoothing, pool=base.pool), members, cv.tasks)
    untuned = apply_rule(given, members, cv.tasks)

    def loses(task: Task, rows: Array) -> bool:
        """Whether calibrating a task on these rows loses across folds of them."""
        labels, columns, videos = (v[rows] for v in (getattr(truth, task), getattr(untuned, task), cv.videos))
        if not is_tunable(task, labels, videos):
            return False
        folds = make_video_folds(truth.images, SEARCH_FOLDS, seed, scored=rows, least=1)[rows]
        return measure_gain(task, labels, columns, videos, folds) < 0

    def fit(rows: Array, without: Sequence[Task]) -> FittedRule:
        masks = cv.select_rows(rows)
        losing = [task for task in fitted if task in without or loses(task, masks[task])]
        found = fit_calibration(untuned, truth, masks, cv.videos, [task for task in fitted if task not in losing])
        rule = replace(given, calibration=found.calibration)
        not_fitted = (*(NotFitted(f"calibration of {task}", LOSES) for task in losing), *found.not_fitted)
        return FittedRule(rule, apply_calibration(untuned, found.calibration), {}, not_fitted)

    return cv.cross_validate(fit, untuned, folds, seed, draws, progress)


def tune(
    members: Sequence[StoredMember],
    truth: Annotations,
    *,
    tasks: Sequence[Task] | None = None,
    calibration: Sequence[Task] | None = None,
    smoothing: bool = True,
    weights: bool = True,
    pool: bool = True,
    protocol: Protocol = "official",
    folds: int = FOLDS,
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> Tuning:
    """Searches smoothing, calibration, weights and pool of each task; see `abawkit.tuning.task_search`.

    Args:
        members: Stored probabilities of the rows of `truth`.
        truth: The annotations.
        tasks: What is scored; by default all that a member knows.
        calibration: The tasks that may be calibrated; by default all that are scored.
        smoothing: Whether smoothings are tried.
        weights: Whether fitted weights of the members are tried.
        pool: Whether pooling their logits is tried, for expressions and action units.
        protocol: The rows that count.
        folds: Folds of videos; fewer are made of few videos.
        seed: Of the folds and of the bootstrap.
        draws: Of the bootstrap.
        progress: See `Progress`.

    Returns:
        The rule, for these members alone, and its scores; `Tuning.untuned` are those of the mean of the members.

    Raises:
        ConfigError: If a task is asked for that no member knows, or fewer than two folds.
        DataError: If the rows of a member are not those of the truth, too few videos are annotated, or frames that
            are to be smoothed have no number.
    """
    cv = CrossValidation(members, truth, tasks, protocol)
    allowed = SearchSpace(smoothing, weights, cv.select_tasks(calibration), pool)
    timeline = Timeline.of(truth.images) if smoothing else None
    searches = {task: TaskSearch(task, members, truth, cv.scored[task], timeline, allowed, seed) for task in cv.tasks}

    def fit(rows: Array, without: Sequence[Task]) -> FittedRule:
        best = {task: search.search(rows) for task, search in searches.items()}
        chosen = {
            task: replace(one, candidate=Candidate(), weights=None) if task in without else one
            for task, one in best.items()
        }
        weighed = {task: one.weights for task, one in chosen.items() if one.weights is not None}
        how = {task: one.candidate.smoothing for task, one in chosen.items() if one.candidate.smoothing.kind != "none"}
        pools = {task: one.candidate.pool for task, one in chosen.items() if one.candidate.pool != "linear"}
        predictions = smooth_predictions(average_members(members, weighed, cv.tasks, pools), how, timeline)
        taken = [task for task, one in chosen.items() if one.candidate.calibrated]
        found = fit_calibration(predictions, truth, cv.select_rows(rows), cv.videos, taken)
        losing = [task for task in without if chosen[task] != best[task]]
        not_fitted = (
            *(NotFitted(f"all of {task}", LOSES) for task in losing),
            *(each for task, one in chosen.items() if task not in losing for each in one.list_not_fitted(task)),
            *found.not_fitted,
        )
        rule = check_made_for(Rule(weighed, how, found.calibration, pools), members, cv.tasks)
        return FittedRule(rule, apply_calibration(predictions, found.calibration), chosen, not_fitted)

    return cv.cross_validate(fit, average_members(members, tasks=cv.tasks), folds, seed, draws, progress)
