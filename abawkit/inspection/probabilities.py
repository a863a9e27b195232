"""The probabilities that lie beside a submission."""

from pathlib import Path

import numpy as np

from abawkit.errors import DataError
from abawkit.files import sha256, sha256_of
from abawkit.inspection.recognition import Recognised
from abawkit.inspection.report import Inspection, is_file, read_json
from abawkit.prediction.outputs import read_probabilities
from abawkit.tables import Predictions


def inspect_probabilities(path: Path) -> Inspection:
    """Looks at a file of probabilities, and at its manifest where that lies beside it."""
    found = Inspection(path, "probabilities", "probabilities that can't be read")
    found.note("bytes", path.stat().st_size)
    found.digests["file"] = sha256_of(path)
    predictions = note_probabilities(found, path)
    if predictions is None:
        return found
    found.summary = f"probabilities of {len(predictions):,} rows"
    manifest = path.with_suffix(".json")
    if manifest.exists():
        compare_list(found, path, predictions, manifest)
    return found


def note_beside(found: Inspection, submission: Path, recognised: Recognised, *, as_predicted: bool) -> None:
    """Notes the probabilities beside a submission, and whether they give it.

    Args:
        found: The submission's inspection.
        submission: The official file.
        recognised: What the formats say of it.
        as_predicted: Whether its bytes are those that were predicted: others differ from the probabilities anyhow.
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
    if predictions.digest != recognised.submission.digest:
        found.problems.append(f"{path}: is about other rows than {submission.name}")
    elif as_predicted and sha256(recognised.plugins[0].encode(predictions.decide())) != found.digests["file"]:
        found.problems.append(f"{path}: does not give {submission.name}: they are not of one prediction")


def note_probabilities(found: Inspection, path: Path) -> Predictions | None:
    """Notes rows, columns and the list; None, and a problem, where the file holds no probabilities."""
    try:
        predictions = read_probabilities(path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            listed = str(file["list_digest"])
    except DataError as error:
        found.problems.append(str(error))
        return None
    except Exception as error:  # a damaged or hostile archive can end in many ways: compression, encryption, sizes
        found.problems.append(f"{path}: does not hold probabilities ({type(error).__name__})")
        return None
    columns = {name: getattr(predictions, name).shape[1] for name in ("va", "expression", "au")}
    found.note("rows", len(predictions))
    found.note("columns", columns)
    found.digests["list"] = predictions.digest
    if listed != predictions.digest:
        found.problems.append(f"{path}: names the list {listed:.64}, its rows are those of {predictions.digest}")
    return predictions


def compare_list(found: Inspection, path: Path, predictions: Predictions, manifest: Path) -> None:
    """Compares the rows with the list that a manifest names."""
    try:
        source = read_json(manifest).get("source")
    except DataError as error:
        found.problems.append(str(error))
        return
    listed = source.get("list_digest") if isinstance(source, dict) else None
    if listed != predictions.digest:
        found.problems.append(f"{path}: its rows are not those of the list that {manifest.name} names")
