"""Operators: contracts, references in plain PyTorch, and a registry of implementations."""

from abawkit.ops.attention import dual_direction_attention
from abawkit.ops.gates import Gates, attention_mse
from abawkit.ops.parameters import Parameters, Statistics
from abawkit.ops.registry import use

__all__ = ["Gates", "Parameters", "Statistics", "attention_mse", "dual_direction_attention", "use"]
