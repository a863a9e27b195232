"""Inspects lists of doubtful labels, as `abawkit review` writes them and `abawkit curate --drop` takes them."""

import csv
from collections import Counter
from pathlib import Path
from typing import Final

from abawkit.curation.label_drops import read_label_drops
from abawkit.errors import DataError, format_count
from abawkit.inspection.report import Inspection
from abawkit.system.files import sha256_of

_DECIDING: Final = frozenset({"task", "label", "reason"})
"""Columns that no other known file has together."""


def is_label_list(head: bytes) -> bool:
    """Whether a file is a list of labels, whole or damaged, by its first line.

    Args:
        head: The first bytes of the file.
    """
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", errors="replace").strip()
    return {name.strip() for name in next(csv.reader([first]), [])} >= _DECIDING


def inspect_label_list(path: Path) -> Inspection:
    """Inspects a list of doubtful labels; one that `abawkit curate --drop` would refuse is a problem, not an error.

    Whether it is about the annotations that it will be used with is found when it is used.

    Args:
        path: The list.
    """
    found = Inspection(path, "label list", "a list of labels that can't be used")
    try:
        drops = read_label_drops([path])
    except DataError as error:
        found.problems.append(str(error))
        return found
    reasons = Counter(drop.reason for drop in drops)
    found.note("lines", len(drops))
    found.note("rows", len({(drop.split, drop.line, drop.image) for drop in drops}))
    found.note("splits", dict(Counter(drop.split for drop in drops)))
    by_reason = {reason: dict(Counter(d.task for d in drops if d.reason == reason)) for reason in reasons}
    found.note("reasons", by_reason)
    found.digests["list"] = sha256_of(path)
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    found.summary = f"{format_count(len(drops), 'doubtful label')}{': ' if counts else ''}{counts}"
    return found
