"""What a fit left alone, in a line a reason: two dozen lines would drown the result that they are about."""

import re
from collections.abc import Sequence
from typing import Final

_LEFT_ALONE: Final = re.compile(r"(?P<parameter>.+): left alone, (?P<reason>.+)", re.DOTALL)
_SHOWN: Final = 6


def fold_notes(notes: Sequence[str]) -> list[str]:
    """Joins notes that say the same of several parameters.

    Args:
        notes: As of `abawkit.postprocessing.result.Tuning.notes`; others stay as they are.

    Returns:
        One line for each reason, in the order in which reasons come first; what a reason counts, as the rows of one
        unit, is left to the rule's file and ``--json``.
    """
    lines: dict[str, list[str]] = {}
    for note in notes:
        found = _LEFT_ALONE.fullmatch(note)
        lines.setdefault(found["reason"].rpartition(", ")[2] if found else note, []).append(note)
    return [_fold(reason, same) for reason, same in lines.items()]


def _fold(reason: str, notes: Sequence[str]) -> str:
    if len(notes) == 1:
        return notes[0]
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kind, _, name = note.partition(": left alone, ")[0].partition(" of ")
        kinds.setdefault(kind, []).append(name)
    parameters = "; ".join(f"{kind} of {_names(names)}" for kind, names in kinds.items())
    counted = " each (--json has the counts)" if any(character.isdigit() for character in reason) else ""
    return f"{parameters}: left alone, {reason}{counted}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
