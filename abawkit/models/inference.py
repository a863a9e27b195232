"""Inference: the probabilities that a network gives for frames."""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from abawkit.choices import InferencePrecision
from abawkit.errors import ConfigError
from abawkit.frames.augmentation import normalise
from abawkit.models.devices import Download, pin_memory, upload, use_bfloat16, use_exact_float32
from abawkit.models.network import DDAMFN, OUTPUTS, Outputs
from abawkit.tables import Array

BATCH = {"cpu": 32, "cuda": 256}
"""Frames in one pass without gradients, by kind of device: on a CPU few enough for its caches."""


class Probabilities(NamedTuple):
    """The outputs of a network for N frames; float32 arrays.

    Attributes:
        va: (N, 2), in -1..1.
        expression: (N, 8), rows sum to 1.
        au: (N, 12), in 0..1.
    """

    va: Array
    expression: Array
    au: Array


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("it is neither a CPU nor a CUDA GPU")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device '{name}' can't be used here ({reason}); give cpu or auto") from error
    return device


def place_network(network: nn.Module, device: torch.device) -> None:
    """Moves a network to a device, in the memory format in which its convolutions are fastest."""
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def make_model_input(images: Tensor) -> Tensor:
    """Brings normalised images (N, 3, S, S) into the memory format of `place_network`."""
    return images.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def infer(
    network: DDAMFN, pixels: Array, device: torch.device, precision: InferencePrecision = "float32"
) -> Probabilities:
    """Runs a network over frames; with float32 weights everything is computed in float32, on any device.

    Args:
        network: On `device`; is put into evaluation mode.
        pixels: RGB, (N, 112, 112, 3) uint8; N may be 0.
        device: Of the network.
        precision: ``bfloat16`` for `use_bfloat16` of everything but the heads, which stay in float32.
    """
    _set_evaluation(network)
    batch = BATCH[device.type]
    with use_exact_float32():
        parts = [_infer_batch(network, pixels[i : i + batch], device, precision) for i in range(0, len(pixels), batch)]
    columns = [part.wait().numpy() for part in parts] or [np.zeros((0, sum(OUTPUTS.values())), np.float32)]
    return split_columns(np.concatenate(columns))


@torch.inference_mode()
def embed_frames(
    network: DDAMFN, pixels: Array, device: torch.device, precision: InferencePrecision = "float32"
) -> Array:
    """The embeddings of frames, which the heads take: (N, embedding), of the type of the weights.

    Arguments are those of `infer`.
    """
    _set_evaluation(network)
    batch, nothing = (
        BATCH[device.type],
        torch.zeros((0, network.config.embedding), dtype=next(network.parameters()).dtype),
    )
    with use_exact_float32():
        parts = [
            Download(_embed_batch(network, pixels[i : i + batch], device, precision))
            for i in range(0, len(pixels), batch)
        ]
    found: Array = torch.cat([nothing, *(part.wait() for part in parts)]).numpy()
    return found


@torch.inference_mode()
def classify_embeddings(network: DDAMFN, embeddings: Array, device: torch.device) -> Probabilities:
    """What `infer` gives for frames, from what `embed_frames` gives for them."""
    with use_exact_float32():
        given = upload(pin_memory(torch.from_numpy(np.ascontiguousarray(embeddings)), device), device)
        return split_columns(make_probabilities(network.classify(given)).wait().numpy())


def _set_evaluation(network: DDAMFN) -> None:
    if any(module.training for module in network.modules()):  # setting the mode drops folded weights
        network.eval()


def _infer_batch(network: DDAMFN, pixels: Array, device: torch.device, precision: InferencePrecision) -> Download:
    """The columns of all tasks side by side, (N, 22) float32."""
    return make_probabilities(network.classify(_embed_batch(network, pixels, device, precision)))


def _embed_batch(network: DDAMFN, pixels: Array, device: torch.device, precision: InferencePrecision) -> Tensor:
    """The embeddings of a few frames, of the type of the weights."""
    images = normalise(upload(pin_memory(torch.from_numpy(np.ascontiguousarray(pixels)), device), device))
    images = images.to(next(network.parameters()).dtype)
    with use_bfloat16(device) if precision == "bfloat16" else nullcontext():
        embedding, _ = network.embed(make_model_input(images), gates=False)
    return embedding.to(images.dtype)


def make_probabilities(outputs: Outputs) -> Download:
    """The columns of all tasks side by side, (N, 22) float32, on their way to the host."""
    columns = (outputs.va, outputs.expression.float().softmax(dim=1), outputs.au.float().sigmoid())
    return Download(torch.cat([column.float() for column in columns], dim=1))


def split_columns(columns: Array) -> Probabilities:
    """The columns of all tasks side by side, (N, 22), as one array for each task."""
    parts = np.split(columns, np.cumsum(list(OUTPUTS.values()))[:-1], axis=1)
    return Probabilities(*(np.ascontiguousarray(part) for part in parts))


@torch.inference_mode()
def infer_gates(network: DDAMFN, pixels: Array) -> tuple[Array, Probabilities]:
    """How open the gates of each attention head are at each position of frames, and what the network answers.

    Args:
        network: On the CPU; is put into evaluation mode.
        pixels: RGB, (N, S, S, 3) uint8, S = `network.config.resolution`, N at least 1.

    Returns:
        The attention maps, averaged over channels, float32, (N, K, H, W) in 0..1; of several heads, a last one is the
        mean of their maximum, which the features are multiplied with, (N, K + 1, H, W). And the probabilities.
    """
    network.eval()
    maps, columns = [], []
    with use_exact_float32():
        for start in range(0, len(pixels), BATCH["cpu"]):
            part = np.ascontiguousarray(pixels[start : start + BATCH["cpu"]])
            images = normalise(torch.from_numpy(part)).to(next(network.parameters()).dtype)
            outputs = network(make_model_input(images), gates=True)
            found = outputs.gates.maps().float()
            means = found.mean(dim=2)
            if found.shape[1] > 1:
                means = torch.cat([means, found.amax(dim=1).mean(dim=1, keepdim=True)], dim=1)
            maps.append(means.numpy())
            columns.append(make_probabilities(outputs).wait().numpy())
    return np.concatenate(maps), split_columns(np.concatenate(columns))
