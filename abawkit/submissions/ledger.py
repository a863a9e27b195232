"""The ledger of slots: files that were sent to the organisers, and the scores returned; lines are only added."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from abawkit.errors import ConfigError, DataError, printable
from abawkit.submissions.manifest import Count, Digest, Range, Text
from abawkit.system.files import write_bytes

LEDGER: Final = "ledger.jsonl"

SLOTS: Final = 5
"""Submissions that a team may send. Source: the rules of the ABAW competitions, where they give a number."""

_MAX_BYTES: Final = 1 << 24

SlotNumber = Annotated[int, Field(ge=1, le=10_000)]


def _check_folder_name(name: str) -> str:
    if not name or name in (".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError("is no name of a folder")
    return name


FolderName = Annotated[str, Field(max_length=255), AfterValidator(_check_folder_name)]
"""Name of a submission's folder: one part of a path."""

Returned = Annotated[FiniteFloat, Field(ge=-1, le=3)]
"""P, the sum of a CCC in [-1, 1] and two F1 in [0, 1]."""


class _LedgerLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sent(_LedgerLine):
    """A line of the ledger: a file was sent."""

    event: Literal["sent"] = "sent"
    slot: SlotNumber
    when: Text
    name: FolderName
    sha256: Digest
    format: Text
    rows: Count
    validation: Range
    git: Text | None
    note: Text = ""


class ScoreReturned(_LedgerLine):
    """A line of the ledger: a score was returned; of several lines for one slot the last one counts."""

    event: Literal["returned"] = "returned"
    slot: SlotNumber
    when: Text
    score: Returned


_LINE: Final = TypeAdapter[Sent | ScoreReturned](Annotated[Sent | ScoreReturned, Field(discriminator="event")])


@dataclass(frozen=True)
class Slot:
    """One slot that was used.

    Attributes:
        sent: What was sent.
        returned: The score that was returned, or None.
    """

    sent: Sent
    returned: ScoreReturned | None = None


def read_ledger(folder: Path) -> list[Slot]:
    """Reads the ledger in a folder of submissions; an absent one is empty.

    Raises:
        DataError: If a line is not one of a ledger; file and line are named.
    """
    path = folder / LEDGER
    slots: list[Slot] = []
    for number, text in enumerate(_read_ledger_bytes(path).splitlines(), start=1):
        try:
            line = _LINE.validate_json(text)
        except ValidationError as error:
            raise _make_line_error(path, number, printable(error.errors()[0]["msg"])) from error
        if isinstance(line, Sent):
            if line.slot != len(slots) + 1:
                raise _make_line_error(path, number, f"slot {line.slot} where {len(slots) + 1} comes next")
            slots.append(Slot(line))
        elif line.slot > len(slots):
            raise _make_line_error(path, number, f"a score for slot {line.slot}, which was not sent before")
        else:
            slots[line.slot - 1] = replace(slots[line.slot - 1], returned=line)
    return slots


def append_line(folder: Path, line: Sent | ScoreReturned) -> None:
    """Adds a line to the ledger; the file is replaced as a whole, and earlier lines stay as they are.

    Raises:
        DataError: If the ledger can't be read or written.
    """
    path = folder / LEDGER
    before = _read_ledger_bytes(path)
    text = json.dumps(line.model_dump(mode="json"), allow_nan=False)
    write_bytes(path, before + (b"" if before.endswith(b"\n") or not before else b"\n") + f"{text}\n".encode())


def find_free_slot(slots: list[Slot], sha256: str, count: int) -> int:
    """The number of the next slot.

    Args:
        slots: Those that were used.
        sha256: Of the file to send.
        count: Number of slots.

    Raises:
        ConfigError: If the same file was sent before, or no slot is left.
    """
    for slot in slots:
        if slot.sent.sha256 == sha256:
            raise ConfigError(
                f"this very file was sent as slot {slot.sent.slot} ({printable(slot.sent.name)}, "
                f"{printable(slot.sent.when[:10])}); nothing was noted"
            )
    if len(slots) >= count:
        raise ConfigError(
            f"all {count} slots are used; nothing was noted. If there are more, give their number with --slots"
        )
    return len(slots) + 1


def find_slot(slots: list[Slot], name: str, number: int | None, *, correct: bool) -> int:
    """The slot that a returned score belongs to.

    Args:
        slots: Those that were used.
        name: Of the submission.
        number: The slot, if it was given.
        correct: Whether it may have a score already.

    Raises:
        ConfigError: If there is no such slot, several could be meant, or it has a score.
    """
    own = [slot for slot in slots if slot.sent.name == name and number in (None, slot.sent.slot)]
    if not own:
        which = f"as slot {number}" if number else "yet"
        raise ConfigError(f"{name}: was not sent {which}; note it first with `abawkit submissions sent {name}`")
    waiting = [slot for slot in own if slot.returned is None]
    if not waiting and not correct:
        known = ", ".join(f"{slot.returned.score} (slot {slot.sent.slot})" for slot in own if slot.returned)
        raise ConfigError(f"{name}: has its score, {known}; --correct adds another one, which then counts")
    candidates = own if correct else waiting
    if len(candidates) > 1:
        numbers = ", ".join(str(slot.sent.slot) for slot in candidates)
        raise ConfigError(f"{name}: slots {numbers} could be meant; choose one with --slot")
    return candidates[0].sent.slot


def format_now() -> str:
    """The current time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_ledger_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: has more than {_MAX_BYTES:,} bytes; this is no ledger of submissions")
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _make_line_error(path: Path, line: int, found: str) -> DataError:
    return DataError(f"{path}:{line}: is no line of a ledger of submissions ({found}); restore the file from a copy")
