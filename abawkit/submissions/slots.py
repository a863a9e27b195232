"""The list of submissions and of the slots that were used; files that are sent are copied and compared."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abawkit.errors import AbawkitError, ConfigError, DataError
from abawkit.formats.base import get_format
from abawkit.scoring.changes import compare_submissions
from abawkit.submissions.decisions import digest_official
from abawkit.submissions.ledger import (
    ScoreReturned,
    Sent,
    Slot,
    append_line,
    find_free_slot,
    find_slot,
    format_now,
    read_ledger,
)
from abawkit.submissions.manifest import MAX_CHARACTERS, Manifest, read_manifest
from abawkit.submissions.plan import OUTPUTS
from abawkit.submissions.recipe import RECIPE, read_submission_recipe
from abawkit.system.locks import lock

State = Literal["as written", "changed", "absent"]


@dataclass(frozen=True)
class Entry:
    """One folder of submissions.

    Attributes:
        name: Of the folder.
        summary: Of its recipe.
        manifest: Its manifest; None if it was never run.
        state: Whether the official file is the one in the manifest; None if it was never run.
        slots: Numbers of the slots that this very file was sent in.
        recipe_changed: Whether the recipe is another than the one that was run.
        problem: Why the folder can't be listed, in one line; empty if it can.
    """

    name: str
    summary: str
    manifest: Manifest | None
    state: State | None
    slots: list[int]
    recipe_changed: bool = False
    problem: str = ""


def list_submissions(folder: Path) -> tuple[list[Entry], list[Slot]]:
    """Lists the folders of submissions and the slots that were used.

    Args:
        folder: Contains a folder for each submission, and the ledger.

    Raises:
        ConfigError: If there is no such folder.
        DataError: If the ledger is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; `abawkit submissions new NAME` creates a submission in submissions/, or give "
            "the folder of your submissions with --folder"
        )
    slots = read_ledger(folder)
    found = sorted(path for path in folder.iterdir() if (path / RECIPE).is_file())
    return [_read_entry(path, slots) for path in found], slots


def _read_entry(path: Path, slots: list[Slot]) -> Entry:
    try:
        manifest = read_manifest(path)
        recipe, digest = read_submission_recipe(path)
    except AbawkitError as error:  # one damaged folder does not hide the others
        return Entry(path.name, "", None, None, [], problem="; ".join(str(error).splitlines()))
    if manifest is None:
        return Entry(path.name, recipe.summary, None, None, [])
    numbers = [slot.sent.slot for slot in slots if slot.sent.sha256 == manifest.submission.sha256]
    changed = manifest.recipe_sha256 != digest
    return Entry(path.name, recipe.summary, manifest, find_state(path, manifest), numbers, changed)


def find_state(path: Path, manifest: Manifest) -> State:
    """Whether the official file of a submission is the one in its manifest."""
    official = path / manifest.submission.file
    if not official.exists():
        return "absent"
    try:
        return "as written" if digest_official(official) == manifest.submission.sha256 else "changed"
    except DataError:
        return "changed"


SENT = "sent"
"""Folder for copies of the files that were sent, within a submission's outputs."""

NEAR = 0.01
"""Two files are nearly the same if a smaller share of their decisions differs, and if valence and arousal differ on
average by less than this share of their range. A judgement, not a measurement."""


@dataclass(frozen=True)
class Nearness:
    """The difference between a file and one that was sent.

    Attributes:
        slot: The slot of the one that was sent.
        va: Mean absolute difference of valence and arousal; None if the format has neither.
        expression: Share of rows whose expression, or compound expression, differs, in 0..1, or None.
        au: Share of decisions on action units that differ, in 0..1, or None.
    """

    slot: int
    va: float | None
    expression: float | None
    au: float | None

    @property
    def near(self) -> bool:
        """Whether the files are nearly the same, so that a slot would be wasted."""
        range_of_va = 2.0
        parts = [self.va / range_of_va if self.va is not None else None, self.expression, self.au]
        return all(part < NEAR for part in parts if part is not None)

    def text(self) -> str:
        """``V and A by 0.012 on average, expressions in 3.1 % of rows, 2.0 % of action units``."""
        parts = [
            f"V and A by {self.va:.3f} on average" if self.va is not None else "",
            f"expressions in {self.expression:.1%} of rows" if self.expression is not None else "",
            f"{self.au:.1%} of action units" if self.au is not None else "",
        ]
        return ", ".join(filter(None, parts)).replace("%", " %")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"slot": self.slot, "va": self.va, "expression": self.expression, "au": self.au, "near": self.near}


