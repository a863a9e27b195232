"""The parameters and running statistics of a mixed block, as tensors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.ops.folding import fold_batch_norm


class BlockSizes(NamedTuple):
    """Sizes of a mixed block, except height and width, which may be any.

    Attributes:
        inputs: Channels of the input, I.
        kernels: Kernel sizes of the depthwise convolution, odd.
        channels: Channels of each kernel size; their sum is E, the channels of the expansion.
        outputs: Channels of the result, O.
        squeezed: Channels of the bottleneck of coordinate attention, M.
        stride: Of the depthwise convolution, 1 or 2.
        residual: Whether the input is added to the result; then stride is 1 and outputs equal inputs.
    """

    inputs: int
    kernels: tuple[int, ...]
    channels: tuple[int, ...]
    outputs: int
    squeezed: int
    stride: int = 1
    residual: bool = False

    @property
    def operator(self) -> str:
        """The operator that has such sizes."""
        return "mixed_block"

    def describe(self) -> str:
        """The sizes in words: ``128 to 256 to 128 channels, kernels 3 5 7``."""
        kernels = " ".join(map(str, self.kernels))
        words = f"{self.inputs} to {self.expanded} to {self.outputs} channels, kernels {kernels}"
        return words + (f", stride {self.stride}" if self.stride != 1 else "") + (", residual" if self.residual else "")

    @property
    def expanded(self) -> int:
        """E, the channels between expansion and projection."""
        return sum(self.channels)


class BlockParameters(NamedTuple):
    """The learned tensors of a mixed block; sizes by the letters of `BlockSizes`.

    Scale and shift are the weight and the bias of the batch norm that follows what the name begins with.

    Attributes:
        expand_weight: (E, I, 1, 1).
        expand_scale: (E).
        expand_shift: (E).
        slope: (E), of the PReLU after the expansion.
        squeeze_weight: (M, E, 1, 1).
        squeeze_bias: (M).
        squeeze_scale: (M).
        squeeze_shift: (M).
        row_gate_weight: (E, M, 1, 1).
        row_gate_bias: (E).
        column_gate_weight: (E, M, 1, 1).
        column_gate_bias: (E).
        project_weight: (O, E, 1, 1).
        project_scale: (O).
        project_shift: (O).
        depthwise: For each kernel size k and its c channels (c, 1, k, k), in the order of the channels.
    """

    expand_weight: Tensor
    expand_scale: Tensor
    expand_shift: Tensor
    slope: Tensor
    squeeze_weight: Tensor
    squeeze_bias: Tensor
    squeeze_scale: Tensor
    squeeze_shift: Tensor
    row_gate_weight: Tensor
    row_gate_bias: Tensor
    column_gate_weight: Tensor
    column_gate_bias: Tensor
    project_weight: Tensor
    project_scale: Tensor
    project_shift: Tensor
    depthwise: Sequence[Tensor]

    def find_sizes(self, *, stride: int, residual: bool) -> BlockSizes:
        """The sizes that follow from the tensors' shapes, and those that don't."""
        return BlockSizes(
            self.expand_weight.shape[1],
            tuple(w.shape[2] for w in self.depthwise),
            tuple(w.shape[0] for w in self.depthwise),
            self.project_weight.shape[0],
            self.squeeze_weight.shape[0],
            stride,
            residual,
        )

    @classmethod
    def from_flat(cls, tensors: Sequence[Tensor]) -> "BlockParameters":
        """The parameters whose `flat` these tensors are."""
        single = len(cls._fields) - 1
        return cls._make([*tensors[:single], tuple(tensors[single:])])

    @property
    def flat(self) -> tuple[Tensor, ...]:
        """All tensors, those of the depthwise convolution last."""
        return (*self[:-1], *self.depthwise)


class BlockStatistics(NamedTuple):
    """Running means and variances of the three batch norms: (E), (M) and (O)."""

    expand_mean: Tensor
    expand_variance: Tensor
    squeeze_mean: Tensor
    squeeze_variance: Tensor
    project_mean: Tensor
    project_variance: Tensor


class FoldedBlock(NamedTuple):
    """A mixed block for evaluation, its batch norms folded into the convolutions before them.

    Attributes:
        expand_weight: (E, I).
        expand_bias: (E).
        slope: (E).
        depthwise: For each kernel size k and its c channels (c, k, k).
        squeeze_weight: (M, E).
        squeeze_bias: (M).
        row_gate_weight: (E, M).
        row_gate_bias: (E).
        column_gate_weight: (E, M).
        column_gate_bias: (E).
        project_weight: (O, E).
        project_bias: (O).
    """

    expand_weight: Tensor
    expand_bias: Tensor
    slope: Tensor
    depthwise: tuple[Tensor, ...]
    squeeze_weight: Tensor
    squeeze_bias: Tensor
    row_gate_weight: Tensor
    row_gate_bias: Tensor
    column_gate_weight: Tensor
    column_gate_bias: Tensor
    project_weight: Tensor
    project_bias: Tensor


def list_block_shapes(sizes: BlockSizes) -> dict[str, tuple[int, ...]]:
    """The shape of each single tensor of `BlockParameters`, by name."""
    i, e, m, o = sizes.inputs, sizes.expanded, sizes.squeezed, sizes.outputs
    norms = {"expand": (e,), "squeeze": (m,), "project": (o,)}
    shapes: dict[str, tuple[int, ...]] = {
        "expand_weight": (e, i, 1, 1),
        "slope": (e,),
        "squeeze_weight": (m, e, 1, 1),
        "squeeze_bias": (m,),
        "row_gate_weight": (e, m, 1, 1),
        "row_gate_bias": (e,),
        "column_gate_weight": (e, m, 1, 1),
        "column_gate_bias": (e,),
        "project_weight": (o, e, 1, 1),
    }
    shapes |= {f"{name}_{part}": shape for name, shape in norms.items() for part in ("scale", "shift")}
    return {name: shapes[name] for name in BlockParameters._fields[:-1]}


def fold_block(parameters: BlockParameters, statistics: BlockStatistics, eps: float) -> FoldedBlock:
    """Folds the batch norms of a mixed block, in float64; `eps` is added to the variances."""
    p, s = parameters, statistics

    def wide(t: Tensor) -> Tensor:
        return t.detach().to(torch.float64).flatten(1) if t.dim() > 1 else t.detach().to(torch.float64)

    expand, expand_bias = fold_batch_norm(p.expand_weight, None, p.expand_scale, p.expand_shift, *s[0:2], eps)
    squeeze, squeeze_bias = fold_batch_norm(
        p.squeeze_weight, p.squeeze_bias, p.squeeze_scale, p.squeeze_shift, *s[2:4], eps
    )
    project, project_bias = fold_batch_norm(p.project_weight, None, p.project_scale, p.project_shift, *s[4:6], eps)
    return FoldedBlock(
        expand.flatten(1),
        expand_bias,
        wide(p.slope),
        tuple(w.detach().to(torch.float64).squeeze(1) for w in p.depthwise),
        squeeze.flatten(1),
        squeeze_bias,
        wide(p.row_gate_weight),
        wide(p.row_gate_bias),
        wide(p.column_gate_weight),
        wide(p.column_gate_bias),
        project.flatten(1),
        project_bias,
    )
