"""Expressions and action units that every network contradicts, as doubtful labels."""

from collections.abc import Mapping, Sequence

import numpy as np

from abawkit.choices import MIN_STRENGTH
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, Task
from abawkit.review.confident_learning import find_doubtful_classes, measure_agreement
from abawkit.review.doubtful_labels import DoubtfulLabel
from abawkit.tables import Annotations, Array


def count_agreement(
    truth: Annotations, networks: Mapping[Task, Sequence[Array]], strength: float
) -> dict[Task, tuple[int, int]]:
    """For expressions and action units, how many labels networks are so sure of, and how many agree.

    Where few do, most contradictions are errors of the networks. Of action units, those that networks take for active
    are counted: that an inactive one is inactive says little.
    """
    found: dict[Task, tuple[int, int]] = {}
    if networks.get("expression") and (rows := np.flatnonzero(truth.expression_valid)).size:
        labels = truth.expression[rows].astype(np.int64)
        found["expression"] = measure_agreement(labels, [p[rows] for p in networks["expression"]], strength)
    if networks.get("au") and (rows := np.flatnonzero(truth.au_valid)).size:
        sure = np.mean(np.stack([p[rows] for p in networks["au"]]), axis=0, dtype=np.float64) >= strength
        found["au"] = int(sure.sum()), int(truth.au[rows][sure].sum())
    return found


def find_contradicted_expressions(
    truth: Annotations, networks: Sequence[Array], min_strength: float = MIN_STRENGTH
) -> list[DoubtfulLabel]:
    """Rows whose expression every network contradicts.

    Args:
        truth: The rows, n of them.
        networks: Out-of-fold probabilities of each network, shape (n, 8) each.
        min_strength: What the strength must be at least: the share of the suggestion in the mean probability of itself
            and the label, above 0.5 to 1.
    """
    rows = np.flatnonzero(truth.expression_valid)
    if not networks or not len(rows):
        return []
    found = find_doubtful_classes(truth.expression[rows].astype(np.int64), [p[rows] for p in networks])
    return [
        DoubtfulLabel(
            int(rows[row]),
            "expression",
            f"expression={EXPRESSIONS[truth.expression[rows[row]]]}",
            f"expression={EXPRESSIONS[other]}",
            "contradicted",
            float(strength),
            f"mean probability {likely:.2f}, of the label {given:.2f}; {len(networks)} of {len(networks)} networks",
        )
        for row, other, given, likely, strength in zip(*found, found.strength, strict=True)
        if strength >= min_strength
    ]


def find_contradicted_units(
    truth: Annotations, networks: Sequence[Array], min_strength: float = MIN_STRENGTH
) -> list[DoubtfulLabel]:
    """Rows with action units that every network contradicts, each unit by itself; see `find_contradicted_expressions`.

    The strength is that of the unit with the highest one; networks are of shape (n, 12).
    """
    rows = np.flatnonzero(truth.au_valid)
    if not networks or not len(rows):
        return []
    strengths: dict[int, dict[str, float]] = {}
    for unit, name in enumerate(ACTION_UNITS):
        labels = truth.au[rows, unit].astype(np.int64)
        found = find_doubtful_classes(labels, [np.stack([1 - p[rows, unit], p[rows, unit]], axis=1) for p in networks])
        for row, strength in zip(found.rows, found.strength, strict=True):
            if strength >= min_strength:
                strengths.setdefault(int(rows[row]), {})[name] = float(strength)
    return [
        DoubtfulLabel(
            row,
            "au",
            " ".join(f"{name}={truth.au[row, ACTION_UNITS.index(name)]}" for name in units),
            " ".join(f"{name}={1 - truth.au[row, ACTION_UNITS.index(name)]}" for name in units),
            "contradicted",
            max(units.values()),
            ", ".join(f"{name} {strength:.3f}" for name, strength in units.items()),
        )
        for row, units in sorted(strengths.items())
    ]
