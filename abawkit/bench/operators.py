"""The operators at the published network's sizes, by the reference and by the best implementation here."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from abawkit.bench.networks import CPU, Run
from abawkit.models.attention import list_evaluation_calls
from abawkit.models.config import NetworkConfig
from abawkit.ops import (
    BlockParameters,
    NormParameters,
    StemParameters,
    dual_direction_attention,
    mixed_block,
    norm_prelu,
    stem,
)
from abawkit.ops.folding import FoldCache
from abawkit.ops.mixed_block_tensors import BlockSizes
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.tensors import Parameters, Sizes
from abawkit.ops.testing import make_random_block, make_random_inputs, make_random_norm, make_random_stem

BLOCK_IMAGES = 8
"""Images at a time for the stem, norms and mixed blocks."""

_Compute = Callable[[Tensor, Sequence[Tensor], str | None, FoldCache], Sequence[Tensor]]


class OperatorWork(NamedTuple):
    """Work of one operator, by who does it: ``eager`` is the reference, on contiguous features."""

    name: str
    images: int
    work: dict[str, Run]


def list_operator_work(config: NetworkConfig, batches: Sequence[int]) -> Iterator[OperatorWork]:
    """The attention and each kind of mixed block of a network in both modes, its stem, and its first norm in training.

    Training is forward and backward pass.

    Args:
        config: Of the network.
        batches: Numbers of images for the attention.
    """
    attention, *blocks = (call.sizes for call in list_evaluation_calls(config, CPU, "float32"))
    assert isinstance(attention, Sizes)  # noqa: S101 - the first is
    for images in batches:
        yield OperatorWork("attention", images, _make_attention_work(attention, images, training=False))
    most = max(batches)
    yield OperatorWork("train attention", most, _make_attention_work(attention, most, training=True))
    side, stage = (config.resolution + 1) // 2, 0
    yield OperatorWork("train norm", BLOCK_IMAGES, _make_norm_work(NormSizes(config.stem), side))
    for sizes in blocks:
        if isinstance(sizes, StemSizes):
            yield OperatorWork("stem", BLOCK_IMAGES, _make_stem_work(sizes, config.resolution))
            continue
        assert isinstance(sizes, BlockSizes)  # noqa: S101 - all others are
        stage += sizes.stride - 1
        name = f"block {stage} entry" if sizes.stride == 2 else f"block {stage}"
        for mode, training in (("", False), ("train ", True)):
            yield OperatorWork(mode + name, BLOCK_IMAGES, _make_block_work(sizes, side, training=training))
        side = (side + 1) // 2 if sizes.stride == 2 else side


def _make_attention_work(sizes: Sizes, images: int, *, training: bool) -> dict[str, Run]:
    x, parameters, statistics = make_random_inputs(images, sizes)

    def attend(x: Tensor, leaves: Sequence[Tensor], name: str | None, cache: FoldCache) -> Sequence[Tensor]:
        how = {"training": training, "gates": training, "implementation": name, "cache": cache}
        embedding, gates = dual_direction_attention(x, Parameters(*leaves), statistics, **how)  # type: ignore[arg-type]
        return (embedding, *gates) if gates else (embedding,)

    return _make_work(attend, x, parameters, training=training)


def _make_block_work(sizes: BlockSizes, side: int, *, training: bool) -> dict[str, Run]:
    x, parameters, statistics = make_random_block(BLOCK_IMAGES, sizes, (side, side))

    def convolve(x: Tensor, leaves: Sequence[Tensor], name: str | None, cache: FoldCache) -> Sequence[Tensor]:
        given, kind = BlockParameters.from_flat(leaves), (sizes.stride, sizes.residual)
        return [mixed_block(x, given, statistics, *kind, training=training, implementation=name, cache=cache)]

    return _make_work(convolve, x, parameters.flat, training=training)


def _make_stem_work(sizes: StemSizes, side: int) -> dict[str, Run]:
    x, parameters, statistics = make_random_stem(BLOCK_IMAGES, sizes, (side, side))

    def convolve(x: Tensor, leaves: Sequence[Tensor], name: str | None, cache: FoldCache) -> Sequence[Tensor]:
        return [stem(x, StemParameters(*leaves), statistics, sizes.stride, implementation=name, cache=cache)]

    return _make_work(convolve, x, parameters, training=False)


def _make_norm_work(sizes: NormSizes, side: int) -> dict[str, Run]:
    x, parameters, statistics = make_random_norm(BLOCK_IMAGES, sizes, (side, side))

    def normalise(x: Tensor, leaves: Sequence[Tensor], name: str | None, _: FoldCache) -> Sequence[Tensor]:
        return [norm_prelu(x, NormParameters(*leaves), statistics, training=True, implementation=name)]

    return _make_work(normalise, x, parameters, training=True)


def _make_work(compute: _Compute, x: Tensor, parameters: Sequence[Tensor], *, training: bool) -> dict[str, Run]:
    """Both ways, each with a cache of its own; in training, forward and backward."""
    last = x.contiguous(memory_format=torch.channels_last)
    ways: list[tuple[str, Tensor, str | None]] = [("eager", x, "reference"), ("abawkit", last, None)]
    return {who: _bind(compute, features, parameters, name, training=training) for who, features, name in ways}


def _bind(compute: _Compute, x: Tensor, parameters: Sequence[Tensor], name: str | None, *, training: bool) -> Run:
    cache = FoldCache()
    leaves = [t.detach().requires_grad_(training) for t in (x, *parameters)]
    if not training:

        def evaluate() -> object:
            with torch.inference_mode():
                return compute(leaves[0], leaves[1:], name, cache)

        return evaluate
    with torch.no_grad():
        ends = [torch.randn_like(found) for found in compute(leaves[0], leaves[1:], name, cache)]

    def train() -> object:
        return torch.autograd.grad(compute(leaves[0], leaves[1:], name, cache), leaves, ends)

    return train
