"""Weights of classes and action units that make up for how rare they are."""

import numpy as np

from abawkit.labels import EXPRESSIONS
from abawkit.tables import Annotations, Array


def expression_weights(rows: Annotations, exponent: float) -> Array:
    """Weights inverse to the classes' shares: (1 / share) ** exponent, scaled so that the mean row weighs 1.

    Args:
        rows: Training rows.
        exponent: 0 for equal weights, 1 for full balance.

    Returns:
        float64 (8,); 0 for a class without rows.
    """
    counts = np.bincount(rows.expression[rows.expression_valid], minlength=len(EXPRESSIONS)).astype(np.float64)
    weights = np.power(counts, -exponent, out=np.zeros_like(counts), where=counts > 0)
    total: Array = weights * (counts.sum() / max((weights * counts).sum(), np.finfo(np.float64).tiny))
    return total


def au_weights(rows: Annotations, exponent: float) -> Array:
    """What an active unit weighs against an inactive one: (negatives / positives) ** exponent.

    Args:
        rows: Training rows.
        exponent: 0 for 1 everywhere, 1 for full balance.

    Returns:
        float64 (12,); 1 for a unit that is never, or always, active.
    """
    active = rows.au[rows.au_valid].sum(axis=0, dtype=np.int64).astype(np.float64)
    idle = rows.au_valid.sum() - active
    weights: Array = np.divide(idle, active, out=np.ones_like(active), where=(active > 0) & (idle > 0)) ** exponent
    return weights
