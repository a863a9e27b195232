"""Everything that a submission is made of, read and checked before the first step, and where it is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from abawkit.errors import ConfigError, DataError
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.outputs import needed_tasks
from abawkit.submissions.inputs import Inputs, Means, Opened, open_inputs
from abawkit.submissions.plan import Plan, make_plan
from abawkit.submissions.recipe import SubmissionRecipe, read_submission_recipe
from abawkit.submissions.stamps import Stamps, Step


@dataclass(frozen=True)
class Prepared:
    """A submission before its first step.

    Attributes:
        folder: That holds ``recipe.toml``.
        recipe: The recipe.
        recipe_sha256: Of its file.
        plan: What has to be trained, and the members that it makes.
        opened: What goes in beside the recipe.
    """

    folder: Path
    recipe: SubmissionRecipe
    recipe_sha256: str
    plan: Plan
    opened: Opened

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the official file is decided from; only they are scored."""
        return needed_tasks(self.opened.plugin.holds)


@dataclass(frozen=True)
class Place:
    """Where a submission is being made.

    Attributes:
        outputs: Folder of all that is made.
        stamps: What each step was made of.
        means: How steps are run.
        done: Names of the steps that were done.
    """

    outputs: Path
    stamps: Stamps
    means: Means
    done: list[str] = field(default_factory=list)

    def due(self, step: Step) -> bool:
        """Whether a step has to be done; says why, or that it has not."""
        reason = self.stamps.reason(step)
        self.means.say(f"{step.name}: {reason}" if reason else f"{step.name}: nothing to do")
        return reason is not None

    def finish(self, steps: Sequence[Step]) -> None:
        """Notes that steps are done."""
        for step in steps:
            self.stamps.done(step)
            self.done.append(step.name)


def prepare(folder: Path, inputs: Inputs) -> Prepared:
    """Reads a submission's recipe and opens what it is made of; nothing is written.

    Raises:
        ConfigError: If the recipe, or what was given with it, is not what it must be.
        DataError: If the data is not.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; give the folder of a submission; `abawkit submissions new NAME` creates one"
        )
    recipe, digest = read_submission_recipe(folder)
    plan, opened = make_plan(folder, recipe), open_inputs(recipe, inputs)
    _refuse_unlabelled(plan, opened)
    return Prepared(folder, recipe, digest, plan, opened)


def _refuse_unlabelled(plan: Plan, opened: Opened) -> None:
    """Refuses data without labels for a task that a network is to be trained for, before hours are spent on it."""
    split = opened.curated.splits["train"]
    usable = split.kept & (split.frames >= 0)
    for task in TASKS:
        names = list(dict.fromkeys(run.network.name for run in plan.runs if task in run.tasks))
        if names and not (getattr(split.annotations, f"{task}_valid") & usable).any():
            raise DataError(
                f"{opened.inputs.data}: no training row is annotated for {task}, which {', '.join(names)} is to be "
                "trained for; give another curated set, or leave this task out of the networks' tasks"
            )
