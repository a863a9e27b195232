"""Inspects folders of folds: the runs of the folds, and whether the out-of-fold probabilities are of these networks."""

from pathlib import Path
from typing import Any

from abawkit.curation.curated_set import CURATED_TABLE
from abawkit.errors import DataError
from abawkit.inspection.probabilities import note_probabilities, stored_digest
from abawkit.inspection.report import Inspection, is_file
from abawkit.inspection.runs import inspect_run
from abawkit.probabilities.members import check_manifest
from abawkit.run_names import BEST, OUT_OF_FOLD_NAME, REFIT_FOLDER
from abawkit.system.files import sha256_of
from abawkit.system.json_records import read_object
from abawkit.training.fold_folder import FoldsContent, list_fold_runs, read_folds


def inspect_folds(folder: Path) -> Inspection:
    """Inspects a folder of folds and each of its runs."""
    found = Inspection(folder, "folds", "a folder of folds that can't be read")
    try:
        content = read_folds(folder)
    except DataError as error:
        found.problems.append(str(error))
        return found
    data = content.data
    table = found.compare("its curated table", Path(data.folder) / CURATED_TABLE, data.table_digest)
    found.note("folds", content.folds)
    found.note("over", content.over)
    found.note("seed", content.seed)
    found.note("data", {"folder": data.folder, "policy": data.policy, "table": table})
    found.digests["data table"] = data.table_digest
    runs = list_fold_runs(folder, content.folds)
    states: dict[str, Any] = {}
    for run, size in zip(runs, content.sizes, strict=True):
        states[run.name] = {**_inspect_own_run(found, run), **size.model_dump()}
    found.note("runs", states)
    if content.refit or (folder / REFIT_FOLDER).exists():
        found.note("refit", _inspect_own_run(found, folder / REFIT_FOLDER))
    finished = sum(each["state"] == "finished" for each in states.values())
    found.note("out_of_fold", _note_out_of_fold(found, folder, content, expected=finished == content.folds))
    found.summary = f"{content.folds} folds over {content.over}, {finished} finished"
    return found


def _inspect_own_run(found: Inspection, run: Path) -> dict[str, Any]:
    if not run.is_dir():
        return {"state": "not begun", "best": None}
    own = inspect_run(run)
    found.problems += own.problems
    best = own.facts.get("best") or {}
    if digest := own.digests.get(f"weights of {BEST}"):
        found.digests[f"weights of {run.name}"] = digest
    return {"state": own.facts["state"], "best": best.get("figure")}


def _note_out_of_fold(found: Inspection, folder: Path, content: FoldsContent, *, expected: bool) -> dict[str, Any]:
    """The probabilities of all rows; those of other networks than the folds' are a problem."""
    npz, manifest = (folder / f"{OUT_OF_FOLD_NAME}{ending}" for ending in (".npz", ".json"))
    if not (is_file(npz) and is_file(manifest)):
        if expected:
            found.problems.append(f"{npz}: is absent; `abawkit train --resume --out {folder}` writes it")
        return {"state": "absent"}
    found.digests["out of fold"] = sha256_of(npz)
    inner = Inspection(npz, "probabilities", problems=found.problems)
    predictions = note_probabilities(inner, npz)
    if predictions is None:
        return {"state": "damaged"}
    try:
        record = read_object(manifest, "the manifest of out-of-fold probabilities")
        check_manifest(npz, predictions, stored_digest(npz), record)
    except DataError as error:
        found.problems.append(str(error))
        return {"state": "changed", **inner.facts}
    members = record.get("members")
    named = [each.get("digest") for each in members if isinstance(each, dict)] if isinstance(members, list) else []
    now = [found.digests.get(f"weights of {run.name}") for run in list_fold_runs(folder, content.folds)]
    if named != now:
        found.problems.append(f"{manifest}: is about other networks than those of the folds here")
    return {"state": "whole" if named == now else "of other networks", **inner.facts}
