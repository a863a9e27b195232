"""The published network's weights, made again by the recipe that the golden tensors were computed with."""

import json
import math
import zlib
from pathlib import Path

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
