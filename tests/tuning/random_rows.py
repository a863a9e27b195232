"""Annotations and probabilities that are drawn for tests of fits."""

import numpy as np
import pyarrow as pa

from abawkit.tables import Annotations, Array


def annotations(images: pa.StringArray, seed: int) -> Annotations:
    """Every row annotated for every task, by chance."""
    rng, n = np.random.default_rng(seed), len(images)
    everywhere, nowhere = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    return Annotations(
        images=images,
        lines=np.arange(2, n + 2),
        va=rng.uniform(-1, 1, (n, 2)),
        expression=rng.integers(0, 8, n).astype(np.int8),
        au=rng.integers(0, 2, (n, 12)).astype(np.int8),
        va_valid=everywhere,
        expression_valid=everywhere,
        au_valid=everywhere,
        va_partial=nowhere,
        au_partial=nowhere,
    )


def videos_of_rows(rows: int, count: int = 6) -> Array:
    """A video for each row, in turn."""
    return np.arange(rows) % count


def units(rng: np.random.Generator, rows: int = 120) -> tuple[Array, Array]:
    """Annotations and probabilities; some of these are exactly thresholds of the grid."""
    truth = (rng.random((rows, 12)) < 0.4).astype(np.int8)
    probabilities = np.clip(rng.normal(0.3 + 0.3 * truth, 0.25), 0, 1)
    on_grid = rng.random((rows, 12)) < 0.3
    return truth, np.where(on_grid, np.round(probabilities, 2), probabilities).astype(np.float32)


def expressions(rng: np.random.Generator, rows: int = 300, *, equal: bool = False) -> tuple[Array, Array]:
    """Annotated classes, each as often as any other, and probabilities that lean to the later ones."""
    truth = rng.permutation(np.arange(rows) % 8)
    logits = rng.normal(0, 1, (rows, 8)) + 1.2 * np.eye(8)[truth] + np.linspace(-1, 1, 8)
    if equal:
        logits = np.round(logits)  # many scores are equal, before and after a bias
    p = np.exp(logits)
    return truth.astype(np.int8), (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
