"""The operators: contracts, references, native implementations, registry."""

from abawkit.ops.attention import dual_direction_attention
from abawkit.ops.mixed_block import mixed_block, prepare_block
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics
from abawkit.ops.norm_prelu import norm_prelu
from abawkit.ops.norm_prelu_tensors import NormParameters, NormStatistics
from abawkit.ops.precision import use_bfloat16_products
from abawkit.ops.registry import use
from abawkit.ops.stem import stem
from abawkit.ops.stem_tensors import StemParameters, StemStatistics
from abawkit.ops.tensors import Gates, Parameters, Statistics, attention_mse

__all__ = [
    "BlockParameters",
    "BlockSizes",
    "BlockStatistics",
    "Gates",
    "NormParameters",
    "NormStatistics",
    "Parameters",
    "Statistics",
    "StemParameters",
    "StemStatistics",
    "attention_mse",
    "dual_direction_attention",
    "mixed_block",
    "norm_prelu",
    "prepare_block",
    "stem",
    "use",
    "use_bfloat16_products",
]
