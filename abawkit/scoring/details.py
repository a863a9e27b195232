"""What a score is made of, in the measures that are usual beside the challenge's own.

Precision, recall, accuracy, confusion and errors are scikit-learn's; CCC and F1 are those of `abawkit.scoring.metrics`,
whose value for empty classes is the challenge's. What is not defined is None: the recall of a class that no row is
annotated as, or the correlation with a constant.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import sklearn.metrics as sk

from abawkit.choices import Protocol
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from abawkit.scoring.bootstrap import VideoStatistics, sum_by_video
from abawkit.scoring.metrics import ccc, f1_from_counts, f1_per_class, f1_per_unit
from abawkit.scoring.scored_rows import select_answered_rows
from abawkit.tables import Annotations, Array, Submission

LONG: Final = 20
"""Rows from which on a video can be called the best or the worst."""


@dataclass(frozen=True)
class ValueDetails:
    """Valence or arousal.

    CCC is the product of Pearson's correlation, which Lin calls precision, and of the accuracy C_b, which is 1 where
    means and spreads are equal (L. I.-K. Lin, Biometrics 45 (1989) 255-268).

    Attributes:
        rows: Scored rows.
        ccc: In [-1, 1].
        pearson: In [-1, 1]; None where either is constant.
        accuracy: C_b = 2 / (v + 1 / v + u^2) in (0, 1], with v the ratio of the standard deviations and u the
            difference of the means over the root of their product; None likewise.
        rmse: Root of the mean squared error, at least 0.
        bias: Mean of the predictions less that of the annotations.
    """

    rows: int
    ccc: float
    pearson: float | None
    accuracy: float | None
    rmse: float
    bias: float


@dataclass(frozen=True)
class ClassDetails:
    """An expression against all others, or an action unit; every measure is in [0, 1].

    Attributes:
        support: Rows that are annotated as the class.
        predicted: Rows that are predicted as the class.
        precision: Share of the predicted rows that are annotated so; None where none is predicted.
        recall: Share of the annotated rows that are predicted so; None where none is annotated.
        f1: 2 TP / (2 TP + FP + FN); 0 where there is neither.
        accuracy: Share of all rows that agree on whether they are of the class.
        balanced_accuracy: Mean of the recalls of the class and of its absence; None where either has no row.
    """

    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float
    accuracy: float
    balanced_accuracy: float | None


@dataclass(frozen=True)
class ExpressionDetails:
    """The expressions.

    Attributes:
        rows: Scored rows.
        accuracy: Share of rows whose class is right.
        balanced_accuracy: Mean recall of the classes that are annotated at all.
        classes: Each class, in the order of `EXPRESSIONS`.
        confusion: Rows by annotated class (first) and predicted one (second), 8 x 8.
    """

    rows: int
    accuracy: float
    balanced_accuracy: float
    classes: dict[str, ClassDetails]
    confusion: list[list[int]]


@dataclass(frozen=True)
class UnitDetails:
    """The action units.

    Attributes:
        rows: Scored rows.
        accuracy: Mean of the twelve units' accuracies.
        exact_match: Share of rows in which all twelve units are right.
        units: Each unit, in the order of `ACTION_UNITS`.
    """

    rows: int
    accuracy: float
    exact_match: float
    units: dict[str, ClassDetails]


@dataclass(frozen=True)
class VideoDetails:
    """One video. Its F1 is the mean over the classes that it has: few videos show all of them.

    Attributes:
        name: Name.
        rows: Rows on which a task is scored.
        ccc_valence: In [-1, 1]; None where the video has no scored row, or either is constant in it.
        ccc_arousal: Likewise.
        expression_f1: Mean F1 of the classes that are annotated or predicted in it; None without a scored row.
        au_f1: Mean F1 of the units that are active in it, as annotated or predicted; None where none is.
        mean: Mean of CCC (of both), expression F1 and unit F1, as far as they are there; videos are sorted by it.
    """

    name: str
    rows: int
    ccc_valence: float | None
    ccc_arousal: float | None
    expression_f1: float | None
    au_f1: float | None
    mean: float | None


@dataclass(frozen=True)
class Details:
    """What a score is made of; None where a task is not scored.

    Attributes:
        values: ``valence`` and ``arousal``.
        expression: Expressions.
        au: Action units.
        videos: Every video with a scored row, the best first; those that nothing is defined for are last.
    """

    values: dict[str, ValueDetails] | None
    expression: ExpressionDetails | None
    au: UnitDetails | None
    videos: tuple[VideoDetails, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def describe_score(truth: Annotations, submission: Submission, protocol: Protocol = "official") -> Details:
    """Measures a submission in detail.

    Args:
        truth: The annotations.
        submission: One row for each row of `truth`, in its order; only the tasks that it holds are measured.
        protocol: Which rows count.

    Raises:
        DataError: If the rows of the two are not the same, if no row counts, or if the submission holds no task.
    """
    masks = {task: mask for task, mask in select_answered_rows(truth, submission, protocol).items() if mask.any()}
    va, expression, au = masks.get("va"), masks.get("expression"), masks.get("au")
    return Details(
        values=None if va is None else _describe_dimensions(truth.va[va], submission.va[va]),
        expression=None
        if expression is None
        else _describe_expressions(truth.expression[expression], submission.expression[expression]),
        au=None if au is None else _describe_units(truth.au[au], submission.au[au]),
        videos=_describe_videos(sum_by_video(truth, submission, protocol)),
    )


def select_long_videos(videos: Sequence[VideoDetails]) -> list[VideoDetails]:
    """Those with a score of their own and at least `LONG` rows, in their order; where none is as long, the others too.

    On a few rows, a video is the best or the worst by chance.
    """
    known = [video for video in videos if video.mean is not None]
    return [video for video in known if video.rows >= LONG] or known


def _describe_dimensions(truth: Array, given: Array) -> dict[str, ValueDetails]:
    return {name: _describe_dimension(truth[:, i], given[:, i]) for i, name in enumerate(DIMENSIONS)}


def _describe_dimension(truth: Array, given: Array) -> ValueDetails:
    x, y = truth.astype(np.float64), given.astype(np.float64)
    pearson = accuracy = None
    spread = float(x.std() * y.std())
    if np.ptp(x) > 0 and np.ptp(y) > 0 and spread > 0:
        pearson = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
        accuracy = 2 * spread / float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    rmse, bias = float(sk.root_mean_squared_error(x, y)), float(y.mean() - x.mean())
    return ValueDetails(len(x), ccc(x, y), pearson, accuracy, rmse, bias)


def _describe_expressions(truth: Array, given: Array) -> ExpressionDetails:
    labels = np.arange(len(EXPRESSIONS))
    confusion = sk.confusion_matrix(truth, given, labels=labels)
    recalls = np.diag(confusion)[confusion.any(axis=1)] / confusion.sum(axis=1)[confusion.any(axis=1)]
    return ExpressionDetails(
        rows=len(truth),
        accuracy=float(sk.accuracy_score(truth, given)),
        balanced_accuracy=float(recalls.mean()),
        classes=_describe_classes(
            EXPRESSIONS,
            sk.multilabel_confusion_matrix(truth, given, labels=labels),
            f1_per_class(truth, given, len(EXPRESSIONS)),
        ),
        confusion=confusion.tolist(),
    )


def _describe_units(truth: Array, given: Array) -> UnitDetails:
    units = _describe_classes(ACTION_UNITS, sk.multilabel_confusion_matrix(truth, given), f1_per_unit(truth, given))
    return UnitDetails(
        rows=len(truth),
        accuracy=float(np.mean([unit.accuracy for unit in units.values()])),
        exact_match=float(sk.accuracy_score(truth, given)),
        units=units,
    )


def _describe_classes(names: Sequence[str], counts: Array, f1: Array) -> dict[str, ClassDetails]:
    """Classes by their 2 x 2 tables of counts, ((TN, FP), (FN, TP)), as scikit-learn has them, (n, 2, 2)."""
    described = {}
    for name, ((tn, fp), (fn, tp)), value in zip(names, counts.tolist(), f1.tolist(), strict=True):
        recall, specificity = _divide(tp, tp + fn), _divide(tn, tn + fp)
        balanced = None if recall is None or specificity is None else (recall + specificity) / 2
        precision, accuracy = _divide(tp, tp + fp), (tp + tn) / (tp + tn + fp + fn)
        described[name] = ClassDetails(tp + fn, tp + fp, precision, recall, value, accuracy, balanced)
    return described


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _describe_videos(statistics: VideoStatistics) -> tuple[VideoDetails, ...]:
    """Every video, the best first; a task without a scored row has neither sums nor counts, and so no measure."""
    count = len(statistics.names)
    ccc_values, defined = statistics.measure_ccc(np.eye(count))
    confusion, units = statistics.confusion, np.moveaxis(statistics.units, 2, 0)
    classes = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    columns = {
        "ccc_valence": np.where(defined[:, 0], ccc_values[:, 0], np.nan),
        "ccc_arousal": np.where(defined[:, 1], ccc_values[:, 1], np.nan),
        "expression_f1": _average_present(*classes),
        "au_f1": _average_present(units[0], units[1], units[2]),
    }
    both = _average([columns["ccc_valence"], columns["ccc_arousal"]])
    means = _average([both, columns["expression_f1"], columns["au_f1"]])
    order = sorted(range(count), key=lambda i: (np.isnan(means[i]), -np.nan_to_num(means[i]), statistics.names[i]))
    return tuple(
        VideoDetails(
            statistics.names[i],
            int(statistics.rows[i]),
            **{name: _drop_nan(column[i]) for name, column in columns.items()},
            mean=_drop_nan(means[i]),
        )
        for i in order
    )


def _average_present(both: Array, in_truth: Array, in_prediction: Array) -> Array:
    """Mean F1 over the classes that a video has, shape (V,), from counts (V, classes); nan where it has none."""
    present = in_truth + in_prediction > 0
    total = np.where(present, f1_from_counts(both, in_truth, in_prediction), 0.0).sum(axis=1)
    classes = present.sum(axis=1)
    mean: Array = np.divide(total, classes, out=np.full(len(total), np.nan), where=classes > 0)
    return mean


def _average(columns: Sequence[Array]) -> Array:
    """The mean of the values that are not nan, shape (V,); nan where all are."""
    values = np.stack(columns)
    known = (~np.isnan(values)).sum(axis=0)
    mean: Array = np.divide(np.nansum(values, axis=0), known, out=np.full(values.shape[1], np.nan), where=known > 0)
    return mean


def _drop_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
