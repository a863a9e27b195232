"""The attention layer, whose computation is `abawkit.ops`, and the implementations that serve a network."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from abawkit.models.config import NetworkConfig
from abawkit.models.devices import Precision
from abawkit.models.layers import FoldingModule, squeeze_width
from abawkit.ops import Gates, Parameters, Statistics, dual_direction_attention
from abawkit.ops.base import Call
from abawkit.ops.mixed_block_tensors import BlockSizes
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.registry import find_implementation
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.tensors import Sizes


class DualDirectionAttention(FoldingModule):
    """K attention heads, their maximum, its product with the features, and a global depthwise convolution (GDConv).

    Parameters of all heads lie in one tensor, head after head, so that one operator serves any number of heads.

    Attributes:
        row_weight: (K, C, W): sums a row of the features to one number.
        column_weight: (K, C, H): sums a column.
        pool_weight: (C, H, W): the global depthwise convolution.
    """

    def __init__(self, channels: int, height: int, width: int, heads: int) -> None:
        super().__init__()
        inner = squeeze_width(channels)
        self.row_weight = nn.Parameter(torch.empty(heads, channels, width))
        self.column_weight = nn.Parameter(torch.empty(heads, channels, height))
        self.row_norm = nn.BatchNorm1d(heads * channels)
        self.column_norm = nn.BatchNorm1d(heads * channels)
        self.squeeze = nn.Conv1d(heads * channels, heads * inner, 1, groups=heads)
        self.squeeze_norm = nn.BatchNorm1d(heads * inner)
        self.row_gate = nn.Conv1d(heads * inner, heads * channels, 1, groups=heads)
        self.column_gate = nn.Conv1d(heads * inner, heads * channels, 1, groups=heads)
        self.pool_weight = nn.Parameter(torch.empty(channels, height, width))
        self.pool_norm = nn.BatchNorm1d(channels)

    def operands(self) -> tuple[Parameters, Statistics]:
        """The tensors that `abawkit.ops.dual_direction_attention` takes beside the features; not copies."""
        # Straight from the modules' own dictionaries: attribute access would cost a tenth of the operator.
        own, modules = self._parameters, self._modules
        row, column, inner, pool = (modules[f"{name}_norm"] for name in ("row", "column", "squeeze", "pool"))
        squeeze, row_gate, column_gate = (modules[name] for name in ("squeeze", "row_gate", "column_gate"))
        p = [m._parameters for m in (row, column, squeeze, inner, row_gate, column_gate, pool) if m is not None]
        pairs = [t for part in p for t in (part["weight"], part["bias"])]
        tensors = (own["row_weight"], own["column_weight"], *pairs[:-2], own["pool_weight"], *pairs[-2:])
        b = [m._buffers for m in (row, column, inner, pool) if m is not None]
        buffers = [t for part in b for t in (part["running_mean"], part["running_var"])]
        return Parameters(*tensors), Statistics(*buffers)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *, gates: bool = True) -> tuple[Tensor, Gates | None]:
        """Features (N, C, H, W) -> embedding (N, C), and the gates or None; see `dual_direction_attention`."""
        parameters, statistics = self.operands()
        norm = self.pool_norm
        tracked = norm.track_running_stats
        embedding, found = dual_direction_attention(
            x,
            parameters,
            statistics if tracked or not self.training else None,
            training=self.training,
            momentum=norm.momentum or 0.0,
            eps=norm.eps,
            gates=gates,
            cache=self._folded,
        )
        if self.training and tracked:
            for each in (self.row_norm, self.column_norm, self.squeeze_norm, norm):
                if each.num_batches_tracked is not None:
                    each.num_batches_tracked.add_(1)
        return embedding, found


def make_attention_call(config: NetworkConfig, device: torch.device, precision: Precision, *, training: bool) -> Call:
    """The kind of call that a network makes; it needs gradients in training only.

    Args:
        config: Of the network.
        device: Of the network.
        precision: What it computes with; see `abawkit.models.devices.use_bfloat16`.
        training: Whether the network is in training mode.
    """
    size = config.feature_size
    sizes = Sizes(config.embedding, size, size, config.attention_heads, squeeze_width(config.embedding))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    dtype = torch.float32 if _are_products_rounded(device, precision) else getattr(torch, precision)
    return Call(device, dtype, sizes, training=training, gradients=training)


def _are_products_rounded(device: torch.device, precision: Precision) -> bool:
    """Whether mixed blocks round the factors of their products, and tensors stay float32."""
    return (device.type, precision) == ("cpu", "bfloat16")


def list_convolution_calls(
    config: NetworkConfig, device: torch.device, precision: Precision, *, training: bool
) -> list[Call]:
    """The calls of the mixed block that a network makes; of norm_prelu in training, of the stem in evaluation.

    Arguments as of `make_attention_call`.
    """
    attention = make_attention_call(config, device, precision, training=training)
    sizes: list[BlockSizes | NormSizes | StemSizes] = []
    for inputs, stage in zip((config.stem, *(s.width for s in config.stages)), config.stages, strict=False):
        for first, splits, own in ((True, stage.entry, inputs), (False, stage.residual, stage.width)):
            kernels, channels = zip(*splits, strict=True)
            squeezed, stride = squeeze_width(sum(channels)), 2 if first else 1
            if first or stage.depth:
                sizes.append(BlockSizes(own, kernels, channels, stage.width, squeezed, stride, residual=not first))
    sizes += [NormSizes(config.stem), NormSizes(config.embedding)] if training else [StemSizes(3, config.stem)]
    rounded = _are_products_rounded(device, precision)
    return [attention._replace(sizes=s, bfloat16_products=rounded and isinstance(s, BlockSizes)) for s in sizes]


def list_evaluation_calls(config: NetworkConfig, device: torch.device, precision: Precision) -> list[Call]:
    """The calls that a network makes in evaluation without gradients: of the attention, its mixed blocks, its stem."""
    attention = make_attention_call(config, device, precision, training=False)
    return [attention, *list_convolution_calls(config, device, precision, training=False)]


def describe_operators(calls: Iterable[Call]) -> dict[str, str]:
    """The implementation that serves calls, by operator; several as ``native in evaluation, reference in training``.

    Raises:
        OpUnavailableError: If one was requested by name and can't serve one of the calls.
    """
    served: dict[str, dict[str, list[str]]] = {}
    for call in calls:
        mode = "training" if call.training else "evaluation"
        names = served.setdefault(call.sizes.operator, {})
        modes = names.setdefault(find_implementation(call).name, [])
        modes += [] if mode in modes else [mode]
    return {operator: _join_modes(names) for operator, names in served.items()}


def _join_modes(names: dict[str, list[str]]) -> str:
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{name} in {' and '.join(modes)}" for name, modes in sorted(names.items()))
