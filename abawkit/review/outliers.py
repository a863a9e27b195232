"""Valence and arousal that are further from the networks than noise and their own disagreement explain.

The residual r of a row is its label less the mean of the networks, s^2 is the variance of the networks there, and

    z = |r - median(r)| / sqrt((1.4826 MAD(r))^2 + s^2),   an outlier where z > 3.5,

with median and MAD (median absolute deviation) over all annotated rows.

Source: the variance is that of a mixture of networks, the mean of their noise and the variance of their means: B.
Lakshminarayanan, A. Pritzel, C. Blundell, https://arxiv.org/abs/1612.01474, section 2.4; as these networks do not
predict their noise, it is one number here, estimated robustly. z with the MAD and the limit 3.5: B. Iglewicz, D.
Hoaglin, How to Detect and Handle Outliers (1993), section 3.3.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from abawkit.labels import DIMENSIONS, VA_MAX, VA_MIN
from abawkit.review.doubtful_labels import DoubtfulLabel
from abawkit.tables import Annotations, Array

OUTLIER_LIMIT: Final = 3.5
_NORMAL: Final = 1.4826
"""The deviation of normal numbers over their MAD."""


class Outliers(NamedTuple):
    """How far each label is from the networks.

    Attributes:
        z: In units of what noise and disagreement explain, float64, shape (n, 2); 0 where nothing can be said.
        suggested: Mean of the networks plus the median residual, in -1..1, float64, shape (n, 2).
        spread: Standard deviation s of the networks, float64, shape (n, 2); 0 of one network.
        noise: 1.4826 MAD of each dimension, float64, shape (2,).
    """

    z: Array
    suggested: Array
    spread: Array
    noise: Array


def measure_outliers(labels: Array, networks: Sequence[Array]) -> Outliers:
    """Measures how far labels are from what networks predict.

    Args:
        labels: Valence and arousal, shape (n, 2).
        networks: Out-of-fold predictions of each network, at least one, shape (n, 2) each.
    """
    if not len(labels):
        nothing = np.zeros((0, 2))
        return Outliers(nothing, nothing, nothing, np.zeros(2))
    stacked = np.stack(networks).astype(np.float64)
    mean = stacked.mean(axis=0)
    variance = stacked.var(axis=0, ddof=1) if len(networks) > 1 else np.zeros_like(mean)
    residuals = labels - mean
    centre = np.median(residuals, axis=0)
    noise = _NORMAL * np.median(np.abs(residuals - centre), axis=0)
    deviation = np.sqrt(noise**2 + variance)
    z = np.divide(np.abs(residuals - centre), deviation, out=np.zeros_like(mean), where=deviation > 0)
    return Outliers(z, np.clip(mean + centre, VA_MIN, VA_MAX), np.sqrt(variance), noise)


def find_va_outliers(truth: Annotations, networks: Sequence[Array]) -> list[DoubtfulLabel]:
    """Rows whose valence or arousal is an outlier; strength: the share of its deviation that is beyond the limit."""
    rows = np.flatnonzero(truth.va_valid)
    if not networks or not len(rows):
        return []
    found = measure_outliers(truth.va[rows], [values[rows] for values in networks])
    result = []
    for at in np.flatnonzero((found.z > OUTLIER_LIMIT).any(axis=1)).tolist():
        beyond = [i for i in range(len(DIMENSIONS)) if found.z[at, i] > OUTLIER_LIMIT]
        result.append(
            DoubtfulLabel(
                int(rows[at]),
                "va",
                " ".join(f"{DIMENSIONS[i]}={truth.va[rows[at]].tolist()[i]}" for i in beyond),
                " ".join(f"{DIMENSIONS[i]}={found.suggested[at, i]:.3f}" for i in beyond),
                "outlier",
                1 - OUTLIER_LIMIT / float(found.z[at].max()),
                ", ".join(f"z {found.z[at, i]:.1f} (networks' spread {found.spread[at, i]:.3f})" for i in beyond),
            )
        )
    return result
