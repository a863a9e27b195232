"""The operators that packages can implement."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from abawkit.execution import OPERATOR_GROUP
from abawkit.ops.base import (
    BlockImplementation,
    Call,
    Implementation,
    NormImplementation,
    OperatorImplementation,
    StemImplementation,
)
from abawkit.ops.mixed_block_check import compare_block
from abawkit.ops.mixed_block_tensors import BlockSizes
from abawkit.ops.norm_prelu_check import compare_norm
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.self_check import Comparison, compare_attention
from abawkit.ops.stem_check import compare_stem
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import CHECKED_BLOCKS, DDAMFN_SIZES


@dataclass(frozen=True)
class Operator:
    """An operator.

    Attributes:
        name: As `operator` of its sizes.
        title: For listings.
        group: The entry-point group of its implementations.
        kind: The class that its implementations derive from.
        sizes: The class of its sizes.
        checked: Sizes that ``abawkit ops check`` compares; the first are those of listings and benchmarks.
        images: Numbers of images that it compares.
        compare: Compares an implementation with the reference for one kind of call, for some numbers of images.
        trains: Whether it has calls in training.
    """

    name: str
    title: str
    group: str
    kind: type[OperatorImplementation]
    sizes: type[Any]
    checked: Sequence[Sizes | BlockSizes | NormSizes | StemSizes]
    images: Sequence[int]
    compare: Callable[[Any, Call, Sequence[int]], Iterator[Comparison]]
    trains: bool = True

    @property
    def modes(self) -> tuple[bool, ...]:
        """Whether a call is one in training: the values that there are."""
        return (False, True) if self.trains else (False,)


ATTENTION: Final = Operator(
    "dual_direction_attention",
    "Dual-direction attention",
    OPERATOR_GROUP,
    Implementation,
    Sizes,
    (
        DDAMFN_SIZES,
        # channels that are no multiple of a tile, and sizes without special code
        Sizes(channels=37, height=7, width=7, heads=2, squeezed=16),
        Sizes(channels=24, height=3, width=5, heads=2, squeezed=4),
        Sizes(channels=9, height=5, width=1, heads=3, squeezed=8),
    ),
    # not 2: a batch norm over two images has gradients of almost zero, whose relative error is only rounding
    (5, 16, 33),
    compare_attention,
)

MIXED_BLOCK: Final = Operator(
    "mixed_block",
    "Mixed block",
    f"{OPERATOR_GROUP}.mixed_block",
    BlockImplementation,
    BlockSizes,
    CHECKED_BLOCKS,
    (3,),
    compare_block,
)

NORM_PRELU: Final = Operator(
    "norm_prelu",
    "Batch norm and PReLU",
    f"{OPERATOR_GROUP}.norm_prelu",
    NormImplementation,
    NormSizes,
    # of the published network, of no multiple of 16, and of less than a vector
    tuple(map(NormSizes, (64, 37, 8, 1))),
    (5,),
    compare_norm,
)

STEM: Final = Operator(
    "stem",
    "Stem",
    f"{OPERATOR_GROUP}.stem",
    StemImplementation,
    StemSizes,
    # of the published network, of a small one, of no multiple of 16 with other kernels, and of one channel
    (StemSizes(3, 64), StemSizes(3, 8), StemSizes(2, 37, 5, 7, stride=1), StemSizes(1, 1, 1, 1)),
    (3,),
    compare_stem,
    trains=False,
)

OPERATORS: Final = {operator.name: operator for operator in (ATTENTION, MIXED_BLOCK, NORM_PRELU, STEM)}
"""By name; the attention first."""
