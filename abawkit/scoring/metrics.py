"""The challenge's metrics, each with its definition, its estimator and its value for empty classes.

Sources: L. I.-K. Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45 (1989) 255-268;
the challenge's measure, https://arxiv.org/abs/2407.03835, section 4.
"""

import numpy as np

from abawkit.tables import Array


def ccc(truth: Array, prediction: Array) -> float:
    """Concordance correlation coefficient, 2 cov / (var_x + var_y + (mean_x - mean_y)^2).

    All moments are population moments (divided by n): mixing them with sample moments gives values above 1.

    Args:
        truth: Real values, shape (n,).
        prediction: Real values, shape (n,).

    Returns:
        A value in [-1, 1]; 0 where either is constant or n is 0.

    Example:
        Means 1/2 and 1/4, variances 1/4 and 1/16, covariance 1/8: 2/8 / (4/16 + 1/16 + 1/16) = 2/3.

        >>> round(ccc(np.array([0.0, 1.0]), np.array([0.0, 0.5])), 4)
        0.6667
        >>> ccc(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
        0.0
    """
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"got shapes {x.shape} and {y.shape}, expected two equal shapes (n,)")
    if not x.size or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x_mean, y_mean = x.mean(), y.mean()
    dx, dy = x - x_mean, y - y_mean
    scale = np.mean(dx * dx) + np.mean(dy * dy) + (x_mean - y_mean) ** 2
    if scale == 0:  # values so close that their squares underflow
        return 0.0
    return float(np.clip(2 * np.mean(dx * dy) / scale, -1.0, 1.0))  # rounding alone can leave the interval


def f1_per_class(truth: Array, prediction: Array, classes: int) -> Array:
    """F1 of each class against the others, 2 TP / (2 TP + FP + FN).

    Args:
        truth: Class indices, shape (n,).
        prediction: Class indices, shape (n,).
        classes: Number of classes.

    Returns:
        float64, shape (classes,); 0 for a class that neither truth nor prediction has.

    Example:
        Class 0 is found once and missed once, class 1 is found once and wrongly given once: 2 / (2 + 1) each.

        >>> f1_per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3).round(4).tolist()
        [0.6667, 0.6667, 0.0]
    """
    truth, prediction = np.asarray(truth, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    if truth.shape != prediction.shape or truth.ndim != 1:
        raise ValueError(f"got shapes {truth.shape} and {prediction.shape}, expected two equal shapes (n,)")
    confusion = np.bincount(truth * classes + prediction, minlength=classes * classes).reshape(classes, classes)
    return f1_from_counts(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0))


def f1_per_unit(truth: Array, prediction: Array) -> Array:
    """F1 of the positive class of each action unit; a row with no active unit counts like any other.

    Args:
        truth: 0 and 1, shape (n, units).
        prediction: 0 and 1, shape (n, units).

    Returns:
        float64, shape (units,); 0 for a unit that is active in neither truth nor prediction.

    Example:
        The first unit is found once and missed twice: 2 / (2 + 2); the second is found wherever it is active.

        >>> f1_per_unit(np.array([[1, 0], [1, 1], [1, 0]]), np.array([[1, 0], [0, 1], [0, 0]])).tolist()
        [0.5, 1.0]
    """
    truth, prediction = np.asarray(truth, dtype=bool), np.asarray(prediction, dtype=bool)
    if truth.shape != prediction.shape or truth.ndim != 2:
        raise ValueError(f"got shapes {truth.shape} and {prediction.shape}, expected two equal shapes (n, units)")
    return f1_from_counts((truth & prediction).sum(axis=0), truth.sum(axis=0), prediction.sum(axis=0))


def f1_from_counts(both: Array, in_truth: Array, in_prediction: Array) -> Array:
    """F1 from counts of rows, 2 TP / (2 TP + FP + FN).

    Args:
        both: Rows that truth and prediction agree to be of the class: TP.
        in_truth: Rows of the class as annotated: TP + FN.
        in_prediction: Rows of the class as predicted: TP + FP. All three of one shape, or of shapes that broadcast.

    Returns:
        float64; 0 where neither truth nor prediction has a row.

    Example:
        >>> f1_from_counts(np.array([3, 0]), np.array([4, 0]), np.array([8, 0])).tolist()
        [0.5, 0.0]
    """
    total = np.asarray(in_truth + in_prediction, dtype=np.float64)
    return np.divide(2.0 * both, total, out=np.zeros(total.shape), where=total > 0)
