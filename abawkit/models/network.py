"""DDAMFN with three heads: one network that estimates valence and arousal, the expression and the action units.

Source: the network, Zhang et al., Electronics 12(17) 3595 (2023); its three heads, https://arxiv.org/abs/2407.12390.
"""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, Task
from abawkit.models.attention import DualDirectionAttention
from abawkit.models.config import NetworkConfig, StageConfig
from abawkit.models.layers import ConvBlock, MixedBlock, Stem
from abawkit.ops import Gates

OUTPUTS: Final[dict[Task, int]] = {"va": len(DIMENSIONS), "expression": len(EXPRESSIONS), "au": len(ACTION_UNITS)}
"""Numbers that each task's head returns for a frame."""

HEADS: Final = "heads."
"""Prefix of the parameters of the three heads."""

EMBEDDING_LENGTH: Final = 1.7
"""Length of the embedding of a new network, as the square root of its mean squared norm over a batch.

Adam moves every weight of a head by about the learning rate, and a logit by that times the sum of the features' sizes:
with 128 features of deviation 1 and a rate of 4e-3 by 0.4 a step. The heads then jump about, and the gradient that they
pass on is mostly noise. Shorter embeddings move logits less at the same rate.
"""

ATTENTION: Final = "attention."
"""Prefix of the parameters of the attention and of the convolution after it."""


class Outputs(NamedTuple):
    """The outputs of the network for N frames.

    Attributes:
        va: Valence and arousal (N, 2), in -1..1.
        expression: Logits (N, 8) of `labels.EXPRESSIONS`.
        au: Logits (N, 12) of `labels.ACTION_UNITS`.
        gates: Gates of the attention heads, or None where they were not requested.
    """

    va: Tensor
    expression: Tensor
    au: Tensor
    gates: Gates | None


def _make_stage(inputs: int, config: StageConfig) -> nn.Sequential:
    return nn.Sequential(
        MixedBlock(inputs, config.width, config.entry, stride=2),
        *(MixedBlock(config.width, config.width, config.residual, residual=True) for _ in range(config.depth)),
    )


class DDAMFN(nn.Module):
    """Dual-direction attention mixed feature network.

    Input is RGB (N, 3, S, S), normalised, S = `config.resolution`; any floating type and memory format.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.stem, *(stage.width for stage in config.stages)]
        self.stem = Stem(config.stem)
        self.stages = nn.Sequential(*(_make_stage(w, stage) for w, stage in zip(widths, config.stages, strict=False)))
        self.last = ConvBlock(widths[-1], config.embedding)
        size = config.feature_size
        self.attention = DualDirectionAttention(config.embedding, size, size, config.attention_heads)
        self.heads = nn.ModuleDict({task: nn.Linear(config.embedding, outputs) for task, outputs in OUTPUTS.items()})
        self.reset_parameters()

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) -> features (N, embedding, `config.feature_size`, `config.feature_size`).

        Raises:
            ValueError: If the images are of another size than `config.resolution`.
        """
        side = self.config.resolution
        if images.shape[1:] != (3, side, side):
            raise ValueError(f"got images {tuple(images.shape)}, expected (N, 3, {side}, {side})")
        features: Tensor = self.last(self.stages(self.stem(images)))
        return features

    def embed(self, images: Tensor, *, gates: bool = True) -> tuple[Tensor, Gates | None]:
        """Images (N, 3, S, S) -> embedding (N, embedding), and the gates of the attention, or None."""
        embedding, found = self.attention(self.features(images), gates=gates)
        return embedding, found

    def classify(self, embedding: Tensor, gates: Gates | None = None) -> Outputs:
        """Applies the heads to embeddings (N, embedding); `gates` are passed on."""
        return Outputs(
            va=self.heads["va"](embedding).tanh(),
            expression=self.heads["expression"](embedding),
            au=self.heads["au"](embedding),
            gates=gates,
        )

    def forward(self, images: Tensor, *, gates: bool = True) -> Outputs:
        """Estimates all three tasks for images (N, 3, S, S); `gates` are needed for the attention loss."""
        return self.classify(*self.embed(images, gates=gates))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the three heads."""
        return self.heads.parameters()

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters but those of the three heads."""
        return (p for name, p in self.named_parameters() if not name.startswith(HEADS))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialises all weights for training from scratch, from torch's random state.

        Convolutions: normal with variance 2 / fan-in. The convolutions that make gates too, as the attention loss
        divides by the distance of the heads, which must not start near zero. Batch norms 1 and 0, but 0 for the last
        one of each residual block, which thereby starts as the identity, and what gives the embedding its
        `EMBEDDING_LENGTH` for the one before the heads. PReLU 0.25. Heads: normal with deviation 0.01, so that
        expressions and action units start at equal odds, and VA at 0. Biases 0.

        Source: He et al., https://arxiv.org/abs/1502.01852; zero scale in residual blocks, Goyal et al.,
        https://arxiv.org/abs/1706.02677, section 5.1.
        """
        if next(self.parameters()).is_meta:  # shapes alone, for which torch would import all that compiles
            return
        for module in self.modules():
            match module:
                case nn.Conv1d() | nn.Conv2d():
                    nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
                case nn.BatchNorm1d() | nn.BatchNorm2d():
                    module.reset_parameters()
                case nn.PReLU():
                    nn.init.constant_(module.weight, 0.25)
                case DualDirectionAttention():
                    for weight in (module.row_weight, module.column_weight, module.pool_weight):
                        nn.init.normal_(weight, std=math.sqrt(2 / weight[0, 0].numel()))
                case nn.Linear():
                    nn.init.normal_(module.weight, std=0.01)
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, MixedBlock) and module.residual:
                nn.init.zeros_(module.project.norm.weight)
        nn.init.constant_(self.attention.pool_norm.weight, EMBEDDING_LENGTH / math.sqrt(self.config.embedding))
