"""Inspects run folders: the progress of the run, its inputs, and whether its files are as it wrote them."""

import fcntl
import json
import os
import shlex
from pathlib import Path
from typing import Any, Final

from abawkit.errors import ConfigError, DataError
from abawkit.inspection.checkpoints import (
    format_epochs,
    list_defects,
    note_best,
    note_data,
    note_recipe,
    note_resumed,
    note_start,
    note_state,
    read_state,
)
from abawkit.inspection.report import Inspection, Record, is_file, read_record_text
from abawkit.inspection.weights import inspect_weights
from abawkit.run_names import BEST, LAST, MANIFEST, METRICS, PICTURES, RECIPE, TIMING
from abawkit.system.json_records import read_object
from abawkit.system.locks import LOCK
from abawkit.training.checkpoint import CheckpointReport, list_checkpoints, verify_checkpoint
from abawkit.training.goodput import read_timing
from abawkit.training.recipe import Recipe, parse_recipe
from abawkit.training.run_folder import FORMAT

_MAX_OWNER: Final = 1000


def inspect_run(folder: Path) -> Inspection:
    """Inspects the folder of a run.

    A run that is being written is not disturbed; a file that it replaces at this moment can look damaged.
    """
    found = Inspection(folder, "run")
    writer, left = _read_lock(folder)
    finished = (folder / MANIFEST).exists()
    state = "being written" if writer else "finished" if finished else "unfinished"
    found.note("state", state)
    found.note("written_by", writer)
    found.note("killed_process", left)
    reports = {path: verify_checkpoint(path) for _, path in list_checkpoints(folder)}
    reports = {path: report for path, report in reports.items() if path.exists()}  # a run removes the oldest
    damaged = [problem for path, report in reports.items() for problem in list_defects(path, report)]
    newest = _read_newest(reports, damaged)
    recipe = _note_recipe_file(found, folder / RECIPE)
    lines = _read_epoch_lines(found, folder / METRICS)  # read after the checkpoints, as a run writes it before them
    found.note("epochs_done", len(lines))
    expected = _note_run_manifest(found, folder / MANIFEST) if finished else {}
    if newest:
        _compare_newest(found, folder, newest, recipe, lines)
        if not finished:  # the manifest of a finished run has its inputs
            note_state(found, newest)
    if not finished:
        _note_timing(found, folder / TIMING)
    found.note("checkpoints", {path.name: "damaged" if r.defects else "whole" for path, r in reports.items()})
    found.problems += damaged
    _note_weights(found, folder, expected, finished=finished)
    found.note("pictures", [name for name in PICTURES if is_file(folder / name)] or None)
    found.note("next", _suggest_command(folder, state, reports, recipe))
    of = f" of {format_epochs(recipe)}" if recipe else ""
    network = f" of {recipe.network}" if recipe else ""
    epochs = "epoch" if len(lines) == 1 and not of else "epochs"
    found.summary = f"a run{network}, {state}, {len(lines)}{of} {epochs} done{_describe_best(found)}"
    return found


