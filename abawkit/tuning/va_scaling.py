"""A scale and a shift for valence and arousal, fitted to annotations as far as these support it.

The concordance of y with a x + b, for a > 0, is

    CCC = 2 a cov / (var_y + a^2 var_x + (a mean_x + b - mean_y)^2).

It rises as the last square falls, so that the best shift brings the means together. Divided by a, the rest of the
denominator is var_y / a + a var_x, which is least at a = sd_y / sd_x; the CCC is then the correlation. So where the
correlation is positive, this ratio of deviations is the best scale, and a greater one never helps.

Source: the CCC and its two parts, precision (the correlation) and accuracy (agreement of means and deviations):
L. I.-K. Lin, Biometrics 45 (1989) 255-268.

A fit on some videos is uncertain. The logarithm of the scale and the difference of the means are moved only
as far from "no change" as the near end of their interval of one standard error; the errors are those of the jackknife
that leaves out one video at a time.

Source: the jackknife over clusters, B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 11.
"""

from typing import Final, NamedTuple

import numpy as np

from abawkit.labels import DIMENSIONS
from abawkit.tables import Array
from abawkit.tuning.support import explain_scarcity, is_supported, rows_by_video

MAX_SCALE: Final = 10.0
"""Greatest scale, and 1 over the least: a network that needs more has hardly learned anything."""

_LEAST_VARIANCE: Final = 1e-12  # the square of what the six decimals of a submission can tell apart


class Scaling(NamedTuple):
    """A scale and a shift, or why there are none.

    Attributes:
        scale: 1 for no change.
        shift: 0 for no change.
        reason: Why nothing is changed; empty where something is.
    """

    scale: float = 1.0
    shift: float = 0.0
    reason: str = ""


class _Estimates(NamedTuple):
    """Estimates from moments; each a number, or an array over leaving out each video."""

    log_scale: Array
    offset: Array
    correlation: Array


def fit_scaling(truth: Array, values: Array, videos: Array) -> Scaling:
    """Fits a scale and a shift for one dimension.

    The scale widens or narrows values about their mean; the shift moves the mean.

    Args:
        truth: Annotated values, shape (n,).
        values: Given values, shape (n,).
        videos: A number for each row's video, integers from 0, shape (n,).

    Returns:
        A scale within 1 / `MAX_SCALE` and `MAX_SCALE`. Nothing is changed where there are fewer than
        `MIN_POSITIVES` rows of `MIN_VIDEOS` videos, where the correlation is no more than two standard errors above
        0, and where the CCC of these rows would not rise.
    """
    rows = rows_by_video(np.ones((len(truth), 1), dtype=bool), videos)
    if not is_supported(rows)[0]:
        return Scaling(reason=explain_scarcity(rows[:, 0], "annotated"))
    rows = rows[:, 0]
    mean = float(values.mean(dtype=np.float64))
    x, y = values.astype(np.float64) - mean, truth.astype(np.float64) - mean  # sums around 0 lose no digits
    terms = np.ones(len(x)), x, y, x * x, y * y, x * y
    moments = np.stack([np.bincount(videos, term, len(rows)) for term in terms])[:, rows > 0]
    whole = moments.sum(axis=1)
    found = _compute_estimates(whole)
    errors = [_jackknife_error(column) for column in _compute_estimates(whole[:, None] - moments)]
    if not found.correlation > 2 * errors[2]:  # true for NaN too: values that vary in one video alone
        return Scaling(reason="its correlation with the annotations is no more than two standard errors above 0")
    scale = float(np.clip(np.exp(_shrink(found.log_scale, errors[0])), 1 / MAX_SCALE, MAX_SCALE))
    offset = float(_shrink(found.offset, errors[1]))
    if not _concordance(whole, scale, offset) > _concordance(whole, 1.0, 0.0):
        return Scaling(reason="neither scale nor mean differs from the annotations' by more than a standard error")
    return Scaling(scale, offset + mean * (1 - scale))


def fit_va(truth: Array, va: Array, videos: Array) -> tuple[Array, Array]:
    """Fits valence and arousal: see `fit_scaling`.

    Args:
        truth: Annotated values, shape (n, 2): annotated rows alone.
        va: Given values, shape (n, 2).
        videos: A number for each row's video, integers from 0, shape (n,).

    Returns:
        Scale and shift, float64, shape (2,) each.
    """
    found = [fit_scaling(truth[:, i], va[:, i], videos) for i in range(len(DIMENSIONS))]
    return np.array([fit.scale for fit in found]), np.array([fit.shift for fit in found])


def _compute_estimates(moments: Array) -> _Estimates:
    """From n and the sums of x, y, x^2, y^2 and xy, (6,) or (6, videos); NaN where either does not vary."""
    x, y, xx, yy, xy = moments[1:] / moments[0]
    var_x, var_y = (np.where(var > _LEAST_VARIANCE, var, np.nan) for var in (xx - x * x, yy - y * y))
    return _Estimates(np.log(var_y / var_x) / 2, y - x, (xy - x * y) / np.sqrt(var_x * var_y))


def _jackknife_error(left_out: Array) -> float:
    """The standard error of an estimate, from its values without each of the videos, (videos,)."""
    count = len(left_out)
    return float(np.sqrt((count - 1) * np.var(left_out)))


def _shrink(value: Array, distance: float) -> Array:
    return np.sign(value) * np.maximum(np.abs(value) - distance, 0)


def _concordance(moments: Array, scale: float, offset: float) -> float:
    """The CCC after scaling about the mean and moving the mean by `offset`, from sums in which the mean of x is 0."""
    x, y, xx, yy, xy = moments[1:] / moments[0]
    parts = yy - y * y + scale**2 * (xx - x * x) + (x + offset - y) ** 2
    return float(2 * scale * (xy - x * y) / parts)
