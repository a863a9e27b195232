"""Which implementations a network's operators run on, for checks before the work and for manifests after it."""

from collections.abc import Iterable

import torch

from abawkit.models.config import NetworkConfig
from abawkit.models.layers import squeezed
from abawkit.ops.base import Call
from abawkit.ops.parameters import Sizes
from abawkit.ops.registry import OPERATOR, select


def attention_call(config: NetworkConfig, device: torch.device, dtype: torch.dtype, *, training: bool) -> Call:
    """What a network asks of dual-direction attention; gradients are wanted in training alone.

    Args:
        config: Of the network.
        device: Where it runs.
        dtype: Of its features: that of autocast, where it runs under it.
        training: Whether it is in training mode.
    """
    size = config.feature_size
    sizes = Sizes(config.embedding, size, size, config.attention_heads, squeezed(config.embedding))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return Call(device, dtype, sizes, training=training, gradients=training)


def operators(calls: Iterable[Call]) -> dict[str, str]:
    """The name of the implementation that serves calls, by operator.

    Where calls are served by several, each is named with what it is for: ``native in evaluation, reference in
    training``.

    Raises:
        OpUnavailableError: If one that was asked for by name can't serve one of the calls.
    """
    modes: dict[str, list[str]] = {}
    for call in calls:
        mode = "training" if call.training else "evaluation"
        served = modes.setdefault(select(call).name, [])
        served += [] if mode in served else [mode]
    if len(modes) == 1:
        return {OPERATOR: next(iter(modes))}
    return {OPERATOR: ", ".join(f"{name} in {' and '.join(served)}" for name, served in sorted(modes.items()))}