def record_sent(folder: Path, name: str, *, slots: int, note: str = "") -> tuple[Sent, list[Nearness]]:
    """Records that a submission was sent, and keeps a copy of its file.

    Args:
        folder: Contains the submissions' folders and the ledger.
        name: Of the submission.
        slots: Number of slots.
        note: Free text.

    Returns:
        The line of the ledger; the difference to each file of its format that was sent before and whose copy is here.

    Raises:
        ConfigError: If there is no such submission, it was never run, this very file was sent, no slot is left, or the
            note is too long.
        DataError: If its file is absent, not the one that was checked, or changes meanwhile; if the ledger is damaged.
    """
    path = folder / name
    if Path(name).name != name or not (path / RECIPE).is_file():
        raise ConfigError(f"{path}: no submission of this name; `abawkit submissions` lists them")
    _check_note(note)
    with lock(folder):
        manifest = _read_checked_manifest(path)
        before = read_ledger(folder)
        line = Sent(
            slot=find_free_slot(before, manifest.submission.sha256, slots),
            when=format_now(),
            name=name,
            sha256=manifest.submission.sha256,
            format=manifest.format,
            rows=manifest.submission.rows,
            validation=manifest.validation.interval,
            git=manifest.git,
            note=note,
        )
        near = list(measure_nearness(folder, name, manifest, before))
        _keep_copy(path / manifest.submission.file, folder, line)
        append_line(folder, line)
    return line, near


def record_score(folder: Path, name: str, score: float, *, slot: int | None = None, correct: bool = False) -> int:
    """Records the score that the organisers returned.

    Args:
        folder: Contains the ledger.
        name: Of the submission.
        score: P, in [-1, 3].
        slot: The slot, if the submission was sent more than once.
        correct: Whether the slot may have a score already, which then no longer counts.

    Returns:
        The slot.

    Raises:
        ConfigError: If the score is out of range, or there is no slot that it could belong to.
        DataError: If the ledger is damaged.
    """
    if not -1 <= score <= 3:  # NaN too
        raise ConfigError(f"{score}: is no score; P lies in -1..3")
    with lock(folder):
        number = find_slot(read_ledger(folder), name, slot, correct=correct)
        append_line(folder, ScoreReturned(slot=number, when=format_now(), score=score))
    return number


def measure_nearness(folder: Path, name: str, manifest: Manifest, slots: list[Slot]) -> Iterator[Nearness]:
    """Compares a submission's file with those that were sent before and whose copies are here.

    Args:
        folder: Contains the submissions' folders.
        name: Of the submission.
        manifest: Of the submission.
        slots: Those that were used.

    Yields:
        One for each slot of the same format whose copy is here and as it was sent.

    Raises:
        ConfigError: If the format is not installed.
        DataError: If the submission's file is not one of its format.
    """
    kept = [slot.sent for slot in slots if slot.sent.format == manifest.format and _is_kept(folder, slot.sent)]
    if not kept:
        return
    plugin = get_format(manifest.format)
    mine = plugin.read(folder / name / manifest.submission.file)
    for sent in kept:
        other = plugin.read(find_sent_copy(folder, sent))
        if not other.images.equals(mine.images):
            continue  # sent for another list
        found = compare_submissions(other, mine).summarise()
        classes = found.get("expression", found.get("compound"))
        yield Nearness(sent.slot, va=found.get("va"), expression=classes, au=found.get("au"))


def find_sent_copy(folder: Path, sent: Sent) -> Path:
    """The path of the copy of a file that was sent."""
    return folder / sent.name / OUTPUTS / SENT / f"slot-{sent.slot}"


def _is_kept(folder: Path, sent: Sent) -> bool:
    try:
        return digest_official(find_sent_copy(folder, sent)) == sent.sha256
    except (DataError, ValueError):  # a name with a NUL byte is no path
        return False


def _check_note(note: str) -> None:
    if len(note) > MAX_CHARACTERS:
        raise ConfigError(f"--note: has {len(note):,} characters, expected at most {MAX_CHARACTERS:,}")
    try:
        note.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("--note: is not UTF-8") from error


def _read_checked_manifest(path: Path) -> Manifest:
    """The manifest of a submission whose file is still the one that was checked."""
    manifest = read_manifest(path)
    if manifest is None:
        raise ConfigError(f"{path.name}: was never run; `abawkit submit {path} ...` makes its file")
    if (state := find_state(path, manifest)) != "as written":
        raise DataError(
            f"{path / manifest.submission.file}: is {state}, so that it is not the file that was checked; "
            f"run `abawkit submit {path} ...` again"
        )
    return manifest


def _keep_copy(source: Path, folder: Path, line: Sent) -> None:
    """Copies the file that is sent; if it changed meanwhile, the copy is removed.

    Raises:
        DataError: If it changed, or can't be copied.
    """
    copy = find_sent_copy(folder, line)
    try:
        _copy_path(source, copy)
    except OSError as error:
        _remove_path(copy)
        raise DataError(f"{source}: can't be copied to {copy} ({error}); nothing was noted") from error
    if not _is_kept(folder, line):
        _remove_path(copy)
        raise DataError(
            f"{source}: changed while it was copied, so that the copy is not the file that was checked; nothing was "
            "noted. Wait for `abawkit submit` to end, or run it again"
        )


def _copy_path(source: Path, target: Path) -> None:
    """Copies a file or a folder of files, replacing an incomplete copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_path(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _remove_path(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
