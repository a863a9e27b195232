"""The losses of the three tasks, the attention loss, and the weights that balance classes and action units.

Each loss is taken over the rows where its task is annotated. A task without annotated rows in a batch gives exactly
zero loss and zero gradient. No loss depends on the values in rows that are not annotated.
"""

import sys
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.labels import EXPRESSIONS
from abawkit.tables import Annotations, Array


def weigh_expressions(rows: Annotations, exponent: float) -> Array:
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


def weigh_action_units(rows: Annotations, exponent: float) -> Array:
    """Weights of active units relative to inactive ones: (negatives / positives) ** exponent.

    Args:
        rows: Training rows.
        exponent: 0 for equal weights, 1 for full balance.

    Returns:
        float64 (12,); 1 for a unit that is never, or always, active.
    """
    active = rows.au[rows.au_valid].sum(axis=0, dtype=np.int64).astype(np.float64)
    idle = rows.au_valid.sum() - active
    weights: Array = np.divide(idle, active, out=np.ones_like(active), where=(active > 0) & (idle > 0)) ** exponent
    return weights


class Targets(NamedTuple):
    """Annotations of a batch of N rows, on the device of the network.

    Attributes:
        va: float32 (N, 2), in -1..1.
        expression: int64 (N,), 0..7.
        au: float32 (N, 12), 0 or 1.
        va_valid: bool (N,).
        expression_valid: bool (N,).
        au_valid: bool (N,).
    """

    va: Tensor
    expression: Tensor
    au: Tensor
    va_valid: Tensor
    expression_valid: Tensor
    au_valid: Tensor


def va_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - (CCC of valence + CCC of arousal) / 2 over the annotated rows of a batch.

    The CCC is that of `abawkit.scoring.metrics.ccc`, with population moments. The loss of fewer than two annotated rows
    is 0. A dimension that varies in neither prediction nor annotation has CCC 0.

    Args:
        prediction: (N, 2).
        target: (N, 2).
        valid: bool (N,).

    Returns:
        A scalar in 0..2, float32 at least.

    Source: https://arxiv.org/abs/2407.12390, section 3.3.
    """
    x, y = (t if t.dtype == torch.float64 else t.float() for t in (prediction, target))
    rows = valid.unsqueeze(1)
    count = valid.sum().clamp(min=1)
    x, y = torch.where(rows, x, 0.0), torch.where(rows, y, 0.0)
    x_mean, y_mean = x.sum(0) / count, y.sum(0) / count
    dx, dy = torch.where(rows, x - x_mean, 0.0), torch.where(rows, y - y_mean, 0.0)
    covariance = (dx * dy).sum(0) / count
    spread = ((dx * dx).sum(0) + (dy * dy).sum(0)) / count + (x_mean - y_mean) ** 2
    # Below eps the spread is rounding alone: three times 0.1 has a mean that is not 0.1, and so a CCC of 1.
    ccc = 2 * covariance / spread.clamp(min=torch.finfo(spread.dtype).eps)
    return (1 - ccc.mean()) * (valid.sum() >= 2)


def expression_loss(
    logits: Tensor, target: Tensor, valid: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy over the annotated rows, weighted by class.

    Args:
        logits: (N, 8).
        target: int64 (N,), 0..7.
        valid: bool (N,).
        class_weights: (8,), or None for equal ones.
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        A scalar, float32 at least: the sum of weighted losses over the sum of the rows' weights.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    # masked before, too: where a logit is NaN, zero times its gradient is NaN
    logits, target = torch.where(valid.unsqueeze(1), logits, 0.0), torch.where(valid, target, 0)
    weights = torch.ones_like(logits[0]) if class_weights is None else class_weights.to(logits)
    losses = F.cross_entropy(logits, target, weight=weights, label_smoothing=label_smoothing, reduction="none")
    rows = torch.where(valid, weights[target], 0.0)
    return torch.where(valid, losses, 0.0).sum() / rows.sum().clamp(min=torch.finfo(rows.dtype).tiny)


def au_loss(logits: Tensor, target: Tensor, valid: Tensor, positive_weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over the annotated rows and all action units.

    Args:
        logits: (N, 12).
        target: (N, 12), 0 or 1.
        valid: bool (N,).
        positive_weights: Weights of active units relative to inactive ones, (12,), or None for 1.

    Returns:
        A scalar, float32 at least: the mean over annotated rows and units.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    rows = valid.unsqueeze(1)
    logits, target = torch.where(rows, logits, 0.0), torch.where(rows, target.to(logits), 0.0)
    weights = None if positive_weights is None else positive_weights.to(logits)
    losses = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights, reduction="none")
    return torch.where(rows, losses, 0.0).sum() / (valid.sum().clamp(min=1) * logits.shape[1])


def diversity(distance: Tensor) -> Tensor:
    """1 / (MSE of the heads' maps + eps): falls as the heads attend to different places.

    Args:
        distance: `abawkit.ops.attention_mse` over a batch, a scalar.

    Source: the published code of DDAMFN, Zhang et al., Electronics 12(17) 3595 (2023).
    """
    return 1 / (distance + sys.float_info.epsilon)


def consistency(distance: Tensor) -> Tensor:
    """MSE of the heads' maps over the number of pairs of heads: falls as the heads agree.

    Args:
        distance: `abawkit.ops.attention_mse` over a batch, a scalar.

    Source: https://arxiv.org/abs/2407.12390, section 3.2, which describes the attention loss in this way.
    """
    return distance


ATTENTION_LOSSES: Final[dict[Literal["diversity", "consistency"], Callable[[Tensor], Tensor]]] = {
    "diversity": diversity,
    "consistency": consistency,
}
"""The attention losses by name: that of the published code, and its opposite, which the paper describes."""
