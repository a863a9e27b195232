"""Out-of-fold probabilities: every row answered by the network that was trained without its clip."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import abawkit
from abawkit.choices import Protocol
from abawkit.curation.curated_set import CuratedSet, find_truth_rows, open_curated, select_truth
from abawkit.errors import DataError, DataWarning
from abawkit.labels import TASKS, Task
from abawkit.models.attention import describe_operators, list_evaluation_calls
from abawkit.models.inference import Probabilities, pick_device
from abawkit.models.network import DDAMFN
from abawkit.postprocessing.outputs import decide
from abawkit.prediction.networks import Member, load_members, make_zeros
from abawkit.prediction.predict import fill_from_neighbours
from abawkit.probabilities.files import assemble
from abawkit.probabilities.members import check_manifest, digest_columns, read_member, write_probabilities
from abawkit.run_names import OUT_OF_FOLD_NAME
from abawkit.scoring.forecast import make_forecast
from abawkit.scoring.score import PROTOCOLS, Score, score
from abawkit.system.files import write_json
from abawkit.system.json_records import read_object
from abawkit.tables import Annotations, Predictions
from abawkit.training.build import read_validation_rows
from abawkit.training.distributed import ALONE, Distributed
from abawkit.training.fold_folder import FoldsContent, list_fold_runs
from abawkit.training.folds import find_divided_rows, select_fold
from abawkit.training.recipe import Recipe
from abawkit.training.run_folder import describe_environment
from abawkit.training.sequence_data import describe_stores, open_stores
from abawkit.training.start import Inputs
from abawkit.training.validation import predict_rows

OUT_OF_FOLD_FORMAT: Final = "abawkit.out-of-fold.1"


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of rows by networks that did not see their clips.

    Attributes:
        probabilities: Their file, ``.npz``.
        tasks: The tasks that the networks of all folds were trained for.
        scores: By protocol, with the forecast for a test of as many videos.
    """

    probabilities: Path
    tasks: tuple[Task, ...]
    scores: dict[Protocol, Score]


