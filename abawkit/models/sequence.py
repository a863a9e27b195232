"""Sequence networks: heads for the three tasks over the features of a video's frames."""

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abawkit.models.network import DDAMFN, HEADS, OUTPUTS, Outputs
from abawkit.models.sequence_config import AnyConfig, SequenceConfig

_BUCKETS = 64
"""Distances between frames that attention tells apart: half of them backwards, finer for near frames."""


class Windows(NamedTuple):
    """B windows of at most L consecutive frames of a video, and N rows to answer.

    Attributes:
        values: Features (B, L, D); any finite number where a window is shorter.
        gaps: Distance of each frame to the one before it in the video, in frame numbers, (B, L), at most `MAX_GAP`; 0
            for the first frame of a video.
        mask: True for frames, False behind the end of a window, bool (B, L).
        rows: For each row its frame, as an index into the B * L positions, int64 (N,).
    """

    values: Tensor
    gaps: Tensor
    mask: Tensor
    rows: Tensor


MAX_GAP = 10_000
"""The largest distance between frames that networks tell apart; sums of them are exact in float32."""


class SequenceNetwork(nn.Module):
    """Normalised features, one projection, layers over time, and heads as those of `DDAMFN`.

    In evaluation, the outputs for a frame do not depend on what is behind the end of its window, nor on other windows.
    """

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config = config
        self.normalise = Normalisation(config.dimension)
        self.project = nn.Linear(config.dimension, config.width)
        self.distance = nn.Linear(1, config.width, bias=False) if config.kind != "frame" else None
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(_make_layer(config, number) for number in range(config.layers))
        self.heads = nn.ModuleDict({task: nn.Linear(config.width, outputs) for task, outputs in OUTPUTS.items()})
        self.reset_parameters()

    def encode(self, windows: Windows) -> Tensor:
        """The hidden channels of each frame, (B, L, width)."""
        hidden = self.project(self.normalise(windows.values))
        if self.distance is not None:
            hidden = hidden + self.distance(windows.gaps.to(hidden.dtype).log1p().unsqueeze(2))
        hidden = self.dropout(F.relu(self.norm(hidden)))
        for layer in self.layers:
            hidden = hidden + self.dropout(layer(hidden, windows))
        encoded: Tensor = hidden
        return encoded

    def forward(self, windows: Windows, *, gates: bool = False) -> Outputs:  # noqa: ARG002 - as DDAMFN's
        """Estimates all three tasks for the N rows; there is no attention whose gates could be returned."""
        embedding = self.encode(windows).flatten(0, 1).index_select(0, windows.rows)
        return Outputs(
            va=self.heads["va"](embedding).tanh(),
            expression=self.heads["expression"](embedding),
            au=self.heads["au"](embedding),
            gates=None,
        )

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the three heads."""
        return self.heads.parameters()

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters but those of the three heads."""
        return (p for name, p in self.named_parameters() if not name.startswith(HEADS))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialises all weights from torch's random state.

        Linear layers: normal with variance 1 / fan-in, biases 0. Recurrent layers: as torch does. Heads: normal with
        deviation 0.01, so that expressions and action units start at equal odds, and VA at 0. Attention starts without
        regard to distance.
        """
        if next(self.parameters()).is_meta:  # shapes alone, for which torch would import all that compiles
            return
        for name, module in self.named_modules():
            match module:
                case nn.Linear():
                    deviation = 0.01 if name.startswith(HEADS) else 1 / math.sqrt(module.in_features)
                    nn.init.normal_(module.weight, std=deviation)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
                case nn.LayerNorm() | nn.GRU() | nn.LSTM():
                    module.reset_parameters()
                case nn.Embedding():
                    nn.init.zeros_(module.weight)


AnyNetwork: TypeAlias = DDAMFN | SequenceNetwork


def build_network(config: AnyConfig) -> AnyNetwork:
    """A network with random weights."""
    return SequenceNetwork(config) if isinstance(config, SequenceConfig) else DDAMFN(config)


class Normalisation(nn.Module):
    """Features minus their mean over the training rows, divided by their deviation there."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("deviation", torch.ones(dimension))

    def forward(self, values: Tensor) -> Tensor:
        """Features (..., D) -> (..., D)."""
        return (values - self.mean).mul_(self.deviation.reciprocal())


