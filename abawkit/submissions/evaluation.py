"""What a submission scores on validation: cross-fitted first, in-sample beside it, against its best single member."""

from collections.abc import Mapping, Sequence

import numpy as np

from abawkit.choices import Protocol
from abawkit.labels import Task
from abawkit.postprocessing.members import StoredMember
from abawkit.postprocessing.outputs import decided
from abawkit.postprocessing.rule import Rule, apply_rule
from abawkit.scoring.forecast import forecast_score
from abawkit.scoring.videos import PARTS, Interval, difference_interval, few_videos_note, statistics_by_video
from abawkit.submissions.fitting import Fitted
from abawkit.submissions.manifest import Figures, MemberFigures, Range, Validation
from abawkit.submissions.recipe import SubmissionRecipe
from abawkit.tables import Annotations, Submission

_BEST = (
    "the weights of each run are those of the epoch that scored best on the same validation rows: all figures are a "
    "little too good"
)


def evaluate(
    members: Mapping[str, StoredMember],
    fitted: Fitted,
    truth: Annotations,
    recipe: SubmissionRecipe,
    tasks: Sequence[Task],
    test_videos: int,
) -> Validation:
    """Scores a submission on validation.

    Args:
        members: The members by name.
        fitted: What was fitted, and what it makes of the validation rows.
        truth: The validation rows.
        recipe: Of the submission.
        tasks: The tasks that are scored.
        test_videos: Videos of the list that is answered.

    Raises:
        DataError: If no row counts, or there are fewer than two videos.
    """
    protocol = recipe.decisions.protocol
    mine = decided(fitted.held_out, tasks)
    alone = {name: decided(member.predictions, tasks) for name, member in members.items()}
    scored = [
        MemberFigures(name=name, key=members[name].key, validation=_score(truth, submission, protocol))
        for name, submission in alone.items()
    ]
    best = max(scored, key=lambda member: member.validation.score).name
    few = [note] if (note := few_videos_note(len(statistics_by_video(truth, mine, protocol).names))) else []
    mean = decided(apply_rule(Rule(), list(members.values()), tasks), tasks)
    return Validation(
        protocol=protocol,
        tasks=list(tasks),
        fitted=fitted.folds > 0,
        folds=fitted.folds,
        crossfitted=_score(truth, mine, protocol),
        interval=_range(forecast_score(truth, mine, protocol, test_videos=test_videos)),
        test_videos=test_videos,
        in_sample=_score(truth, decided(fitted.in_sample, tasks), protocol),
        untuned=_score(truth, mean, protocol),
        gain=_range(difference_interval(truth, mine, mean, protocol)),
        members=scored,
        best_member=best,
        difference=_range(difference_interval(truth, mine, alone[best], protocol)),
        notes=[*fitted.notes, *([_BEST] if recipe.epoch == "best" else []), *few],
    )


def _score(truth: Annotations, submission: Submission, protocol: Protocol) -> Figures:
    statistics = statistics_by_video(truth, submission, protocol)
    values = statistics.scores(np.ones((1, len(statistics.names))))[0]
    return Figures(**dict(zip(PARTS, values.tolist(), strict=True)))


def _range(interval: Interval) -> Range:
    return Range(**interval.as_dict())
