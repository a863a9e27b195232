"""Prediction on a device gives what the CPU gives, up to the rounding of the type."""

from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.formats.editions import ABAW7
from abawkit.models.inference import Probabilities, infer, place_network
from abawkit.models.weights import save_weights
from abawkit.prediction.predict import predict
from abawkit.prediction.sources import CuratedFrames
from abawkit.probabilities.members import read_probabilities
from abawkit.tables import Array
from abawkit.training.data import read_evaluation_rows
from tests.gpu.networks import draw_network

FLOAT32 = 1e-4
"""Of probabilities, and of valence and arousal: sums in another order differ by 1e-6 after 100 layers, TF32 by 1e-3."""

BFLOAT16 = 0.1
"""8 bits in each of the layers: 4e-3 each time."""


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("member") / "network.safetensors"
    network = draw_network()
    save_weights(path, network.config, network.state_dict(), {"tasks": "va,expression,au"})
    return path


@pytest.fixture(scope="module")
def pixels(curated: Path) -> Array:
    return read_evaluation_rows(open_curated(curated), "validation").pixels(np.arange(20))


def test_a_split_is_predicted_as_on_the_cpu(member: Path, curated: Path, tmp_path: Path, device: str) -> None:
    frames = CuratedFrames(open_curated(curated), "validation")
    found, expected = (
        read_probabilities(predict([member], frames, tmp_path / name, ABAW7(), device=where).probabilities)
        for name, where in (("found.txt", device), ("expected.txt", "cpu"))
    )
    assert found.images.equals(expected.images)
    for task in ("va", "expression", "au"):
        assert getattr(expected, task).std() > 0.01  # frames are told apart
        np.testing.assert_allclose(getattr(found, task), getattr(expected, task), rtol=0, atol=FLOAT32, err_msg=task)


def answers(device: str, dtype: torch.dtype, pixels: Array) -> Probabilities:
    network = draw_network().to(dtype)
    place_network(network, torch.device(device))
    return infer(network, pixels, torch.device(device))


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-6), (torch.bfloat16, BFLOAT16)], ids=["float64", "bfloat16"]
)
def test_a_network_of_another_type_answers_alike(pixels: Array, device: str, dtype: torch.dtype, bound: float) -> None:
    for found, expected in zip(answers(device, dtype, pixels), answers("cpu", torch.float64, pixels), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_an_answer_does_not_depend_on_the_frames_beside_it(pixels: Array, device: str) -> None:
    together = answers(device, torch.float32, pixels)
    for found, expected in zip(answers(device, torch.float32, pixels[3:4]), together, strict=True):
        np.testing.assert_allclose(found, expected[3:4], rtol=0, atol=FLOAT32)
