"""What computes features of frames: a trained network without its heads, an ONNX file, or an installed extractor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.errors import DataError
from abawkit.frames.augmentation import MEAN, STD, Colour, normalise
from abawkit.models.attention import describe_operators, list_evaluation_calls
from abawkit.models.config import name_network
from abawkit.models.inference import make_model_input, place_network
from abawkit.models.network import ATTENTION, DDAMFN, HEADS
from abawkit.models.weight_files import find_weights
from abawkit.models.weights import digest_state, load_weights
from abawkit.run_names import MANIFEST
from abawkit.system.json_records import read_object


class FeatureExtractor(Protocol):
    """Computes a vector of numbers for each frame.

    Attributes:
        name: Its name, for manifests and messages.
        dimension: Numbers that it returns for a frame.
        size: Side of the square frames that it takes, in pixels; aligned crops of another size are resized.
        mean: What is subtracted from red, green and blue, on a scale of 0 to 1.
        deviation: What each of them is then divided by, on the same scale.
    """

    name: str
    dimension: int
    size: int
    mean: Colour
    deviation: Colour

    def extract(self, frames: Tensor) -> Tensor:
        """Computes the features of some frames.

        Each frame's features must not depend on the other frames, and equal frames give equal features.

        Args:
            frames: Normalised RGB, (n, 3, size, size) float32, n from 1; on the device that was requested.

        Returns:
            Finite numbers of any floating-point type, (n, dimension), on any device.
        """
        ...


class FeatureSource(NamedTuple):
    """An extractor, and what a manifest says about it.

    Attributes:
        extractor: The extractor.
        description: What it was made of, with digests: JSON values.
        operators: The implementations that its operators run on, by operator; empty where it has none of abawkit's.
    """

    extractor: FeatureExtractor
    description: Mapping[str, Any]
    operators: Mapping[str, str]


class NetworkExtractor:
    """DDAMFN without its three heads: the embedding that they take; attributes are those of `FeatureExtractor`."""

    mean = MEAN
    deviation = STD

    def __init__(self, network: DDAMFN) -> None:
        """Takes a network in evaluation mode."""
        self.network = network
        self.name = name_network(network.config)
        self.dimension = network.config.embedding
        self.size = network.config.resolution

    def extract(self, frames: Tensor) -> Tensor:
        """The embeddings of frames; see `FeatureExtractor.extract`."""
        embedding, _ = self.network.embed(make_model_input(frames), gates=False)
        return embedding


def load_network_source(path: Path, device: torch.device) -> FeatureSource:
    """Loads the network of a run or of a file of weights, with heads or without.

    Args:
        path: The run's folder (its best epoch), or the file.
        device: Where it will run.

    Raises:
        DataError: If there are no weights, they are damaged, or they are a backbone without attention.
        OpUnavailableError: If the requested implementation of an operator can't run here.
    """
    file = find_weights(path)
    weights = load_weights(file, heads_optional=True)
    if not any(key.startswith(ATTENTION) for key in weights.state):
        raise DataError(
            f"{file}: holds the backbone alone, and the features are those behind the attention; train on it first: "
            f"`abawkit train --weights {file}`"
        )
    operators = describe_operators(list_evaluation_calls(weights.config, device, "float32"))
    network = DDAMFN(weights.config)
    network.load_state_dict(weights.state, strict=any(key.startswith(HEADS) for key in weights.state))
    place_network(network, device)
    extractor = NetworkExtractor(network.eval())
    description = {"kind": "network", "path": str(file), "name": extractor.name, "digest": digest_state(weights.state)}
    if table := _find_training_table(file):
        description["trained_on"] = table
    return FeatureSource(extractor, description, operators)


def _find_training_table(weights: Path) -> str:
    """The digest of the curated table that a run's weights were trained on; empty for weights of no run."""
    try:
        manifest = read_object(weights.parent / MANIFEST, "the manifest of a run")
    except DataError:
        return ""
    data = manifest.get("data")
    return str(data.get("table_digest", "")) if isinstance(data, dict) else ""


def prepare_frames(pixels: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Resizes and normalises frames as an extractor needs them.

    Args:
        pixels: RGB, (n, height, width, 3) uint8, on any device.
        extractor: What they are for.

    Returns:
        (n, 3, size, size) float32, on the same device. Frames of another size are resized bilinearly, and with a filter
        against aliasing where they become smaller.
    """
    size = (extractor.size, extractor.size)
    if pixels.shape[1:3] != size:
        images = pixels.permute(0, 3, 1, 2).float()
        images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        pixels = images.permute(0, 2, 3, 1).contiguous()
    return normalise(pixels, extractor.mean, extractor.deviation)


def describe_preprocessing(extractor: FeatureExtractor) -> dict[str, Any]:
    """What `prepare_frames` does, for manifests."""
    size, mean, deviation = extractor.size, list(extractor.mean), list(extractor.deviation)
    return {"size": size, "mean": mean, "deviation": deviation, "resize": "bilinear, antialiased", "channels": "RGB"}
