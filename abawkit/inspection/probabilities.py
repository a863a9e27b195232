"""Inspects stored probabilities, alone or beside a submission."""

from pathlib import Path

from abawkit.errors import DataError, format_count
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.writing import digest_submission
from abawkit.inspection.formats import Recognised
from abawkit.inspection.report import Inspection, is_file
from abawkit.probabilities.files import COLUMNS, read_stored
from abawkit.probabilities.members import check_manifest, digest_columns
from abawkit.system.files import sha256_of
from abawkit.system.json_records import read_object
from abawkit.tables import Predictions


def inspect_probabilities(path: Path) -> Inspection:
    """Inspects a file of probabilities, and its manifest if there is one beside it."""
    found = Inspection(path, "probabilities", "probabilities that can't be read")
    found.note("bytes", path.stat().st_size)
    found.digests["file"] = sha256_of(path)
    predictions = note_probabilities(found, path)
    if predictions is None:
        return found
    found.summary = f"probabilities of {format_count(len(predictions), 'row')}"
    manifest = path.with_suffix(".json")
    if manifest.exists():
        try:
            check_manifest(
                path, predictions, stored_digest(path), read_object(manifest, "the manifest of a prediction")
            )
        except DataError as error:
            found.problems.append(str(error))
    return found


def note_stored_probabilities(
    found: Inspection, submission: Path, recognised: Recognised, *, as_predicted: bool
) -> None:
    """Notes the probabilities beside a submission, and whether the submission follows from them.

    Args:
        found: The submission's inspection.
        submission: The official file.
        recognised: Its formats and content.
        as_predicted: Whether its bytes are those that were predicted; else it differs from the probabilities anyway.
    """
    path = submission.with_suffix(".npz")
    if not is_file(path):
        found.note("probabilities", "none")
        return
    found.digests["probabilities"] = sha256_of(path)
    inner = Inspection(path, "probabilities", problems=found.problems)
    predictions = note_probabilities(inner, path)
    found.note("probabilities", {"file": path.name, **inner.facts})
    if predictions is None or recognised.submission is None:
        return
    plugin = recognised.plugins[0]
    if plugin.container == "file" and predictions.digest != recognised.submission.digest:
        found.problems.append(f"{path}: is about other rows than {submission.name}")
    elif as_predicted and _digest_decisions(plugin, predictions) != found.digests["file"]:
        found.problems.append(f"{path}: does not give {submission.name}: they are not of one prediction")


def _digest_decisions(plugin: SubmissionFormat, predictions: Predictions) -> str:
    """The digest of the submission that probabilities give; empty if the format can't store their frames."""
    try:
        return digest_submission(plugin.encode(predictions.decide()))
    except DataError:
        return ""


def note_probabilities(found: Inspection, path: Path) -> Predictions | None:
    """Notes rows, columns and the list; None, and a problem, if the file contains no probabilities."""
    try:
        predictions, tasks, _ = read_stored(path)
    except DataError as error:
        found.problems.append(str(error))
        return None
    found.note("rows", len(predictions))
    found.note("columns", {task: len(COLUMNS[task]) for task in tasks})
    found.digests["list"] = predictions.digest
    return predictions


def stored_digest(path: Path) -> str:
    """The digest by which manifests name stored probabilities as a member.

    Raises:
        DataError: If the file contains no probabilities.
    """
    predictions, tasks, _ = read_stored(path)
    return digest_columns(predictions, tasks)
