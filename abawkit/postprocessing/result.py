"""What was fitted, and what it is worth: the figure on videos that the fit did not see comes first."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from abawkit.labels import Task
from abawkit.postprocessing.floors import LeftAlone
from abawkit.postprocessing.rule import Rule
from abawkit.postprocessing.task_search import Chosen
from abawkit.scoring.videos import Interval
from abawkit.tables import Predictions


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
    left: tuple[LeftAlone, ...]


@dataclass(frozen=True, eq=False)
class Tuning:
    """A rule that was fitted on all videos, with figures that say what it is worth.

    Attributes:
        found: What was fitted on all videos; its rule is the one to use.
        held_out: Predictions of which each row comes from what was fitted, in the same way, without its video.
        untuned_predictions: Predictions of nothing fitted.
        cross_fitted: The scores of `held_out`, by `abawkit.scoring.videos.PARTS`: the honest figures, each with the
            forecast for a test of as many videos.
        in_sample: The scores of the rule on the rows that it was fitted on: too high, as it has seen their truth.
        untuned: The scores of `untuned_predictions`, likewise.
        difference: Cross-fitted less untuned, over the same draws of videos. The interval is that of the decisions that
            the rules of the folds made; another fit would have given another rule, which it does not know of.
        tasks: The tasks that are scored; the parts of others are 0.
        fallen: The tasks whose cross-fitted part of the score falls, and which the rule therefore leaves alone.
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
