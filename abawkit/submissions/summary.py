"""Writing the manifest: anew where anything that it says has changed, else not at all."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

import abawkit
from abawkit.errors import DataError
from abawkit.provenance import git_commit
from abawkit.submissions.decide import Decided, official_digest
from abawkit.submissions.ledger import now
from abawkit.submissions.manifest import (
    MANIFEST,
    Manifest,
    Text,
    TrainedNetwork,
    Written,
    read_manifest,
    write_manifest,
)
from abawkit.submissions.networks import RUNS, Predicted, network_digest, prediction_manifest
from abawkit.submissions.plan import PlannedRun
from abawkit.submissions.prepared import Place, Prepared


class _Environment(BaseModel):
    code: Text | None = None
    git: Text | None = None


class _RunManifest(BaseModel):
    """What is read of a run's own ``manifest.json``."""

    environment: _Environment = _Environment()


def write_summary(made: Prepared, predicted: Predicted, decided: Decided, official: Path, place: Place) -> Manifest:
    """Writes ``manifest.json``; one that says all of this already stays as it is, with the time and commit it has.

    Raises:
        DataError: If something can't be read back.
    """
    opened = made.opened
    first = prediction_manifest(predicted.test[0].outputs[0])
    before = _before(made.folder)
    manifest = Manifest(
        abawkit=abawkit.__version__,
        name=made.folder.resolve().name,
        summary=made.recipe.summary,
        written=before.written if before else "",
        git=before.git if before else None,
        recipe_sha256=made.recipe_sha256,
        format=opened.plugin.name,
        policy=made.recipe.policy,
        epoch=made.recipe.epoch,
        table_sha256=opened.curated.digest,
        list_digest=opened.frame_list.digest,
        frames_digest=opened.frames_digest,
        weights_sha256=opened.weights_sha256,
        networks=[_network(run, made, place) for run in made.plan.runs],
        rule_sha256=decided.digest,
        submission=Written(
            file="outputs/predictions.txt" if opened.plugin.container == "file" else "outputs/predictions",
            sha256=official_digest(official),
            rows=len(opened.frame_list),
            filled=len(first["filled"]),
        ),
        validation=decided.validation,
        environment=first["environment"],
    )
    if manifest != before or place.done:
        manifest = manifest.model_copy(update={"written": now(), "git": git_commit(made.folder)})
        write_manifest(made.folder, manifest)
    return manifest


def _network(run: PlannedRun, made: Prepared, place: Place) -> TrainedNetwork:
    """One network, with the code that trained it as far as its run says."""
    try:
        content = (place.outputs / RUNS / run.name / MANIFEST).read_bytes()
        by = _RunManifest.model_validate_json(content).environment
    except (OSError, ValidationError):
        by = _Environment()
    digest = network_digest(run, made, place)
    return TrainedNetwork(name=run.name, seed=run.seed, sha256=digest, code=by.code, git=by.git)


def _before(folder: Path) -> Manifest | None:
    """The manifest that is there; one that is damaged is replaced."""
    try:
        return read_manifest(folder)
    except DataError:
        return None
