"""Networks with random weights: prediction asks nothing of what they have learned."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abawkit.formats.editions import ABAW7
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from abawkit.prediction.sources import ListedFrames


def write_member(path: Path, seed: int, tasks: str = "va,expression,au") -> Path:
    """A network that tells frames apart, as a file of weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.2)  # type: ignore[arg-type]
    save_weights(path, network.config, network.state_dict(), {"tasks": tasks})
    return path


def frames_of(path: Path, root: Path) -> ListedFrames:
    listed = ABAW7().read_list(path)
    return ListedFrames(path, root, listed.images.to_pylist())


@pytest.fixture(scope="session")
def member() -> Callable[..., Path]:
    return write_member


@pytest.fixture(scope="session")
def frames() -> Callable[[Path, Path], ListedFrames]:
    return frames_of


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    return [write_member(folder / f"{seed}.safetensors", seed) for seed in range(3)]


@pytest.fixture(scope="session")
def root(release: Path) -> Path:
    return release / "test_data" / "cropped_aligned"


@pytest.fixture(scope="session")
def listed(release: Path) -> ListedFrames:
    return frames_of(release / "test_set_examples" / "MTL.txt", release / "test_data" / "cropped_aligned")
