"""The mean of members, and who may be one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.errors import ConfigError, DataError
from abawkit.labels import TASKS
from abawkit.models.inference import Probabilities, infer, place_network
from abawkit.models.network import DDAMFN
from abawkit.models.weights import load_weights
from abawkit.prediction.networks import load_members, predict_mean
from abawkit.prediction.sources import PixelChunk
from abawkit.tables import Array

CPU = torch.device("cpu")
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def pixels() -> Array:
    return np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


def mean(paths: list[Path], pixels: Array) -> Probabilities:
    """Through two chunks that are out of order."""
    chunks = [PixelChunk(np.array([4, 1]), pixels[[4, 1]]), PixelChunk(np.array([0, 2, 3]), pixels[[0, 2, 3]])]
    result, seen = predict_mean(load_members(paths, CPU), chunks, len(pixels), CPU)
    assert seen.all()
    return result


def alone(path: Path, pixels: Array) -> Probabilities:
    """What one file's network says, of every task."""
    weights = load_weights(path)
    network = DDAMFN(weights.config)
    network.load_state_dict(weights.state)
    place_network(network, CPU)
    return infer(network, pixels, CPU)


def test_an_ensemble_of_one_is_that_one(members: list[Path], pixels: Array) -> None:
    chunk = PixelChunk(np.arange(5), pixels)
    found, _ = predict_mean(load_members(members[:1], CPU), [chunk], 5, CPU)
    assert all(np.array_equal(a, b) for a, b in zip(found, alone(members[0], pixels), strict=True))


def test_an_ensemble_is_the_mean_of_probabilities(members: list[Path], pixels: Array) -> None:
    each = [alone(path, pixels) for path in members]
    for i, column in enumerate(mean(members, pixels)):
        np.testing.assert_allclose(column, np.mean([answer[i] for answer in each], axis=0), rtol=0, atol=1e-6)


def test_the_order_of_members_changes_no_bit(members: list[Path], pixels: Array) -> None:
    orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
    first, *others = [mean([members[i] for i in order], pixels) for order in orders]
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_networks_of_one_task_have_a_say_in_that_task_alone(member: Write, tmp_path: Path, pixels: Array) -> None:
    paths = [member(tmp_path / f"{task}.safetensors", seed, task) for seed, task in enumerate(TASKS)]
    found = mean(paths, pixels)
    for i, path in enumerate(paths):
        np.testing.assert_allclose(found[i], alone(path, pixels)[i], rtol=0, atol=1e-6)


def test_a_network_of_one_task_is_averaged_with_those_of_all(
    members: list[Path], member: Write, tmp_path: Path, pixels: Array
) -> None:
    va = member(tmp_path / "va.safetensors", 9, "va")
    found, all_three = mean([members[0], va], pixels), alone(members[0], pixels)
    np.testing.assert_allclose(found.va, (all_three.va + alone(va, pixels).va) / 2, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.expression, all_three.expression, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.au, all_three.au, rtol=0, atol=1e-6)


def test_rows_of_no_chunk_are_told(members: list[Path], pixels: Array) -> None:
    chunk = PixelChunk(np.array([2]), pixels[:1])
    found, seen = predict_mean(load_members(members[:1], CPU), [chunk], 4, CPU)
    assert seen.tolist() == [False, False, True, False]
    assert all((column[~seen] == 0).all() for column in found)


def test_progress_counts_rows(members: list[Path], pixels: Array) -> None:
    calls: list[tuple[int, int]] = []
    chunks = [PixelChunk(np.array([0, 1]), pixels[:2]), PixelChunk(np.array([2, 3, 4]), pixels[2:])]
    predict_mean(load_members(members[:1], CPU), chunks, 5, CPU, lambda *args: calls.append(args))
    assert calls == [(2, 5), (5, 5)]


def test_the_same_network_twice_is_refused_even_as_a_copy_of_its_file(members: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "another-name.safetensors"
    shutil.copyfile(members[0], copy)
    with pytest.raises(DataError, match=r"another-name\.safetensors: the same network as .*0\.safetensors"):
        load_members([members[0], members[1], copy], CPU)


def test_the_same_weights_with_other_notes_are_the_same_network(member: Write, tmp_path: Path) -> None:
    paths = [member(tmp_path / f"{i}.safetensors", 5, tasks) for i, tasks in enumerate(("va", "va,expression,au"))]
    with pytest.raises(DataError, match="would count twice"):
        load_members(paths, CPU)


def test_a_task_without_a_member_is_refused_by_name(member: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint was trained for expression, au"):
        load_members([member(tmp_path / "va.safetensors", 1, "va")], CPU)


def test_a_run_folder_stands_for_its_best_epoch(members: list[Path], tmp_path: Path) -> None:
    shutil.copyfile(members[1], tmp_path / "best.safetensors")
    shutil.copyfile(members[2], tmp_path / "last.safetensors")
    assert load_members([tmp_path], CPU)[0].digest == load_members([members[1]], CPU)[0].digest


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no best\.safetensors"):
        load_members([tmp_path], CPU)


def test_no_member_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no checkpoint was given"):
        load_members([], CPU)
