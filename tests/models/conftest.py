"""The published network's weights, made again by the recipe that the golden tensors were computed with."""

import functools
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent.parent / "golden"


def published_tensor(key: str, shape: list[int]) -> Tensor:
    """One tensor of the recipe: drawn from a generator seeded by its name, so that no weights need storing."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    parent, name = ("." + key).split(".")[-2:]
    if name == "num_batches_tracked":
        return torch.tensor(0)
    if name == "running_mean":
        values = rng.normal(0, 0.1, shape)
    elif name == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) >= 2:
        values = rng.normal(0, 1, shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif parent == "prelu" or (name == "weight" and ".project.bn." in key):
        values = rng.uniform(0.1, 0.4, shape)
    elif name == "weight":
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, 0.1, shape)
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="session")
def published_shapes() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "ddamfn_state_dict.json").read_text())
    return shapes


@pytest.fixture(scope="session")
def published_state(published_shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {key: published_tensor(key, shape) for key, shape in published_shapes.items()}


@pytest.fixture(scope="session")
def published_file(published_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "ddamfn.pth"
    torch.save({"iter": 3, "model_state_dict": published_state}, path)
    return path


@pytest.fixture(scope="session")
def golden() -> dict[str, Tensor]:
    return safetensors.torch.load_file(GOLDEN / "ddamfn_golden.safetensors")


PARTS = ("conv1", "conv2_dw", "conv_23", "conv_3", "conv_34", "conv_4", "conv_45", "conv_5", "conv_6_sep")


@pytest.fixture(scope="session")
def backbone_state(published_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published backbone, `MFN_msceleb`: the features under its own names, and its layers for face recognition."""
    state = {}
    for key, value in published_state.items():
        if key.startswith("features."):
            _, part, rest = key.split(".", 2)
            state[f"{PARTS[int(part)]}.{rest}"] = value
    norm = {name: [512] for name in ("weight", "bias", "running_mean", "running_var")} | {"num_batches_tracked": []}
    shapes = {"conv_6_dw.conv.weight": [512, 1, 7, 7], "linear.weight": [256, 512]}
    shapes |= {f"conv_6_dw.bn.{name}": shape for name, shape in norm.items()}
    shapes |= {f"bn.{name}": [256] * len(shape) for name, shape in norm.items()}
    return state | {key: published_tensor(key, shape) for key, shape in shapes.items()}


def with_heads(state: dict[str, Tensor], heads: int) -> dict[str, Tensor]:
    """The published network with another number of attention heads, each with weights of its own."""
    one = {key: list(value.shape) for key, value in state.items() if key.startswith("cat_head0.")}
    rest = {key: value for key, value in state.items() if not key.startswith("cat_head")}
    names = {f"cat_head{head}.{key.partition('.')[2]}": shape for head in range(heads) for key, shape in one.items()}
    return rest | {name: published_tensor(name, shape) for name, shape in names.items()}


@pytest.fixture(scope="session")
def state_with_heads(published_state: dict[str, Tensor]) -> Callable[[int], dict[str, Tensor]]:
    return functools.partial(with_heads, published_state)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes with `torch.save`."""

    def writer(content: object, name: str = "weights.pth", **options: Any) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return writer
