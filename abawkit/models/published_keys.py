"""How the parameters of the published DDAMFN are named and shaped, beside those of this package.

Source: the published code of Zhang et al., Electronics 12(17) 3595 (2023).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN, HEADS

CLASSIFIER: Final = "fc."
"""What the names of the published expression classifier's parameters begin with."""

UNUSED: Final = re.compile(
    r"features\.\d+\.(model\.\d+\.)?conv_dw\.(bn\.\w+|prelu\.weight)"
    r"|cat_head[01]\.CoordAtt\.Linear\.(conv|bn)\.\w+"
    r"|bn\.\w+"
)
"""Parameters that no forward pass of the published network uses."""

_CONFIG = NETWORKS["ddamfn"]
_BLOCK = {
    "expand.": "conv.",
    "depthwise.parts.": "conv_dw.mixed_depthwise_conv.",
    "attention.squeeze.": "CA.conv1.",
    "attention.norm.": "CA.bn1.",
    "attention.row_gate.": "CA.conv2.",
    "attention.column_gate.": "CA.conv3.",
}
_HEAD = {
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
    """The published tensors that one tensor of this package is made of.

    Attributes:
        keys: Their published names; one, or one for each attention head.
        shape: The published shape of each.
        target: The shape of the tensor that they become.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    target: tuple[int, ...]

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Makes the package's tensor: the heads' values one after another, or the highest of their counts."""
        parts = torch.stack([tensors[key] for key in self.keys])
        return parts.reshape(self.target) if self.target else parts.amax()


def _renamed(name: str, table: dict[str, str]) -> str:
    for ours, published in table.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def _feature_key(key: str) -> str:
    match key.split("."):
        case ["stages", stage, "0", *rest]:
            position = str(2 + 2 * int(stage))
        case ["stages", stage, block, *rest]:
            position = f"{3 + 2 * int(stage)}.model.{int(block) - 1}"
        case ["stem", position, *rest]:
            pass
        case [_, *rest]:  # the convolution after the last stage
            position = str(2 + 2 * len(_CONFIG.stages))
    name = _renamed(".".join(rest), _BLOCK).replace("norm.", "bn.").replace("activation.", "prelu.")
    return f"features.{position}.{name}"


def _attention_source(name: str, shape: tuple[int, ...]) -> Source:
    heads = _CONFIG.attention_heads
    keys = tuple(f"cat_head{head}.CoordAtt.{_renamed(name, _HEAD)}" for head in range(heads))
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


def sources() -> dict[str, Source]:
    """For each key of the `ddamfn` network's state dict, heads apart: which published tensors it is made of."""
    with torch.device("meta"):
        state = DDAMFN(_CONFIG).state_dict()
    table = {}
    for key, tensor in state.items():
        shape = tuple(tensor.shape)
        if key.startswith("attention."):
            table[key] = _attention_source(key.removeprefix("attention."), shape)
        elif not key.startswith(HEADS):
            table[key] = Source((_feature_key(key),), shape, shape)
    return table