def _read_lock(folder: Path) -> tuple[str | None, str | None]:
    """The process that is writing to a folder, and the one that was when it was killed."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None, None
    try:
        owner = os.read(descriptor, _MAX_OWNER).decode(errors="replace").strip() or "a process"
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # goes back at once: a run may want to begin
        except BlockingIOError:
            return owner, None
        return None, owner
    except OSError:
        return None, None
    finally:
        os.close(descriptor)


def _note_recipe_file(found: Inspection, path: Path) -> Recipe | None:
    try:
        return note_recipe(found, read_record_text(path), str(path))
    except DataError as error:
        found.problems.append(str(error))
        return None


def _read_epoch_lines(found: Inspection, path: Path) -> list[str]:
    """The lines of epochs up to the first that is not valid, which is a problem."""
    if not path.exists():
        return []
    try:
        lines = read_record_text(path).splitlines()
    except DataError as error:
        found.problems.append(str(error))
        return []
    for number, line in enumerate(lines, start=1):
        try:
            good = isinstance(entry := json.loads(line), dict) and entry.get("epoch") == number
        except (ValueError, RecursionError):
            good = False
        if not good:
            found.problems.append(f"{path}:{number}: is not the line of epoch {number}")
            return lines[: number - 1]
    return lines


def _note_run_manifest(found: Inspection, path: Path) -> dict[str, str]:
    """Notes the manifest of a finished run; returns the digests that its weights should have."""
    try:
        record = Record(str(path), read_object(path, "the manifest of a run"), found.problems)
    except DataError as error:
        found.problems.append(str(error))
        return {}
    if (form := record.get("format", str, optional=True)) != FORMAT:
        got = form or "none, as of an abawkit that counted epochs from 0"
        found.problems.append(f"{path}: format: got {got}, expected {FORMAT}; train this run again")
        return {}
    found.note("trained", record.get("tasks", list))
    found.note("steps", record.get("steps", int))
    found.note("rows", record.mapping("rows"))
    found.note("seconds", record.get("seconds", float))
    found.note("goodput", record.mapping("goodput", optional=True) or None)  # older runs have none
    note_best(found, record.get("best.epoch", int), record.get("best.figure", float), record.mapping("best"))
    note_resumed(found, record, "resumed")
    note_data(found, record)
    note_start(found, record)
    found.note("environment", record.mapping("environment"))
    digests = record.mapping("checkpoints")
    named = {name: digest for name in (BEST, LAST) if isinstance(digest := digests.get(name), str)}
    found.problems += [f"{path}: checkpoints: names no digest of {name}" for name in (BEST, LAST) if name not in named]
    return named


def _note_timing(found: Inspection, path: Path) -> None:
    """Notes where the time of an unfinished run went so far."""
    if not is_file(path):
        return
    try:
        goodput, steps = read_timing(path)
    except DataError as error:
        if is_file(path):  # a run that ends removes it
            found.problems.append(str(error))
        return
    found.note("goodput", {**goodput.as_dict(), "steps_done": steps})


def _read_newest(reports: dict[Path, CheckpointReport], problems: list[str]) -> Record | None:
    """The state of the newest whole checkpoint."""
    states = (read_state(path, report, problems) for path, report in reports.items() if not report.defects)
    return next((state for state in states if state), None)


def _compare_newest(found: Inspection, folder: Path, newest: Record, recipe: Recipe | None, lines: list[str]) -> None:
    """Compares recipe and metrics with the newest checkpoint; the checkpoint settings may have changed meanwhile."""
    text = newest.get("recipe", str)
    try:
        saved = parse_recipe(text, newest.source) if text is not None else None
    except ConfigError as error:
        found.problems.append(str(error))
        saved = None
    if recipe and saved and saved.model_copy(update={"checkpoints": recipe.checkpoints}) != recipe:
        found.problems.append(f"{folder / RECIPE}: is not the recipe that the run's checkpoints were made with")
    history: list[Any] = newest.get("progress.history", list) or []
    if lines[: len(history)] != history:  # a run that was killed can have written a line more
        found.problems.append(f"{folder / METRICS}: does not begin with the lines that the run's checkpoints hold")


def _note_weights(found: Inspection, folder: Path, expected: dict[str, str], *, finished: bool) -> None:
    """Notes the two files of weights; those of a finished run must have the digests of its manifest."""
    weights: dict[str, Any] = {}
    for name in (BEST, LAST):
        path = folder / name
        if not is_file(path):
            if finished:
                found.problems.append(f"{path}: is absent")
            continue
        seen = inspect_weights(path)
        found.problems += seen.problems
        digest, wanted = seen.digests.get("weights"), expected.get(name)
        if digest and wanted and digest != wanted:
            found.problems.append(f"{path}: its weights have digest {digest}, {MANIFEST} says {wanted}")
        known = ("unchanged" if digest == wanted else "changed") if wanted else "whole"
        weights[name] = {
            "epoch": seen.facts.get("epoch"),
            "parameters": seen.facts.get("parameters"),
            "state": known if digest else "damaged",
        }
        if digest:
            found.digests[f"weights of {name}"] = digest
    found.note("weights", weights)


def _suggest_command(
    folder: Path, state: str, reports: dict[Path, CheckpointReport], recipe: Recipe | None
) -> str | None:
    """The command that a user would run next."""
    place = shlex.quote(str(folder))
    if state == "being written":
        return None
    if state == "finished":
        given = "--features FEATURES" if recipe and recipe.is_sequence else "--frames FRAMES"
        return f"abawkit predict {place} --list LIST {given} --out predictions.txt"
    if any(not report.defects for report in reports.values()):
        return f"abawkit train --resume --out {place}"
    return f"abawkit train RECIPE --data CURATED --out {place} --force"


def _describe_best(found: Inspection) -> str:
    best = found.facts.get("best")
    if not best or best["figure"] is None:
        return ""
    return f", the best is epoch {best['epoch']} with {best['figure']:.4f}"
