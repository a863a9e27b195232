"""The parameters, running statistics and gates of dual-direction attention, as tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.errors import ConfigError
from abawkit.ops.folding import fold_batch_norm


class Gates(NamedTuple):
    """Attention maps by their factors: map k of channel c is the outer product of two vectors.

    Attributes:
        rows: (N, K, C, H), in 0..1.
        columns: (N, K, C, W), in 0..1.
    """

    rows: Tensor
    columns: Tensor

    def maps(self) -> Tensor:
        """The attention maps (N, K, C, H, W)."""
        return self.rows.unsqueeze(-1) * self.columns.unsqueeze(-2)


def attention_mse(gates: Gates) -> Tensor:
    """The mean squared difference of two heads' attention maps, averaged over all pairs of heads.

    The maps aren't computed. With d = p - r, e = q - s and the means a = (p + r) / 2, b = (q + s) / 2 of two heads'
    gates, p q' - r s' = d b' + a e', so the sum of squares is |d|^2 |b|^2 + 2 (d.a) (b.e) + |a|^2 |e|^2. This equals
    |p|^2 |q|^2 - 2 (p.r) (q.s) + |r|^2 |s|^2, which cancels catastrophically where the heads are alike.

    Args:
        gates: Gates of at least two heads, of any floating type; computed in float32 at least.

    Returns:
        A scalar, at least 0.

    Raises:
        ConfigError: If there is one head only, so that there is no pair to compare.

    Source: the distance is that of the attention loss in Zhang et al., Electronics 12(17) 3595 (2023).
    """
    heads = gates.rows.shape[1]
    if heads < 2:
        raise ConfigError("the attention loss compares heads: this network has 1, use attention_heads = 2 or more")
    rows, columns = (g if g.dtype == torch.float64 else g.float() for g in gates)
    # made on the device: a copy from the host would wait for it, and can't be captured by a CUDA graph
    first, second = torch.triu_indices(heads, heads, 1, device=rows.device)
    p, r = rows[:, first], rows[:, second]
    q, s = columns[:, first], columns[:, second]
    d, e, a, b = p - r, q - s, (p + r) / 2, (q + s) / 2

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1)

    squares = dot(d, d) * dot(b, b) + 2 * dot(d, a) * dot(b, e) + dot(a, a) * dot(e, e)
    return squares.mean() / (rows.shape[-1] * columns.shape[-1])


class Sizes(NamedTuple):
    """Sizes of the operator; those of DDAMFN are (512, 7, 7, 2, 16)."""

    channels: int
    height: int
    width: int
    heads: int
    squeezed: int

    @property
    def operator(self) -> str:
        """The operator that has such sizes."""
        return "dual_direction_attention"

    def describe(self) -> str:
        """The sizes in words: ``512 x 7 x 7, 2 heads``."""
        heads = f"{self.heads} head{'s' if self.heads != 1 else ''}"
        return f"{self.channels} x {self.height} x {self.width}, {heads}"

    @property
    def norms(self) -> int:
        """Number of means, or of variances, of all batch norms."""
        return 2 * self.heads * self.channels + self.heads * self.squeezed + self.channels


class Parameters(NamedTuple):
    """The learned tensors: K heads one after another, C channels, M channels of a head's bottleneck.

    Scale and shift are the weight and the bias of the batch norm that follows what the name begins with.

    Attributes:
        row_weight: (K, C, W): sums a row of the features to one number.
        column_weight: (K, C, H): sums a column.
        row_scale: (K * C).
        row_shift: (K * C).
        column_scale: (K * C).
        column_shift: (K * C).
        squeeze_weight: (K * M, C, 1): a 1 x 1 convolution in K groups.
        squeeze_bias: (K * M).
        squeeze_scale: (K * M).
        squeeze_shift: (K * M).
        row_gate_weight: (K * C, M, 1): a 1 x 1 convolution in K groups.
        row_gate_bias: (K * C).
        column_gate_weight: (K * C, M, 1): a 1 x 1 convolution in K groups.
        column_gate_bias: (K * C).
        pool_weight: (C, H, W): the global depthwise convolution (GDConv).
        pool_scale: (C).
        pool_shift: (C).
    """

    row_weight: Tensor
    column_weight: Tensor
    row_scale: Tensor
    row_shift: Tensor
    column_scale: Tensor
    column_shift: Tensor
    squeeze_weight: Tensor
    squeeze_bias: Tensor
    squeeze_scale: Tensor
    squeeze_shift: Tensor
    row_gate_weight: Tensor
    row_gate_bias: Tensor
    column_gate_weight: Tensor
    column_gate_bias: Tensor
    pool_weight: Tensor
    pool_scale: Tensor
    pool_shift: Tensor

    @property
    def sizes(self) -> Sizes:
        """The sizes that follow from the tensors' shapes."""
        heads, channels, width = self.row_weight.shape
        return Sizes(channels, self.column_weight.shape[2], width, heads, self.squeeze_weight.shape[0] // heads)


def list_parameter_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The shape of each field of `Parameters`, by name."""
    c, h, w, k, m = sizes
    norms = {"row": (k * c,), "column": (k * c,), "squeeze": (k * m,), "pool": (c,)}
    shapes: dict[str, tuple[int, ...]] = {
        "row_weight": (k, c, w),
        "column_weight": (k, c, h),
        "squeeze_weight": (k * m, c, 1),
        "squeeze_bias": (k * m,),
        "row_gate_weight": (k * c, m, 1),
        "row_gate_bias": (k * c,),
        "column_gate_weight": (k * c, m, 1),
        "column_gate_bias": (k * c,),
        "pool_weight": (c, h, w),
    }
    shapes |= {f"{name}_{part}": shape for name, shape in norms.items() for part in ("scale", "shift")}
    return {name: shapes[name] for name in Parameters._fields}


class Statistics(NamedTuple):
    """Means and variances of the four batch norms.

    Attributes:
        row_mean: (K * C).
        row_variance: (K * C).
        column_mean: (K * C).
        column_variance: (K * C).
        squeeze_mean: (K * M).
        squeeze_variance: (K * M).
        pool_mean: (C).
        pool_variance: (C).
    """

    row_mean: Tensor
    row_variance: Tensor
    column_mean: Tensor
    column_variance: Tensor
    squeeze_mean: Tensor
    squeeze_variance: Tensor
    pool_mean: Tensor
    pool_variance: Tensor

    def flat(self) -> Tensor:
        """Means, then variances, (2, `Sizes.norms`), in the order of the attributes."""
        return torch.cat([*self[0::2], *self[1::2]]).view(2, -1)


def fold_batch_norms(
    parameters: Parameters, statistics: Statistics, eps: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Folds the batch norms into the weights before them, in float64.

    Returns:
        Weights and biases of the sums of rows, (K * C, W) and (K * C), and of columns, (K * C, H) and (K * C), of the
        squeezing convolution, (K * M, C, 1) and (K * M), and of the pooling one, (C, H, W) and (C).
    """
    p, s = parameters, statistics
    row, column = (p.row_scale, p.row_shift, *s[0:2]), (p.column_scale, p.column_shift, *s[2:4])
    return (
        fold_batch_norm(p.row_weight.flatten(0, 1), None, *row, eps),
        fold_batch_norm(p.column_weight.flatten(0, 1), None, *column, eps),
        fold_batch_norm(p.squeeze_weight, p.squeeze_bias, p.squeeze_scale, p.squeeze_shift, *s[4:6], eps),
        fold_batch_norm(p.pool_weight, None, p.pool_scale, p.pool_shift, *s[6:8], eps),
    )


def update_statistics(running: Statistics, batch: Tensor, momentum: float, sizes: Sizes, images: int) -> None:
    """Moves running statistics, in place, towards those of a batch, as torch's batch norms do.

    Args:
        running: Changed in place.
        batch: As `Statistics.flat`, with biased variances.
        momentum: Share of the batch in the result.
        sizes: Of the operator.
        images: Of the batch.
    """
    k, c, m = sizes.heads, sizes.channels, sizes.squeezed
    counts = (images * sizes.height, images * sizes.width, images * (sizes.height + sizes.width), images)
    with torch.no_grad():
        parts = torch.split(batch.to(running.row_mean.dtype).view(-1), [k * c, k * c, k * m, c] * 2)
        torch._foreach_lerp_(list(running[0::2]), list(parts[:4]), momentum)
        torch._foreach_mul_(list(running[1::2]), 1 - momentum)
        for variance, new, n in zip(running[1::2], parts[4:], counts, strict=True):
            variance.add_(new, alpha=momentum * n / (n - 1))  # unbiased
