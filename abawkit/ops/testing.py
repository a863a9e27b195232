"""Random features and weights, for benchmarks and tests."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.ops.tensors import Parameters, Sizes, Statistics, list_parameter_shapes

DDAMFN_SIZES: Final = Sizes(channels=512, height=7, width=7, heads=2, squeezed=16)
"""Sizes of the operator in the published network."""


class Inputs(NamedTuple):
    """Tensors for `abawkit.ops.dual_direction_attention`.

    Attributes:
        features: (N, C, H, W).
        parameters: As of a plausible trained network.
        statistics: Running statistics that fit them.
    """

    features: Tensor
    parameters: Parameters
    statistics: Statistics


def make_random_inputs(
    images: int = 3,
    sizes: Sizes = DDAMFN_SIZES,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    gradients: bool = False,
    weights_dtype: torch.dtype | None = None,
) -> Inputs:
    """Random inputs; one seed gives the same numbers for every type and device, rounded to the type.

    Args:
        images: N.
        sizes: Of the operator.
        seed: Of the numbers.
        dtype: Of the features.
        device: Of all tensors.
        gradients: Whether features and parameters require gradients.
        weights_dtype: Of parameters and statistics; by default that of the features.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...], deviation: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * deviation

    def uniform(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5

    def parameter(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("_scale"):
            return uniform(shape)
        if len(shape) == 1:
            return normal(shape, 0.1)
        summed = shape[2] if name in ("row_weight", "column_weight") else math.prod(shape[1:])
        return normal(shape, math.sqrt(2 / summed))

    c, h, w, k, m = sizes
    values = {name: parameter(name, shape) for name, shape in list_parameter_shapes(sizes).items()}
    counts = {"row": k * c, "column": k * c, "squeeze": k * m, "pool": c}
    running = [t for n in counts.values() for t in (normal((n,), 0.1), uniform((n,)))]
    features = normal((images, c, h, w)).to(device, dtype).requires_grad_(gradients)
    wide = weights_dtype or dtype
    return Inputs(
        features,
        Parameters(**{name: value.to(device, wide).requires_grad_(gradients) for name, value in values.items()}),
        Statistics(*(value.to(device, wide) for value in running)),
    )
