"""From stored probabilities to the official file: fit on validation, apply to the list, write, check."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
from pydantic import ValidationError

import abawkit
from abawkit.errors import ProblemsError
from abawkit.files import sha256_of, write_json
from abawkit.formats.base import get_format
from abawkit.formats.output import stored_submission, submission_digest, write_submission
from abawkit.frames.paths import as_folders
from abawkit.labels import TASKS
from abawkit.postprocessing.members import StoredMember, read_members, write_probabilities
from abawkit.postprocessing.outputs import decided, outputs, write_outputs
from abawkit.postprocessing.rule import apply_rule, read_rule, write_rule
from abawkit.provenance import code_digest
from abawkit.submissions.evaluation import evaluate
from abawkit.submissions.fitting import command, fit, fits
from abawkit.submissions.manifest import Validation
from abawkit.submissions.networks import Predicted, prediction_manifest
from abawkit.submissions.prepared import Place, Prepared
from abawkit.submissions.stamps import Step
from abawkit.tables import videos_of

RULE: Final = "rule.json"
CROSSFITTED: Final = "crossfitted.txt"
FIGURES: Final = "validation.json"
OFFICIAL: Final = "predictions"


@dataclass(frozen=True)
class Decided:
    """How decisions are made, and what they score.

    Attributes:
        rule: File of the rule.
        digest: SHA-256 of that file.
        validation: What the submission scores on validation.
    """

    rule: Path
    digest: str
    validation: Validation


def fit_decisions(made: Prepared, predicted: Predicted, place: Place) -> Decided:
    """Fits on validation what the recipe asks for, unless that was done with the same probabilities.

    Leaves ``rule.json``, ``validation.json`` (the figures), ``crossfitted.npz`` (probabilities of the validation rows,
    each row by a rule that was fitted on other videos) and, of all three tasks, ``crossfitted.txt`` with the decisions.

    Raises:
        DataError: If probabilities can't be read back, or validation has too few videos for the folds.
    """
    out = place.outputs
    crossfitted = out / CROSSFITTED
    files = [out / RULE, out / FIGURES, crossfitted.with_suffix(".npz")]
    files += [crossfitted] if made.tasks == TASKS else []
    made_of = {
        "abawkit": abawkit.__version__,
        "code": code_digest(),
        "decisions": made.recipe.decisions.model_dump(mode="json"),
        "epoch": made.recipe.epoch,
        "members": _digests(predicted.validation, place),
        "data": made.opened.curated.digest,
        "tasks": list(made.tasks),
        "test_videos": _count_videos(made),
    }
    step = Step("fit decisions", made_of, files)
    validation = None if place.due(step) else _figures(out / FIGURES)
    if validation is None:
        place.stamps.begin(step)
        validation = _fit(made, [predicted_step.outputs[0] for predicted_step in predicted.validation], place)
        place.finish([step])
    return Decided(out / RULE, place.stamps.digest(step, out / RULE), validation)


def _fit(made: Prepared, paths: list[Path], place: Place) -> Validation:
    out, decisions = place.outputs, made.recipe.decisions
    if fits(decisions, made.tasks):
        place.means.say(f"$ abawkit {shlex.join(command(made, paths, out / RULE))}")
    members = read_members(paths)
    truth = made.opened.curated.splits["validation"].annotations
    fitted = fit(members, truth, decisions, made.tasks)
    named = dict(zip((member.name for member in made.plan.members), members, strict=True))
    validation = evaluate(named, fitted, truth, made.recipe, made.tasks, _count_videos(made))
    write_rule(out / RULE, fitted.rule, fitted.evidence)
    crossfitted = out / CROSSFITTED
    write_probabilities(crossfitted.with_suffix(".npz"), fitted.held_out, made.tasks)
    if made.tasks == TASKS:
        write_submission(crossfitted, get_format("abaw7").encode(decided(fitted.held_out, TASKS)))
    write_json(out / FIGURES, validation.model_dump(mode="json"))
    return validation


def write_official(made: Prepared, predicted: Predicted, decisions: Decided, place: Place) -> Path:
    """Applies the rule to the list's probabilities, writes the official file and checks it, unless it is there.

    Returns:
        The official file, or folder.

    Raises:
        ProblemsError: If the written file is not what the organisers' script reads.
        DataError: If probabilities can't be read back.
    """
    plugin = made.opened.plugin
    path = place.outputs / (f"{OFFICIAL}.txt" if plugin.container == "file" else OFFICIAL)
    made_of = {
        "abawkit": abawkit.__version__,
        "code": code_digest(),
        "rule": decisions.digest,
        "members": _digests(predicted.test, place),
        "list": made.opened.frame_list.digest,
        "format": plugin.name,
    }
    step = Step(f"write {path.name}", made_of, outputs(path))
    if not place.due(step):
        return path
    place.stamps.begin(step)
    paths = [predicted_step.outputs[0] for predicted_step in predicted.test]
    joined = shlex.join([*map(str, paths), "--rule", str(decisions.rule), "--format", plugin.name, "--out", str(path)])
    place.means.say(f"$ abawkit ensemble {joined}")
    members = read_members(paths)
    predictions = apply_rule(read_rule(decisions.rule), members, made.tasks)
    first = prediction_manifest(paths[0])
    write_outputs(
        path,
        predictions,
        made.tasks,
        plugin,
        source=_source(made),
        members=[_as_json(member) for member in members],
        environment=first["environment"],
        rule=read_rule(decisions.rule),
        filled=first["filled"],
        force=True,
    )
    listed = str(made.opened.inputs.listed)
    place.means.say(f"$ abawkit check {shlex.join([str(path), '--format', plugin.name, '--list', listed])}")
    if problems := plugin.check(path, made.opened.frame_list):
        raise ProblemsError(path, problems, "this file is not to be handed in; the list may be damaged")
    place.finish([step])
    return path


def official_digest(path: Path) -> str:
    """SHA-256 of an official file or folder, as manifests name it.

    Raises:
        DataError: If it is absent, or no submission.
    """
    return submission_digest(stored_submission(path))


def _count_videos(made: Prepared) -> int:
    """Videos of the list that is answered."""
    return len(pc.unique(videos_of(made.opened.frame_list.images)))


def _digests(steps: Sequence[Step], place: Place) -> list[str]:
    """Of the probabilities and the manifest that each prediction left: a member's key comes from the second."""
    return [place.stamps.digest(step, path) for step in steps for path in step.outputs[:2]]


def _figures(path: Path) -> Validation | None:
    """The figures that were written; None where another form of them was, as by another state of this version."""
    try:
        return Validation.model_validate_json(path.read_bytes())
    except ValidationError:
        return None


def _source(made: Prepared) -> dict[str, Any]:
    inputs = made.opened.inputs
    frames = as_folders(inputs.frames).as_json()
    return {"list": str(inputs.listed), "list_sha256": sha256_of(inputs.listed), "frames": frames}


def _as_json(member: StoredMember) -> dict[str, Any]:
    return {"path": str(member.path), "key": member.key, "digest": member.digest, "tasks": list(member.tasks)}
