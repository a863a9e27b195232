"""The files of a prediction: the official one, its probabilities, and its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import abawkit
from abawkit.errors import ConfigError
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.writing import digest_submission, write_submission
from abawkit.labels import TASKS, Answer, Task
from abawkit.postprocessing.rule import Rule, digest_rule, make_rule_content
from abawkit.probabilities.members import digest_columns, write_probabilities
from abawkit.system.files import write_json
from abawkit.tables import Predictions, Submission


@dataclass(frozen=True)
class WrittenOutputs:
    """The files that were written.

    Attributes:
        submission: The official file or folder.
        probabilities: The ``.npz`` beside it.
        manifest: The ``.json`` beside it.
        digest: Of the submission.
    """

    submission: Path
    probabilities: Path
    manifest: Path
    digest: str


def list_outputs(out: Path) -> tuple[Path, Path, Path]:
    """The official file or folder, and the probabilities and the manifest that lie beside it.

    Raises:
        ConfigError: If the three would not be three.
    """
    if not out.name:
        raise ConfigError(f"{out}: is a folder; give the path of the file to write")
    paths = out, out.with_suffix(".npz"), out.with_suffix(".json")
    if len(set(paths)) < 3:
        raise ConfigError(
            f"{out}: .npz and .json are kept for what lies beside the submission; name it predictions.txt"
        )
    return paths


def find_needed_tasks(tasks: Sequence[Answer]) -> tuple[Task, ...]:
    """The tasks that answers are decided from: compound expressions from the probabilities of expressions."""
    named = {"expression" if answer == "compound" else answer for answer in tasks}
    return tuple(task for task in TASKS if task in named)


def decide(predictions: Predictions, tasks: Sequence[Task]) -> Submission:
    """The decisions on these tasks alone."""
    submission = predictions.decide()
    compound = submission.compound if "expression" in tasks else None
    return replace(submission, tasks=tuple(task for task in TASKS if task in tasks), compound=compound)


def write_outputs(
    out: Path,
    predictions: Predictions,
    tasks: Sequence[Task],
    plugin: SubmissionFormat,
    *,
    source: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    rule: Rule | None = None,
    filled: Sequence[Mapping[str, Any]] = (),
    force: bool = False,
) -> WrittenOutputs:
    """Writes the submission, the probabilities that it follows from, and a manifest of what both were made of.

    Args:
        out: The official file or folder.
        predictions: The probabilities.
        tasks: The tasks that were predicted; the ``.npz`` has these alone.
        plugin: The format.
        source: What was predicted; the digest of its rows is added.
        members: The networks or files that it was made of.
        environment: Versions.
        rule: The rule that was applied.
        filled: Rows that took the answer of another frame.
        force: Whether an existing folder is replaced.

    Raises:
        DataError: If the format asks for a task that the predictions are not about, or a file can't be written.
    """
    submission_path, npz_path, manifest_path = list_outputs(out)
    content = plugin.encode(decide(predictions, tasks))
    digest = digest_submission(content)
    manifest = {
        "abawkit": abawkit.__version__,
        "format": plugin.name,
        "rows": len(predictions),
        "source": {**source, "list_digest": predictions.digest},
        "members": list(members),
        **({"rule": {"digest": digest_rule(rule), **make_rule_content(rule)}} if rule else {}),
        "submission_sha256": digest,
        "probabilities_digest": digest_columns(predictions, tasks),
        "filled": list(filled),
        "environment": environment,
    }
    write_probabilities(npz_path, predictions, tasks)
    write_json(manifest_path, manifest)
    write_submission(submission_path, content, force=force)
    return WrittenOutputs(submission_path, npz_path, manifest_path, digest)
