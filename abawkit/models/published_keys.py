"""Names and shapes of the published DDAMFN's parameters, and the parameters of this package that they become.

Source: the published code of Zhang et al., Electronics 12(17) 3595 (2023).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.models.config import NETWORKS, NetworkConfig
from abawkit.models.network import DDAMFN, HEADS

CLASSIFIER: Final = "fc."
"""Prefix of the published expression classifier's parameters."""

HEAD_COUNTS: Final = (1, 2, 3, 4)
"""Numbers of attention heads that DDAMFN is published with; two is its authors' choice."""

UNUSED: Final = re.compile(
    r"features\.\d+\.(model\.\d+\.)?conv_dw\.(bn\.\w+|prelu\.weight)"
    r"|cat_head\d\.CoordAtt\.Linear\.(conv|bn)\.\w+"
    r"|bn\.\w+"
)
"""Parameters that no forward pass of the published network uses."""

UNUSED_BACKBONE: Final = re.compile(
    r"conv_\d+\.(model\.\d+\.)?conv_dw\.(bn\.\w+|prelu\.weight)"
    r"|conv_6_dw\.(conv|bn)\.\w+"
    r"|linear\.weight"
    r"|bn\.\w+"
)
"""Parameters of the published backbone (``MFN_msceleb``) that DDAMFN does not take over."""

_BACKBONE: Final = ("conv1", "conv2_dw", "conv_23", "conv_3", "conv_34", "conv_4", "conv_45", "conv_5", "conv_6_sep")
"""The backbone's names of the parts that DDAMFN names ``features.0`` to ``features.8``."""

_MIXED: Final = ".conv_dw."
_HEAD_KEY: Final = re.compile(r"cat_head(\d{1,3})\.")

_CONFIG = NETWORKS["ddamfn"]
_BLOCK_NAMES = {
    "expand.": "conv.",
    "depthwise.parts.": "conv_dw.mixed_depthwise_conv.",
    "attention.squeeze.": "CA.conv1.",
    "attention.norm.": "CA.bn1.",
    "attention.row_gate.": "CA.conv2.",
    "attention.column_gate.": "CA.conv3.",
}
_HEAD_NAMES = {
    "row_weight": "Linear_h.conv.weight",
    "column_weight": "Linear_w.conv.weight",
    "row_norm.": "Linear_h.bn.",
    "column_norm.": "Linear_w.bn.",
    "squeeze.": "conv1.",
    "squeeze_norm.": "bn1.",
    "row_gate.": "conv2.",
    "column_gate.": "conv3.",
}


class Source(NamedTuple):
    """The published tensors that become one tensor of this package.

    Attributes:
        keys: Their published names; one, or one for each attention head.
        shape: The published shape of each.
        target: The shape of the result.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    target: tuple[int, ...]

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Joins the tensors: the heads' values one after another, or the highest of their counts."""
        parts = torch.stack([tensors[key] for key in self.keys])
        return parts.reshape(self.target) if self.target else parts.amax()


def _rename(name: str, table: dict[str, str]) -> str:
    for ours, published in table.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def _name_feature(key: str) -> str:
    match key.split("."):
        case ["stages", stage, "0", *rest]:
            position = str(2 + 2 * int(stage))
        case ["stages", stage, block, *rest]:
            position = f"{3 + 2 * int(stage)}.model.{int(block) - 1}"
        case ["stem", position, *rest]:
            pass
        case [_, *rest]:  # the convolution after the last stage
            position = str(2 + 2 * len(_CONFIG.stages))
    name = _rename(".".join(rest), _BLOCK_NAMES).replace("norm.", "bn.").replace("activation.", "prelu.")
    return f"features.{position}.{name}"


def _find_attention_source(name: str, shape: tuple[int, ...], heads: int) -> Source:
    keys = tuple(f"cat_head{head}.CoordAtt.{_rename(name, _HEAD_NAMES)}" for head in range(heads))
    match name, shape:
        case "pool_weight", (channels, height, width):
            return Source(("Linear.conv.weight",), (channels, 1, height, width), shape)
        case "row_weight", (_, channels, width):
            return Source(keys, (channels, 1, 1, width), shape)
        case "column_weight", (_, channels, height):
            return Source(keys, (channels, 1, height, 1), shape)
        case _ if name.startswith("pool_norm."):
            return Source((name.replace("pool_norm.", "Linear.bn."),), shape, shape)
        case _, ():
            return Source(keys, shape, shape)
        case _, (outputs,):
            return Source(keys, (outputs // heads,), shape)
        case _:  # a 1 x 1 convolution, here along one dimension of positions
            return Source(keys, (shape[0] // heads, *shape[1:], 1), shape)


def make_published_config(heads: int) -> NetworkConfig:
    """The published network with a number of attention heads."""
    return replace(_CONFIG, attention_heads=heads)


@cache
def map_sources(heads: int = 2) -> dict[str, Source]:
    """The published tensors of each key of a state dict, the three heads excepted.

    Args:
        heads: Attention heads of the network.
    """
    with torch.device("meta"):
        state = DDAMFN(make_published_config(heads)).state_dict()
    table = {}
    for key, tensor in state.items():
        shape = tuple(tensor.shape)
        if key.startswith("attention."):
            table[key] = _find_attention_source(key.removeprefix("attention."), shape, heads)
        elif not key.startswith(HEADS):
            table[key] = Source((_name_feature(key),), shape, shape)
    return table


@cache
def map_backbone_sources() -> dict[str, Source]:
    """As `map_sources`, for the published backbone, which has no attention and other names of the features."""
    table = {}
    for key, source in map_sources().items():
        if not key.startswith("attention."):
            _, number, rest = source.keys[0].split(".", 2)
            table[key] = source._replace(keys=(f"{_BACKBONE[int(number)]}.{rest}",))
    return table


def list_published_names(table: Mapping[str, Source]) -> dict[str, tuple[int, ...]]:
    """The published tensors in a table, with their shapes."""
    return {key: source.shape for source in table.values() for key in source.keys}


def count_heads(keys: Iterable[str]) -> int:
    """The number of attention heads, counted from 0 without a gap; a head with only a few keys does not count."""
    keys_of = Counter(int(match[1]) for key in keys if (match := _HEAD_KEY.match(key)))
    found = {head for head, count in keys_of.items() if 2 * count >= max(keys_of.values())}
    return next(count for count in range(len(found) + 1) if count not in found)


def summarise_unused(keys: Iterable[str]) -> list[tuple[str, int]]:
    """Names and number of unused parameters, of mixed convolutions and of the rest, where there are any.

    Returns:
        Pairs such as ``("conv_dw.bn, conv_dw.prelu", 204)``.
    """
    names: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for key in keys:
        mixed = _MIXED in f".{key}"
        name = f"conv_dw.{key.rpartition('conv_dw.')[2]}" if mixed else re.sub(r"cat_head\d+\.", "", key)
        parts = name.split(".")
        names[mixed][".".join(parts[: 2 if mixed or parts[0] == "CoordAtt" else 1])] += 1
    return [(", ".join(sorted(found)), found.total()) for found in names.values() if found]
