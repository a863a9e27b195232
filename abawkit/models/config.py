"""The configuration of a network: widths, depths, kernel sizes, attention heads.

It is stored with every set of weights, so that a file of weights is enough to build its network.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from abawkit.errors import ConfigError, printable


def _check_odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("a kernel size must be odd")
    return kernel


Width = Annotated[int, Field(strict=True, ge=1, le=8192)]
Kernel = Annotated[int, Field(strict=True, ge=1, le=31), AfterValidator(_check_odd)]


class Split(NamedTuple):
    """A part of a mixed depthwise convolution.

    Attributes:
        kernel: Side of the square kernel, odd.
        channels: How many channels are convolved with it.
    """

    kernel: Kernel
    channels: Width


Splits = Annotated[tuple[Split, ...], Field(min_length=1, max_length=8)]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class StageConfig:
    """A mixed block that halves the resolution, then residual mixed blocks that keep it.

    The width to which a block expands its input is the sum of its splits' channels.

    Attributes:
        width: Channels that the stage returns.
        entry: Depthwise splits of the block with stride 2.
        depth: Number of residual blocks after it.
        residual: Depthwise splits of each residual block.
    """

    width: Width
    entry: Splits
    depth: Annotated[int, Field(strict=True, ge=0, le=256)]
    residual: Splits


@dataclass(frozen=True, config=_STRICT)
class NetworkConfig:
    """The arguments of a DDAMFN; the constructor raises pydantic's ValidationError for wrong values.

    Attributes:
        stem: Channels of the two convolutions that precede the stages; the first has stride 2.
        stages: The mixed feature network, in order.
        embedding: Channels of the features that the attention sees, and length of the embedding.
        attention_heads: Number of dual-direction attention heads.
        resolution: Side of the square input, in pixels, and the only size that the network takes.
    """

    stem: Width
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1, max_length=8)]
    embedding: Width
    attention_heads: Annotated[int, Field(strict=True, ge=1, le=16)]
    resolution: Annotated[int, Field(strict=True, ge=8, le=1024)]

    @property
    def feature_size(self) -> int:
        """Side of the square features before the attention, in positions."""
        size = self.resolution
        for _ in range(1 + len(self.stages)):
            size = (size + 1) // 2
        return size

    def to_dict(self) -> dict[str, Any]:
        """The configuration as numbers, lists and dicts, for JSON and `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any]) -> Self:
        """Reads a configuration that `to_dict` wrote.

        Raises:
            ConfigError: If a key is unknown or missing, or a value is of the wrong type or out of range; every such
                key is named.
        """
        try:
            return TypeAdapter(cls).validate_python(dict(arguments))
        except ValidationError as error:
            raise ConfigError(
                "not a network configuration:\n"
                + "\n".join(printable(line) for line in describe_config_errors(error))
                + f"\nname one of {', '.join(NETWORKS)}, or give all of {', '.join(cls.__annotations__)}"
            ) from error


_DDAMFN: Final = NetworkConfig(
    stem=64,
    stages=(
        StageConfig(
            width=64,
            entry=(Split(3, 64), Split(5, 32), Split(7, 32)),
            depth=9,
            residual=(Split(3, 96), Split(5, 32)),
        ),
        StageConfig(
            width=128,
            entry=(Split(3, 128), Split(5, 64), Split(7, 64)),
            depth=16,
            residual=(Split(3, 192), Split(5, 64)),
        ),
        StageConfig(
            width=256,
            entry=(Split(3, 256), Split(5, 256), Split(7, 256), Split(9, 256)),
            depth=6,
            residual=(Split(3, 172), Split(5, 170), Split(7, 170)),
        ),
    ),
    embedding=512,
    attention_heads=2,
    resolution=112,
)

NETWORKS: Final[Mapping[str, NetworkConfig]] = {
    "ddamfn": _DDAMFN,
    "ddamfn-1-head": replace(_DDAMFN, attention_heads=1),
    "ddamfn-3-heads": replace(_DDAMFN, attention_heads=3),
    "ddamfn-4-heads": replace(_DDAMFN, attention_heads=4),
    "ddamfn-nano": NetworkConfig(
        stem=8,
        stages=(
            StageConfig(width=16, entry=(Split(3, 8), Split(5, 8)), depth=1, residual=(Split(3, 8), Split(5, 8))),
            StageConfig(width=32, entry=(Split(3, 16), Split(5, 16)), depth=1, residual=(Split(3, 24), Split(5, 8))),
            StageConfig(width=64, entry=(Split(3, 48), Split(5, 16)), depth=1, residual=(Split(3, 96), Split(5, 32))),
        ),
        embedding=128,
        attention_heads=2,
        resolution=112,
    ),
}
"""Networks by name: `ddamfn` as published, with its two attention heads or another number, and `ddamfn-nano`, the same
structure made for training on a CPU.

Source: widths, depths and kernel sizes of `ddamfn` are those of Zhang et al., Electronics 12(17) 3595 (2023),
and of its published code.
"""


def describe_config_errors(error: ValidationError) -> list[str]:
    """A line for each key of a configuration that is unknown, missing or has a wrong value."""
    return [
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" + ("" if e["type"] == "missing" else f", got {e['input']!r:.60}")
        for e in error.errors()
    ]


def name_network(config: NetworkConfig) -> str:
    """The name of a network in `NETWORKS`, or a phrase where it has none."""
    return next((name for name, known in NETWORKS.items() if known == config), "a network without a name")
