"""The configuration of a sequence network: its features, its kind, widths and depths."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from abawkit.errors import ConfigError, printable
from abawkit.models.config import Kernel, NetworkConfig, Width, describe_config_errors, name_network

SEQUENCE: Final = "sequence"
"""The name of all sequence networks in a recipe."""

SequenceKind = Literal["frame", "tcn", "lstm", "bigru", "transformer"]


class FeatureInput(NamedTuple):
    """The features of one store.

    Attributes:
        dimension: Numbers in a row.
        source: What the features are of, as their store identifies it; empty where it does not know.
    """

    dimension: Annotated[int, Field(strict=True, ge=1, le=1 << 20)]
    source: Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SequenceConfig:
    """The arguments of a `SequenceNetwork`; the constructor raises pydantic's ValidationError for wrong values.

    Attributes:
        kind: ``frame`` (sees one frame alone), ``tcn`` (dilated convolutions over time), ``lstm`` (sees earlier
            frames), ``bigru`` (earlier and later ones) or ``transformer`` (attention to frames near in the video).
        inputs: The features of a frame, side by side.
        width: Channels of the hidden layers; even for ``bigru``, a multiple of `heads` for ``transformer``.
        layers: Number of hidden layers after the projection; the dilation of ``tcn`` doubles with each.
        kernel: Frames that a convolution of ``tcn`` sees, odd.
        heads: Attention heads of ``transformer``.
        reach: Frames before and after a frame that a layer of ``transformer`` attends to.
        context: Frames before and after a window that predictions of ``lstm`` and ``bigru`` read and don't keep.
        dropout: Share of the hidden channels that are set to 0 in training, in steps of 1/256.
    """

    kind: SequenceKind
    inputs: Annotated[tuple[FeatureInput, ...], Field(min_length=1, max_length=32)]
    width: Width
    layers: Annotated[int, Field(strict=True, ge=1, le=16)]
    kernel: Kernel
    heads: Annotated[int, Field(strict=True, ge=1, le=64)]
    reach: Annotated[int, Field(strict=True, ge=1, le=4096)]
    context: Annotated[int, Field(strict=True, ge=0, le=65_536)]
    dropout: Annotated[float, Field(ge=0, le=0.99, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "bigru" and self.width % 2:
            raise ValueError(f"width: got {self.width}, expected an even number, as half of it is of each direction")
        if self.kind == "transformer" and self.width % self.heads:
            raise ValueError(f"width: got {self.width}, expected a multiple of heads, which is {self.heads}")
        return self

    @property
    def dimension(self) -> int:
        """Numbers in the features of a frame."""
        return sum(each.dimension for each in self.inputs)

    @property
    def margins(self) -> tuple[int, int]:
        """Frames before and after a frame that its prediction depends on; of ``lstm`` and ``bigru``, `context`."""
        match self.kind:
            case "frame":
                return 0, 0
            case "tcn":
                reach = self.kernel // 2 * (2**self.layers - 1)
            case "transformer":
                reach = self.layers * self.reach
            case "lstm":
                return self.context, 0
            case "bigru":
                reach = self.context
        return reach, reach

    def to_dict(self) -> dict[str, Any]:
        """The configuration as numbers, text, lists and dicts, for JSON and `parse_config`."""
        return asdict(self)


AnyConfig: TypeAlias = NetworkConfig | SequenceConfig


def parse_config(arguments: Mapping[str, Any]) -> AnyConfig:
    """Reads the configuration of any network, as `to_dict` wrote it.

    Raises:
        ConfigError: If a key is unknown or missing, or a value is of the wrong type or out of range; every such key is
            named.
    """
    if "kind" not in arguments:
        return NetworkConfig.from_dict(arguments)
    try:
        return TypeAdapter(SequenceConfig).validate_python(dict(arguments))
    except ValidationError as error:
        lines = "\n".join(printable(line) for line in describe_config_errors(error))
        raise ConfigError(f"not the configuration of a sequence network:\n{lines}") from error


def name_any_network(config: AnyConfig) -> str:
    """The name of a network, for messages."""
    return f"{SEQUENCE} ({config.kind})" if isinstance(config, SequenceConfig) else name_network(config)
