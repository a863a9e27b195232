"""The operator dual-direction attention: its contract, reference, native implementation and registry."""

from abawkit.ops.attention import dual_direction_attention
from abawkit.ops.registry import use
from abawkit.ops.tensors import Gates, Parameters, Statistics, attention_mse

__all__ = ["Gates", "Parameters", "Statistics", "attention_mse", "dual_direction_attention", "use"]
