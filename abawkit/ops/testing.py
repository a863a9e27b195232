"""Random features and weights, for benchmarks and tests."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics, list_block_shapes
from abawkit.ops.norm_prelu_tensors import NormParameters, NormSizes, NormStatistics
from abawkit.ops.stem_tensors import StemParameters, StemSizes, StemStatistics
from abawkit.ops.tensors import Parameters, Sizes, Statistics, list_parameter_shapes

DDAMFN_SIZES: Final = Sizes(channels=512, height=7, width=7, heads=2, squeezed=16)
"""Sizes of the operator in the published network."""


CHECKED_BLOCKS: Final = (
    BlockSizes(128, (3, 5), (192, 64), 128, 8, residual=True),
    # channels that are no multiple of a tile, every kernel size, a stride, one channel
    BlockSizes(7, (3, 9), (5, 12), 11, 8, stride=2),
    BlockSizes(17, (1, 3, 5, 7, 9), (3, 17, 1, 4, 8), 17, 3, residual=True),
    BlockSizes(1, (5,), (1,), 1, 1),
)
"""Sizes of mixed blocks, first those of a block of the published network's fourth stage."""


class _Random:
    """Random float64 tensors from one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...], deviation: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64) * deviation

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, dtype=torch.float64) + 0.5

    def parameter(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("_scale"):
            return self.uniform(shape)
        if len(shape) == 1:
            return self.normal(shape, 0.1)
        summed = shape[2] if name in ("row_weight", "column_weight") else math.prod(shape[1:])
        return self.normal(shape, math.sqrt(2 / summed))


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
    random = _Random(seed)
    c, h, w, k, m = sizes
    values = {name: random.parameter(name, shape) for name, shape in list_parameter_shapes(sizes).items()}
    counts = {"row": k * c, "column": k * c, "squeeze": k * m, "pool": c}
    running = [t for n in counts.values() for t in (random.normal((n,), 0.1), random.uniform((n,)))]
    features = random.normal((images, c, h, w)).to(device, dtype).requires_grad_(gradients)
    wide = weights_dtype or dtype
    return Inputs(
        features,
        Parameters(**{name: value.to(device, wide).requires_grad_(gradients) for name, value in values.items()}),
        Statistics(*(value.to(device, wide) for value in running)),
    )


class BlockInputs(NamedTuple):
    """Tensors for `abawkit.ops.mixed_block`: x (N, inputs, H, W), parameters and running statistics that fit them."""

    x: Tensor
    parameters: BlockParameters
    statistics: BlockStatistics


def make_random_block(
    images: int,
    sizes: BlockSizes,
    side: tuple[int, int] = (14, 14),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> BlockInputs:
    """Random inputs of a mixed block; one seed gives the same numbers for every type and device, rounded to the type.

    Args:
        images: N.
        sizes: Of the block.
        side: H and W.
        seed: Of the numbers.
        dtype: Of all tensors.
        device: Of all tensors.
    """
    random = _Random(seed)
    values = [random.parameter(name, shape) for name, shape in list_block_shapes(sizes).items()]
    pairs = zip(sizes.kernels, sizes.channels, strict=True)
    values += [random.parameter("depthwise", (channels, 1, kernel, kernel)) for kernel, channels in pairs]
    counts = sizes.expanded, sizes.squeezed, sizes.outputs
    running = [t for n in counts for t in (random.normal((n,), 0.1), random.uniform((n,)))]
    x, *rest = (t.to(device, dtype) for t in (random.normal((images, sizes.inputs, *side)), *values, *running))
    return BlockInputs(x, BlockParameters.from_flat(rest[:-6]), BlockStatistics(*rest[-6:]))


class NormInputs(NamedTuple):
    """Tensors for `abawkit.ops.norm_prelu`: x (N, C, H, W), parameters and running statistics that fit them."""

    x: Tensor
    parameters: NormParameters
    statistics: NormStatistics

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "NormInputs":
        """The same in another type, on another device."""
        x, parameters, statistics = self
        return NormInputs(
            x.to(device, dtype),
            NormParameters(*(p.to(device, dtype) for p in parameters)),
            NormStatistics(*(s.to(device, dtype) for s in statistics)),
        )


def make_random_norm(
    images: int,
    sizes: NormSizes,
    side: tuple[int, int] = (14, 14),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> NormInputs:
    """Random inputs of norm_prelu on the CPU; one seed gives the same numbers for every type, rounded to the type.

    Args:
        images: N.
        sizes: Of the operator.
        side: H and W.
        seed: Of the numbers.
        dtype: Of all tensors.
    """
    random, shape = _Random(seed), (sizes.channels,)
    x = random.normal((images, sizes.channels, *side)) + 0.5
    parameters = NormParameters(random.uniform(shape), random.normal(shape, 0.3), random.normal(shape, 0.3) + 0.25)
    statistics = NormStatistics(random.normal(shape, 0.1), random.uniform(shape))
    return NormInputs(x, parameters, statistics).to(dtype)


class StemInputs(NamedTuple):
    """Tensors for `abawkit.ops.stem`: x (N, inputs, H, W), parameters and running statistics that fit them."""

    x: Tensor
    parameters: StemParameters
    statistics: StemStatistics

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "StemInputs":
        """The same in another type, on another device."""
        x, parameters, statistics = self
        return StemInputs(
            x.to(device, dtype),
            StemParameters(*(p.to(device, dtype) for p in parameters)),
            StemStatistics(*(s.to(device, dtype) for s in statistics)),
        )


def make_random_stem(
    images: int,
    sizes: StemSizes,
    side: tuple[int, int] = (28, 28),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> StemInputs:
    """Random inputs of a stem on the CPU; one seed gives the same numbers for every type, rounded to the type.

    Args:
        images: N.
        sizes: Of the stem.
        side: H and W.
        seed: Of the numbers.
        dtype: Of all tensors.
    """
    random, shape = _Random(seed), (sizes.channels,)
    kernels = (sizes.inputs, sizes.kernel, sizes.kernel), (1, sizes.depthwise, sizes.depthwise)
    tensors = [
        t
        for kernel in kernels
        for t in (
            random.parameter("weight", shape + kernel),
            random.uniform(shape),
            random.normal(shape, 0.3),
            random.normal(shape, 0.3) + 0.25,
        )
    ]
    running = [t for _ in kernels for t in (random.normal(shape, 0.1), random.uniform(shape))]
    x = random.normal((images, sizes.inputs, *side))
    return StemInputs(x, StemParameters(*tensors), StemStatistics(*running)).to(dtype)
