"""Selects the tasks that a run can train and score: those with labels and a weighted loss."""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np

from abawkit.choices import Protocol
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.scoring.scored_rows import select_scored_rows
from abawkit.tables import Annotations
from abawkit.training.recipe import Recipe

TASK_NAMES: Final[dict[Task, str]] = {"va": "valence and arousal", "expression": "expression", "au": "action units"}
"""Names of tasks in messages."""


def find_weighted_tasks(recipe: Recipe) -> tuple[Task, ...]:
    """The recipe's tasks whose loss has a weight, at least one: the head of any other gets no gradient."""
    return tuple(task for task in recipe.tasks if getattr(recipe.losses, task))


def select_trainable_tasks(recipe: Recipe, rows: Annotations) -> Recipe:
    """Removes the tasks that can't be trained from a recipe, and warns of classes that can't be learned.

    Args:
        recipe: The recipe.
        rows: The training rows.

    Returns:
        The recipe with the tasks that have labels and a loss.

    Raises:
        ConfigError: If the recipe names a task that has no loss.
        DataError: If no task is left, or the recipe names a task that has no labels.

    Warns:
        DataWarning: If the recipe names no tasks, and so requests all, and some are removed; if a class, a unit or a
            dimension is the same in all rows.
    """
    weighted = find_weighted_tasks(recipe)
    reasons = {task: f"losses.{task} is 0" for task in recipe.tasks if task not in weighted}
    unlabelled = {task: reason for task in weighted if (reason := _explain_missing_labels(rows, task))}
    reasons |= unlabelled
    rest = tuple(task for task in recipe.tasks if task not in reasons)
    why = "; ".join(reasons.values())
    if not rest:
        raise DataError(f"{why}: no task is left to train; give a curated set with labels")
    if reasons and "tasks" in recipe.model_fields_set:
        advice = " ".join(f"--tasks {task}" for task in rest)
        error = DataError if unlabelled else ConfigError
        raise error(f"{why}, and the recipe's tasks name {', '.join(reasons)}; train the others with {advice}")
    if reasons:
        warnings.warn(
            f"{why}: this run trains and scores {describe_tasks(rest)} only, and its network predicts nothing else",
            DataWarning,
            stacklevel=2,
        )
        recipe = recipe.model_copy(update={"tasks": rest})
    for text in _find_unlearnable(rows, rest):
        warnings.warn(text, DataWarning, stacklevel=2)
    return recipe


def select_scored_tasks(tasks: Sequence[Task], rows: Annotations, protocol: Protocol) -> tuple[Task, ...]:
    """The trained tasks for which validation rows are annotated.

    Args:
        tasks: The trained tasks.
        rows: The validation rows.
        protocol: The protocol that selects the best epoch.

    Raises:
        DataError: If there is none: all epochs would have the same score.

    Warns:
        DataWarning: If a trained task can't be scored.
    """
    masks = select_scored_rows(rows, protocol)
    constant = masks["va"].any() and not np.ptp(rows.va[masks["va"]], axis=0).any()  # its CCC is 0 whatever is learned
    scored = tuple(task for task in tasks if masks[task].any() and not (task == "va" and constant))
    absent = [TASK_NAMES[task] for task in tasks if task not in scored]
    if not scored:
        other = "; select = 'official' counts more rows" if protocol == "strict" else ""
        raise DataError(
            f"no validation row counts for {' or '.join(absent)} under the {protocol} protocol, or all are alike: no "
            f"epoch could be chosen as the best{other}"
        )
    if absent:
        warnings.warn(
            f"no validation row is annotated for {' or '.join(absent)}, or all are alike: trained, but not scored",
            DataWarning,
            stacklevel=2,
        )
    return scored


def _explain_missing_labels(rows: Annotations, task: Task) -> str:
    valid = getattr(rows, f"{task}_valid")
    if not valid.any():
        return f"no training row is annotated for {TASK_NAMES[task]}"
    if task == "va" and (np.ptp(rows.va[valid], axis=0) == 0).all():
        return "valence and arousal are the same in every annotated training row"
    return ""


def _find_unlearnable(rows: Annotations, tasks: Sequence[Task]) -> list[str]:
    """A message for each label that is the same in all annotated rows, and so can't be learned."""
    found = []
    if "va" in tasks:
        spread = np.ptp(rows.va[rows.va_valid], axis=0)
        constant = [name for name, width in zip(DIMENSIONS, spread, strict=True) if width == 0]
        found += [f"{name} is the same in every annotated training row: it can't be learned" for name in constant]
    if "expression" in tasks:
        counts = np.bincount(rows.expression[rows.expression_valid], minlength=len(EXPRESSIONS))
        absent = [name for name, count in zip(EXPRESSIONS, counts, strict=True) if not count]
        if absent:
            found.append(f"no training row shows {', '.join(absent)}: can't be learned")
    if "au" in tasks:
        active = rows.au[rows.au_valid]
        for what, mask in (("never", active.max(axis=0) == 0), ("always", active.min(axis=0) == 1)):
            names = [name for name, constant in zip(ACTION_UNITS, mask.tolist(), strict=True) if constant]
            if names:
                found.append(f"{what} active in the training rows: {', '.join(names)}: can't be learned")
    return found


def describe_tasks(tasks: Sequence[Task]) -> str:
    """The names of tasks, for messages."""
    return ", ".join(TASK_NAMES[task] for task in TASKS if task in tasks)
