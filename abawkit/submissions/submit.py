"""A submission from its folder: train what is missing, predict, decide, write, check, and write down what it was."""

from dataclasses import dataclass
from pathlib import Path

from abawkit.choices import Split
from abawkit.files import new_folder
from abawkit.locks import locked
from abawkit.submissions.decide import fit_decisions, write_official
from abawkit.submissions.inputs import Inputs, Means
from abawkit.submissions.manifest import Manifest
from abawkit.submissions.networks import predict_members, prediction_step, train_networks, training_step
from abawkit.submissions.plan import OUTPUTS
from abawkit.submissions.prepared import Place, prepare
from abawkit.submissions.stamps import Stamps
from abawkit.submissions.summary import write_summary


@dataclass(frozen=True)
class Submitted:
    """What `submit` ended with.

    Attributes:
        folder: Of the submission.
        official: The official file, checked.
        manifest: What it was made of.
        done: Names of the steps that were done; empty where everything was there.
    """

    folder: Path
    official: Path
    manifest: Manifest
    done: list[str]


def submit(folder: Path, inputs: Inputs, means: Means) -> Submitted:
    """Makes a submission: what is there already, of the same things, is not made again.

    Args:
        folder: That holds ``recipe.toml``. Everything is written to ``outputs/`` within, and ``manifest.json``.
        inputs: What it is made of.
        means: How steps are run.

    Raises:
        ConfigError: If the recipe, or what was given with it, is not what it must be; if another process is at work
            on this submission.
        DataError: If the data is not what it must be, or the written file is not one that the organisers' script reads.
        StepError: If a command fails.
        StoppedError: If a signal ended it; the same command goes on from there.
    """
    made = prepare(folder, inputs)
    outputs = new_folder(folder / OUTPUTS, force=True)
    with locked(outputs):
        place = Place(outputs, Stamps(outputs), means)
        train_networks(made, place)
        predicted = predict_members(made, place)
        decided = fit_decisions(made, predicted, place)
        official = write_official(made, predicted, decided, place)
        manifest = write_summary(made, predicted, decided, official, place)
    return Submitted(folder, official, manifest, place.done)


def outlook(folder: Path, inputs: Inputs) -> list[tuple[str, str]]:
    """What `submit` would train and predict, and why; nothing is written.

    Returns:
        Name of each training and prediction, and why it is due; an empty text where it is not.

    Raises:
        ConfigError: As `submit`.
        DataError: As `submit`.
    """
    made = prepare(folder, inputs)
    place = Place(folder / OUTPUTS, Stamps(folder / OUTPUTS), Means())
    training = [training_step(run, made, place) for run in made.plan.runs]
    lines = [(step.name, place.stamps.reason(step) or "") for step in training]
    due = {run.name for run, (_, reason) in zip(made.plan.runs, lines, strict=True) if reason}
    splits: tuple[Split | None, ...] = ("validation", None)
    for split in splits:
        for member in made.plan.members:
            if any(run.name in due for run in member.runs):
                lines.append((f"predict {split or 'test'} {member.name}", "its networks come first"))
            else:
                step = prediction_step(member, split, made, place)
                lines.append((step.name, place.stamps.reason(step) or ""))
    return lines