def predict_out_of_fold(
    recipe: Recipe,
    inputs: Inputs,
    out: Path,
    content: FoldsContent,
    device: str,
    progress: Callable[[int, int], None] | None = None,
    processes: Distributed = ALONE,
) -> OutOfFold:
    """Predicts the rows of each fold with its own network, and writes them as stored probabilities with a manifest.

    The rows are those of `abawkit.curation.curated_set.select_truth`, in the order of the table: of training those that
    the policy keeps, of validation all. Rows without a frame are answered as the nearest frame of their video. What is
    there already of the same networks is kept.

    Args:
        recipe: Of the networks.
        inputs: Data, frames and features, as they were trained on.
        out: The folder of the folds, whose runs are finished.
        content: The folds.
        device: Where to run.
        progress: Called with the number of folds that are done, and of all.
        processes: Among which rows are divided; all of them must call, and the first one writes.

    Raises:
        DataError: If a network, a frame or features are absent or damaged, or the networks have no task in common.
    """
    began, target, curated = time.perf_counter(), pick_device(device), open_curated(inputs.data)
    members = load_members(list_fold_runs(out, content.folds), target, ())
    tasks = tuple(task for task in TASKS if all(task in member.tasks for member in members))
    if not tasks:
        raise DataError(f"{out}: the networks of its folds have no task in common; train them for one with --tasks")
    npz, manifest = (out / f"{OUT_OF_FOLD_NAME}{ending}" for ending in (".npz", ".json"))
    truth = select_truth(curated, content.over)
    kept = _read_kept(npz, manifest, members, curated, truth)
    if not processes.any_rank(kept is None) and kept:
        return OutOfFold(npz, tasks, score_out_of_fold(truth, kept, tasks))
    pool, wanted = find_divided_rows(curated, content.over), find_truth_rows(curated, content.over)
    stores, answers, seen = open_stores(inputs.features), make_zeros(len(pool.rows)), np.zeros(len(pool.rows), bool)
    for done, (fold, member) in enumerate(zip(content.list_folds(), members, strict=True), start=1):
        view = select_fold(curated, fold)
        rows = read_validation_rows(recipe, inputs, view, stores)
        found, positions = (
            predict_rows(member.network, rows, target, processes=processes),
            np.searchsorted(pool.rows, rows.rows),
        )
        for task, column in zip(TASKS, answers, strict=True):
            column[positions] = getattr(found, task)
        seen[positions] = True
        if progress:
            progress(done, content.folds)
    answers, seen = Probabilities(*(column[wanted] for column in answers)), seen[wanted]
    filled = fill_from_neighbours(answers, seen, truth.images.to_pylist())
    predictions = assemble(truth.images, {task: getattr(answers, task) for task in tasks})
    scores = score_out_of_fold(truth, predictions, tasks)
    if not processes.is_main:
        return OutOfFold(npz, tasks, scores)
    write_probabilities(npz, predictions, tasks)
    framed = [member.network for member in members if isinstance(member.network, DDAMFN)][:1]
    used = describe_operators(
        [call for network in framed for call in list_evaluation_calls(network.config, target, "float32")]
    )
    write_json(
        manifest,
        {
            "abawkit": abawkit.__version__,
            "format": OUT_OF_FOLD_FORMAT,
            "rows": len(truth),
            "out_of_fold": {"folds": content.folds, "over": content.over, "seed": content.seed},
            "source": {
                "data": str(curated.folder.resolve()),
                "split": content.over,
                "table_sha256": curated.digest,
                **({"features": describe_stores(stores)} if stores else {}),
                "list_digest": truth.digest,
            },
            "members": [
                _describe_fold_member(member, out, size.rows)
                for member, size in zip(members, content.sizes, strict=True)
            ],
            "probabilities_digest": digest_columns(predictions, tasks),
            "scores": {protocol: describe_out_of_fold_score(found) for protocol, found in scores.items()},
            "seconds": round(time.perf_counter() - began, 1),
            "filled": [
                {"row": row + 1, "image": truth.images[row].as_py(), "from": truth.images[other].as_py()}
                for row, other in filled.items()
            ],
            "environment": describe_environment(target, used),
        },
    )
    return OutOfFold(npz, tasks, scores)


def _describe_fold_member(member: Member, out: Path, rows: int) -> dict[str, Any]:
    path = str(member.path.relative_to(out))  # so that the folder can be moved
    return {"path": path, "digest": member.digest, "tasks": list(member.tasks), "rows": rows}


def _read_kept(
    npz: Path, manifest: Path, members: Sequence[Member], curated: CuratedSet, truth: Annotations
) -> Predictions | None:
    """What was written before by the same networks for the same rows; None where it was not, or is damaged."""
    try:
        content = read_object(manifest, "the manifest of out-of-fold probabilities")
        stored = read_member(npz)
        check_manifest(npz, stored.predictions, stored.digest, content)
    except DataError:
        return None
    entries = content.get("members")
    digests = [entry.get("digest") for entry in entries] if isinstance(entries, list) else []
    source = content.get("source")
    same = isinstance(source, dict) and source.get("table_sha256") == curated.digest
    whole = same and digests == [member.digest for member in members] and stored.predictions.images.equals(truth.images)
    return stored.predictions if whole else None


def score_out_of_fold(truth: Annotations, predictions: Predictions, tasks: Sequence[Task]) -> dict[Protocol, Score]:
    """The scores under each protocol that has rows, with the forecast for a test of as many videos."""
    decided = decide(predictions, tasks)
    scores: dict[Protocol, Score] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # a class without a row is seen in the folds already
        for protocol in PROTOCOLS:
            if protocol == "official" or truth.all_valid.any():
                found = score(truth, decided, protocol)
                scores[protocol] = replace(found, forecast=make_forecast(truth, decided, protocol))
    return scores


def describe_out_of_fold_score(found: Score) -> Mapping[str, Any]:
    """A score with its forecast, for JSON."""
    return {**found.report(), "forecast": found.forecast.as_dict() if found.forecast else None}
