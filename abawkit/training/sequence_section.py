"""The section of a recipe for sequence networks."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from abawkit.models.sequence_config import FeatureInput, SequenceConfig, SequenceKind


class SequenceSection(BaseModel):
    """A sequence network over features; only for ``network = "sequence"``.

    Attributes:
        kind: ``frame`` (sees one frame alone), ``tcn`` (dilated convolutions over time), ``lstm`` (sees earlier
            frames), ``bigru`` (earlier and later ones) or ``transformer`` (attention to frames near in the video).
        width: Channels of the hidden layers; even for ``bigru``, a multiple of `heads` for ``transformer``.
        layers: Hidden layers after the projection, 1 to 16; the dilation of ``tcn`` doubles with each.
        kernel: Frames that a convolution of ``tcn`` sees, odd.
        heads: Attention heads of ``transformer``.
        reach: Frames before and after a frame that a layer of ``transformer`` attends to.
        dropout: Share of the hidden channels that are set to 0 in training, in steps of 1/256.
        window: Frames of a training window, at most `batch_size`; windows of ``frame`` have one.
        context: Frames before and after a window that predictions of ``lstm`` and ``bigru`` read, so that the
            network has seen the past, and do not keep.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: SequenceKind = "bigru"
    width: Annotated[int, Field(ge=1, le=8192)] = 128
    layers: Annotated[int, Field(ge=1, le=16)] = 1
    kernel: Annotated[int, Field(ge=1, le=31)] = 5
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    reach: Annotated[int, Field(ge=1, le=4096)] = 32
    dropout: Annotated[float, Field(ge=0, le=0.99)] = 0.2
    window: Annotated[int, Field(ge=1, le=65_536)] = 64
    context: Annotated[int, Field(ge=0, le=65_536)] = 64

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            self.make_config([FeatureInput(1, "")])
        except ValidationError as error:
            raise ValueError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from error
        return self

    @property
    def training_window(self) -> int:
        """Frames of a training window."""
        return 1 if self.kind == "frame" else self.window

    def make_config(self, inputs: Sequence[FeatureInput]) -> SequenceConfig:
        """The configuration of the network for these features."""
        return SequenceConfig(
            kind=self.kind,
            inputs=tuple(inputs),
            width=self.width,
            layers=self.layers,
            kernel=self.kernel,
            heads=self.heads,
            reach=self.reach,
            context=self.context,
            dropout=self.dropout,
        )
