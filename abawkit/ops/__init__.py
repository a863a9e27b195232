"""The operators dual-direction attention and mixed block: contracts, references, native implementations, registry."""

from abawkit.ops.attention import dual_direction_attention
from abawkit.ops.mixed_block import mixed_block
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics
from abawkit.ops.registry import use
from abawkit.ops.tensors import Gates, Parameters, Statistics, attention_mse

__all__ = [
    "BlockParameters",
    "BlockSizes",
    "BlockStatistics",
    "Gates",
    "Parameters",
    "Statistics",
    "attention_mse",
    "dual_direction_attention",
    "mixed_block",
    "use",
]
