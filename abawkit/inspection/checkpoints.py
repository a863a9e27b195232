"""Checkpoints of runs: whole or damaged, file by file, and what they hold."""

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from abawkit.errors import DataError
from abawkit.files import sha256_of
from abawkit.inspection.makings import note_best, note_data, note_recipe, note_resumed, note_start
from abawkit.inspection.report import Inspection, Record, is_file, read_json
from abawkit.training.checkpoint import FORMAT, MANIFEST, STATE, Checkpoint, Place, check_checkpoint

NAME: Final = re.compile(r"\d{4,9}-\d{6,9}")
"""Name of a checkpoint's folder."""


class Scan(NamedTuple):
    """One checkpoint's files beside its manifest.

    Attributes:
        place: Where the run was; None where the manifest does not say.
        digests: SHA-256 of each file that is there, by name.
        damaged: Names of the files that are absent or not what they were; the manifest's own among them.
        problems: What is wrong.
    """

    place: Place | None
    digests: dict[str, str]
    damaged: list[str]
    problems: list[str]


def inspect_checkpoint(folder: Path) -> Inspection:
    """Looks at a checkpoint's folder."""
    scan = scan_checkpoint(folder)
    state = read_state(folder, scan)
    whole = not scan.problems
    found = Inspection(folder, "checkpoint", digests=scan.digests, problems=scan.problems)
    found.summary = f"a {'whole' if whole else 'damaged'} checkpoint of a run{_words(scan.place)}"
    found.note("run", str(folder.resolve().parent.parent))
    found.note("whole", whole)
    found.note("damaged", scan.damaged or None)
    if scan.place:
        found.note("epochs_done", scan.place.epoch)
        found.note("batches_done", scan.place.batch)
    if state:
        note_state(found, state)
    return found


def scan_checkpoint(folder: Path) -> Scan:
    """Compares every file of a checkpoint with its manifest, and does not stop at the first that is damaged."""
    problems: list[str] = []
    if folder.suffix == ".partial":
        problems.append(f"{folder}: was being written or removed when its run was killed; the next run removes it")
    try:
        content = read_json(folder / MANIFEST)
    except DataError as error:
        return Scan(None, {}, [MANIFEST], [*problems, str(error)])
    record = Record(str(folder / MANIFEST), content, problems)
    if (form := record.get("format", str)) is not None and form != FORMAT:
        problems.append(f"{folder / MANIFEST}: has format {form!r:.60}, expected {FORMAT!r}")
    epoch, batch = record.get("epochs_done", int), record.get("batches_done", int)
    place = Place(epoch, batch) if epoch is not None and batch is not None else None
    if place and NAME.fullmatch(folder.name) and folder.name != place.name:
        problems.append(f"{folder}: holds the checkpoint {place.name}")
    digests: dict[str, str] = {}
    damaged: list[str] = []
    for name, entry in {STATE: None, **record.mapping("files")}.items():
        if defect := _defect(folder, name, entry, digests):
            problems.append(f"{folder / name}: {defect}")
            damaged.append(name)
    if not problems:  # each file is what the manifest says; is the manifest what was written?
        try:
            check_checkpoint(folder)
        except DataError as error:
            return Scan(place, digests, [MANIFEST], [str(error)])
    return Scan(place, digests, damaged, problems)


def read_state(folder: Path, scan: Scan) -> Record | None:
    """What a checkpoint's ``state.pt`` holds; None, and maybe a problem, where that can't be told.

    Nothing is unpickled that could run code, nor anything that is not what was written.
    """
    if scan.place is None or STATE in scan.damaged or STATE not in scan.digests:
        return None
    try:
        content = Checkpoint(folder, scan.place, scan.digests).state()
    except DataError as error:
        scan.problems.append(str(error))
        return None
    return Record(str(folder / STATE), content, scan.problems)


def note_state(found: Inspection, state: Record) -> None:
    """Notes how far a run was, and what it was made of."""
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


def _words(place: Place | None) -> str:
    """Where a run was, counting epochs from 1."""
    if place is None:
        return ""
    if place.batch:
        return f", after {place.batch:,} batches of epoch {place.epoch + 1}"
    return f", after epoch {place.epoch}" if place.epoch else ", before its first step"


def _defect(folder: Path, name: str, entry: Any, digests: dict[str, str]) -> str:
    """What is wrong with one file; its digest is added to `digests`."""
    if not name or Path(name).name != name:  # a manifest from elsewhere could name any file of this machine
        return "is no name of a file in this folder"
    path = folder / name
    if not is_file(path):
        return "is absent"
    size, expected = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if not isinstance(size, int) or not isinstance(expected, str):
        return f"{MANIFEST} does not say which size and digest it has"
    try:
        if (here := path.stat().st_size) != size:
            return f"has {here:,} bytes, expected {size:,}"
        digests[name] = sha256_of(path)
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if digests[name] == expected else f"has SHA-256 {digests[name]}, expected {expected}: it is damaged"
