"""The rules that can drop a row, and the policies that choose among them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from abawkit.choices import Policy, Repeats
from abawkit.frame_columns import encode_images
from abawkit.tables import Annotations, Array

REASONS: Final = (
    "va-missing",
    "va-partial",
    "expression-missing",
    "au-missing",
    "au-partial",
    "no-label",
    "repeat",
    "conflict",
    "frame-missing",
    "frame-unreadable",
    "label-dropped",
)
"""Why a row is dropped; bit i of a row's reasons is the i-th of these."""


def get_reason_bit(reason: str) -> int:
    """The bit of a reason in a row's reasons."""
    return 1 << REASONS.index(reason)


@dataclass(frozen=True)
class RepeatedRows:
    """Rows whose image is in more than one row of a file.

    Attributes:
        later: True for each row whose image is in a row before, shape (n,).
        conflicting: True for each row whose image has rows with different labels, shape (n,).
    """

    later: Array
    conflicting: Array


def find_repeats(annotations: Annotations) -> RepeatedRows:
    """Finds repeated images, and those whose labels are not the same in each of their rows."""
    codes, later = encode_images(annotations.images)
    first = np.zeros(codes.max(initial=-1) + 1, dtype=np.int64)
    first[codes[~later]] = np.flatnonzero(~later)
    rows = np.flatnonzero(later)
    differs = (_stack_labels(annotations.select(rows)) != _stack_labels(annotations.select(first[codes[rows]]))).any(
        axis=1
    )
    conflicting = np.isin(codes, codes[rows[differs]])
    return RepeatedRows(later, conflicting)


def _stack_labels(a: Annotations) -> Array:
    return np.column_stack([a.va, a.expression, a.au, a.va_valid, a.expression_valid, a.au_valid])


def find_reasons(annotations: Annotations, repeated: RepeatedRows, policy: Policy, repeats: Repeats) -> Array:
    """Applies a policy to every row.

    Returns:
        int64, shape (n,): bits of `REASONS`, 0 for a row that is kept.
    """
    reasons = np.zeros(len(annotations), dtype=np.int64)

    def drop(rows: Array, reason: str) -> None:
        reasons[rows] |= get_reason_bit(reason)

    drop(~annotations.any_valid, "no-label")
    if policy == "strict":
        drop(~annotations.va_valid, "va-missing")
        drop(annotations.va_partial, "va-partial")
        drop(~annotations.expression_valid, "expression-missing")
        drop(~annotations.au_valid, "au-missing")
        drop(annotations.au_partial, "au-partial")
    if repeats == "unique":
        drop(repeated.later, "repeat")
        drop(repeated.conflicting, "conflict")
    return reasons
