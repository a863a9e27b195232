"""What has been written, and what was sent of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abawkit.errors import AbawkitError, ConfigError, DataError
from abawkit.submissions.decide import official_digest
from abawkit.submissions.ledger import Slot, read_ledger
from abawkit.submissions.manifest import Manifest, read_manifest
from abawkit.submissions.recipe import RECIPE, read_submission_recipe

State = Literal["as written", "changed", "absent"]


@dataclass(frozen=True)
class Entry:
    """One folder of submissions.

    Attributes:
        name: Of the folder.
        summary: Of its recipe.
        manifest: What was written; None where it was never run.
        state: Whether the official file is the one that the manifest names; None where it was never run.
        slots: Numbers of the slots that this very file was sent in.
        recipe_changed: Whether the recipe is another than the one that was run.
        problem: What is wrong with the folder; empty where nothing is.
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
        folder: That holds a folder for each submission, and the ledger.

    Raises:
        ConfigError: If there is no such folder.
        DataError: If the ledger is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; `abawkit submissions new NAME` creates a submission in submissions/, or give "
            "the folder that holds yours with --folder"
        )
    slots = read_ledger(folder)
    found = sorted(path for path in folder.iterdir() if (path / RECIPE).is_file())
    return [_entry(path, slots) for path in found], slots


def _entry(path: Path, slots: list[Slot]) -> Entry:
    try:
        manifest = read_manifest(path)
        recipe, digest = read_submission_recipe(path)
    except AbawkitError as error:  # one damaged folder does not hide the others
        return Entry(path.name, "", None, None, [], problem=str(error))
    if manifest is None:
        return Entry(path.name, recipe.summary, None, None, [])
    numbers = [slot.sent.slot for slot in slots if slot.sent.sha256 == manifest.submission.sha256]
    changed = manifest.recipe_sha256 != digest
    return Entry(path.name, recipe.summary, manifest, state_of(path, manifest), numbers, changed)


def state_of(path: Path, manifest: Manifest) -> State:
    """Whether the official file in a submission's folder is the one that its manifest names."""
    official = path / manifest.submission.file
    if not official.exists():
        return "absent"
    try:
        return "as written" if official_digest(official) == manifest.submission.sha256 else "changed"
    except DataError:
        return "changed"