class Dropout(nn.Module):
    """Sets a share of all numbers to 0 in training, in steps of 1/256, and scales the others up.

    Each byte of a random word decides on a number: torch's own dropout takes a word for each, and on a CPU that takes
    as long as the products of a small network.

    Attributes:
        dropped: The share, in 1/256.
        part: Where several processes share a batch: the first of this one's windows, and the windows of all. Each
            process draws for all of them, so that the number of processes changes nothing. None for one process.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * 256)
        self.part: tuple[int, int] | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Windows first, (B, ...); from torch's random state."""
        if not self.training or not self.dropped:
            return values
        first, windows = self.part or (0, len(values))
        size = values.numel() // len(values)
        words = torch.empty(-(-windows * size // 8), dtype=torch.int64, device=values.device)
        bits = words.random_(torch.iinfo(torch.int64).min, None).view(torch.uint8)[first * size :][: values.numel()]
        kept = (bits >= self.dropped).view(values.shape)
        return values * (kept.to(values.dtype) * (256 / (256 - self.dropped)))


def _make_layer(config: SequenceConfig, number: int) -> nn.Module:
    match config.kind:
        case "frame":
            return FrameLayer(config.width)
        case "tcn":
            return ConvolutionLayer(config.width, config.kernel, 2**number)
        case "lstm" | "bigru":
            return RecurrentLayer(config.width, both=config.kind == "bigru")
        case "transformer":
            return AttentionLayer(config.width, config.heads, config.reach)


class FrameLayer(nn.Module):
    """A hidden layer that sees each frame alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, hidden: Tensor, windows: Windows) -> Tensor:  # noqa: ARG002 - as the other layers'
        """(B, L, width) -> (B, L, width)."""
        return F.relu(self.linear(self.norm(hidden)))


class ConvolutionLayer(nn.Module):
    """A dilated convolution over the frames before and after; there are zeros beyond both ends of a window."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Linear(kernel * width, width)
        self.linear = nn.Linear(width, width)

    def forward(self, hidden: Tensor, windows: Windows) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        length, reach = hidden.shape[1], self.kernel // 2 * self.dilation
        padded = F.pad(self.norm(hidden) * windows.mask.unsqueeze(2), (0, 0, reach, reach))
        taps = [padded[:, i * self.dilation : i * self.dilation + length] for i in range(self.kernel)]
        mixed: Tensor = self.linear(F.relu(self.convolution(torch.cat(taps, dim=2))))
        return mixed


class RecurrentLayer(nn.Module):
    """An LSTM over earlier frames, or two GRUs of half the width: over earlier and over later frames."""

    def __init__(self, width: int, *, both: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        if both:
            self.forwards: nn.GRU | nn.LSTM = nn.GRU(width, width // 2, batch_first=True)
            self.backwards: nn.GRU | None = nn.GRU(width, width // 2, batch_first=True)
        else:
            self.forwards, self.backwards = nn.LSTM(width, width, batch_first=True), None

    def forward(self, hidden: Tensor, windows: Windows) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        hidden = self.norm(hidden)
        earlier: Tensor = self.forwards(hidden)[0]
        if self.backwards is None:
            return earlier
        turn = _find_reversal(windows.mask)
        later: Tensor = self.backwards(_permute(hidden, turn))[0]
        return torch.cat([earlier, _permute(later, turn)], dim=2)


def _find_reversal(mask: Tensor) -> Tensor:
    """The permutation of all B * L positions that reverses the frames of each window; its own inverse."""
    position = torch.arange(mask.shape[1], device=mask.device)
    lengths = mask.sum(dim=1, keepdim=True)
    within = torch.where(mask, lengths - 1 - position, position)
    first = mask.shape[1] * torch.arange(len(mask), device=mask.device).unsqueeze(1)
    return (first + within).flatten()


def _permute(hidden: Tensor, order: Tensor) -> Tensor:
    return hidden.flatten(0, 1).index_select(0, order).view(hidden.shape[0], hidden.shape[1], -1)


class AttentionLayer(nn.Module):
    """Attention to the frames at most `reach` before and after, biased by their distance in frame numbers; an MLP.

    Source: pre-normalisation, https://arxiv.org/abs/2002.04745; a bias for each bucket of distances,
    https://arxiv.org/abs/1910.10683, section 2.1.
    """

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.bias = nn.Embedding(_BUCKETS, heads)
        self.merge = nn.Linear(width, width)
        self.expand_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)

    def forward(self, hidden: Tensor, windows: Windows) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        attended = self._attend(self.norm(hidden), windows)
        between = self.expand_norm(hidden + attended)
        answer: Tensor = attended + self.contract(F.gelu(self.expand(between)))
        return answer

    def _attend(self, hidden: Tensor, windows: Windows) -> Tensor:
        batch, length, width = hidden.shape
        split = self.queries_keys_values(hidden).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(2, 3) / math.sqrt(width // self.heads)
        scores = scores + self.bias(_find_buckets(windows.gaps)).permute(0, 3, 1, 2)
        position = torch.arange(length, device=hidden.device)
        apart = (position.unsqueeze(1) - position).abs()
        seen = (windows.mask.unsqueeze(1) & (apart <= self.reach)) | (apart == 0)  # itself: no row is without a frame
        weights = scores.masked_fill(~seen.unsqueeze(1), -math.inf).softmax(dim=3)
        merged: Tensor = self.merge((weights @ values).transpose(1, 2).reshape(batch, length, width))
        return merged


def _find_buckets(gaps: Tensor) -> Tensor:
    """The bucket of the signed distance between each two frames, int64 (B, L, L)."""
    numbers = gaps.float().cumsum(dim=1)
    distances = numbers.unsqueeze(1) - numbers.unsqueeze(2)
    steps = (distances.abs().log1p() * (2 / math.log(2))).round().long().clamp(max=_BUCKETS // 2 - 1)
    return torch.where(distances < 0, steps + _BUCKETS // 2, steps)
