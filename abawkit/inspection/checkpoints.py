"""Inspects checkpoints of runs: whether they are whole, and the recipe, data, weights and environment they record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abawkit.curation.curated_set import CURATED_TABLE
from abawkit.errors import ConfigError, DataError
from abawkit.features.store import FeatureStore
from abawkit.inspection.report import Inspection, Record
from abawkit.run_names import STATE
from abawkit.training.checkpoint import Checkpoint, CheckpointReport, Position, verify_checkpoint
from abawkit.training.nearest_recipe import find_nearest_recipe
from abawkit.training.recipe import Recipe, parse_recipe


def note_recipe(found: Inspection, text: str, source: str) -> Recipe | None:
    """Notes a resolved recipe, and which recipe that comes with abawkit it is nearest to; None if it is no recipe."""
    try:
        recipe = parse_recipe(text, source)
    except ConfigError as error:
        found.problems.append(str(error))
        return None
    found.note(
        "recipe",
        {
            **find_nearest_recipe(recipe),
            "network": recipe.network,
            "tasks": list(recipe.tasks),
            "seed": recipe.seed,
            "batch_size": recipe.batch_size,
            "epochs": format_epochs(recipe),
        },
    )
    return recipe


def format_epochs(recipe: Recipe) -> int:
    """Epochs of both stages; a run with patience may end before."""
    return recipe.heads.epochs + recipe.all.epochs


def note_data(found: Inspection, record: Record) -> None:
    """Notes the curated set, and whether it is unchanged where it was."""
    folder, digest = record.get("data.folder", str), record.get("data.table_digest", str)
    data = {
        "policy": record.get("data.policy", str, optional=True),
        "folder": folder,
        "frames": record.folders("data.frames", optional=True),
        "features": _list_features(record),
        "table": found.compare("its curated table", Path(folder) / CURATED_TABLE, digest) if folder else None,
    }
    found.note("data", {name: value for name, value in data.items() if value is not None})
    if digest:
        found.digests["data table"] = digest


def _list_features(record: Record) -> list[dict[str, str]] | None:
    """The stores of features of a sequence network, and whether those of a finished run are unchanged."""
    entries = record.get("data.features", list, optional=True)
    listed = []
    for entry in entries or []:
        folder, digest = (entry.get("folder"), entry.get("digest")) if isinstance(entry, dict) else (entry, None)
        state = {"state": _compare_store(Path(str(folder)), digest)} if digest else {}
        listed.append({"folder": str(folder), **state})
    return listed or None


def _compare_store(folder: Path, digest: str) -> str:
    if not folder.is_dir():
        return "absent"
    try:
        return "unchanged" if FeatureStore.open(folder).digest == digest else "changed"
    except DataError:
        return "damaged"


def note_start(found: Inspection, record: Record) -> None:
    """Notes the weights that a run started from, unless they were random."""
    if not record.mapping("weights", optional=True):
        return
    path, digest = record.get("weights.path", str), record.get("weights.sha256", str)
    state = found.compare("the file of weights that the run began with", Path(path), digest) if path else None
    found.note("began_with", {"path": path, "state": state})
    if digest:
        found.digests["began with"] = digest


def note_best(found: Inspection, epoch: int | None, figure: float | None, scores: Mapping[str, Any]) -> None:
    """Notes the best epoch: its selection score, and the parts of its score under both protocols."""
    parts = ("score", "ccc_va", "expression_f1", "au_f1")
    brief = {
        protocol: {part: scores[protocol][part] for part in parts if part in scores[protocol]}
        for protocol in ("official", "strict")
        if isinstance(scores.get(protocol), Mapping)
    }
    if epoch:
        found.note("best", {"epoch": epoch, "figure": figure, **brief})


def note_resumed(found: Inspection, record: Record, name: str) -> None:
    """Notes how often a run was resumed, from which checkpoints, and what differed."""
    times = [
        {"from": entry.get("from", str), "drift": entry.get("drift", list)}
        for entry in record.entries(name, optional=True)
    ]
    found.note("resumed", len(times))
    found.note("resumed_from", times or None)


def inspect_checkpoint(folder: Path) -> Inspection:
    """Inspects the folder of a checkpoint."""
    report = verify_checkpoint(folder)
    found = Inspection(folder, "checkpoint", digests=report.digests)
    if folder.suffix == ".partial":
        text = "was being written or removed when its run was killed; the next run removes it"
        found.problems.append(f"{folder}: {text}")
    found.problems += list_defects(folder, report)
    state = read_state(folder, report, found.problems)
    whole = not found.problems
    found.summary = f"a {'whole' if whole else 'damaged'} checkpoint of a run{_describe_position(report.position)}"
    found.note("run", str(folder.resolve().parent.parent))
    found.note("whole", whole)
    found.note("damaged", list(report.defects) or None)
    if report.position:
        found.note("epochs_done", report.position.epoch)
        found.note("batches_done", report.position.batch)
    if state:
        note_state(found, state)
    return found


def list_defects(folder: Path, report: CheckpointReport) -> list[str]:
    """The defects of a checkpoint, each with the path of its file."""
    return [f"{folder / name}: {defect}" for name, defect in report.defects.items()]


def read_state(folder: Path, report: CheckpointReport, problems: list[str]) -> Record | None:
    """The content of a checkpoint's ``state.pt``; None, and maybe a problem, if it can't be read.

    Nothing is unpickled that could run code, nor anything that differs from what was written.
    """
    if report.position is None or STATE in report.defects:
        return None
    try:
        content = Checkpoint(folder, report.position, report.digests).state()
    except DataError as error:
        problems.append(str(error))
        return None
    return Record(str(folder / STATE), content, problems)


def note_state(found: Inspection, state: Record) -> None:
    """Notes the progress of a run, and its inputs."""
    found.note("steps", state.get("progress.steps", int))
    found.note("images_seen", state.get("progress.done", int))
    found.note("seconds", state.get("progress.seconds", float))
    epoch = state.get("progress.best_epoch", int)
    figure = state.get("progress.figure", float) if epoch else None
    note_best(found, epoch, figure, state.mapping("progress.scores"))
    note_resumed(found, state, "progress.resumed")
    recipe = state.get("recipe", str)
    if recipe is not None and "recipe" not in found.facts:
        note_recipe(found, recipe, state.source)
    note_data(found, state)
    note_start(found, state)
    found.note("environment", state.mapping("environment"))


def _describe_position(position: Position | None) -> str:
    """The position of a run, counting epochs from 1."""
    if position is None:
        return ""
    if position.batch:
        return f", after {position.batch:,} batches of epoch {position.epoch + 1}"
    return f", after epoch {position.epoch}" if position.epoch else ", before its first step"
