"""What a network starts from: own weights, a run folder, published files; and what each leaves to random numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.errors import DataError, DataWarning
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.published import import_published
from abawkit.models.starting_weights import load_starting_weights, start_from
from abawkit.models.weight_files import find_weights
from abawkit.models.weights import load_weights, save_weights

State = dict[str, Tensor]
NANO = NETWORKS["ddamfn-nano"]


def nano(seed: int) -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DDAMFN(NANO)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder, as far as its weights go."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_weights(folder / "best.safetensors", NANO, nano(1).state_dict())
    return folder


def test_the_folder_of_a_run_means_its_best_weights(run: Path) -> None:
    network = nano(2)
    start_from(network, run, frozen_epochs=1)
    assert all(value.equal(network.state_dict()[key]) for key, value in nano(1).state_dict().items())


def test_a_folder_without_them_says_what_it_is(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints/0001-000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "network.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a checkpoint of a run; give its weights, .*/network\.safetensors"):
        find_weights(checkpoint)
    (run / "best.safetensors").unlink()
    with pytest.raises(DataError, match=rf"this run has not ended, .* `abawkit train --resume --out {run}`"):
        find_weights(run)
    with pytest.raises(DataError, match=r"this folder holds no best\.safetensors"):
        find_weights(tmp_path)


@pytest.mark.parametrize("name", ["net.pth", "net.ckpt", "net.pth.tar", "net.bin", "net"])
def test_the_content_decides_and_not_the_name(published_file: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(published_file)
    found = load_starting_weights(tmp_path / name)
    assert found.state.keys() == import_published(published_file).state.keys()


def test_own_weights_under_a_published_name_are_own_weights(run: Path, tmp_path: Path) -> None:
    (tmp_path / "own.pth").symlink_to(run / "best.safetensors")
    assert load_starting_weights(tmp_path / "own.pth").config == NANO


def test_weights_of_another_network_are_named(run: Path, published_file: Path) -> None:
    with pytest.raises(
        DataError, match=r"those of ddamfn, and the recipe's network is ddamfn-nano; .* --set network=ddamfn"
    ):
        start_from(nano(1), published_file, frozen_epochs=0)
    with pytest.raises(DataError, match="those of ddamfn-nano, and the recipe's network is ddamfn;"):
        start_from(DDAMFN(NETWORKS["ddamfn"]), run, frozen_epochs=0)


def test_another_number_of_heads_is_named_with_the_network_that_has_it(
    state_with_heads: Callable[[int], State], write: Any
) -> None:
    path = write(state_with_heads(4))
    with pytest.raises(DataError, match=r"with 4 attention heads, .* network has 2; --set network=ddamfn-4-heads"):
        start_from(DDAMFN(NETWORKS["ddamfn"]), path, frozen_epochs=0)
    start_from(DDAMFN(NETWORKS["ddamfn-4-heads"]), path, frozen_epochs=1)


@pytest.mark.parametrize("name", ["ddamfn", "ddamfn-3-heads"])
def test_a_backbone_fits_any_number_of_heads_and_leaves_the_attention_as_it_was_drawn(
    backbone_state: State, write: Any, name: str
) -> None:
    network = DDAMFN(NETWORKS[name])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = write(backbone_state)
    start_from(network, path, frozen_epochs=0)
    changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
    assert {key.split(".")[0] for key in changed} == {"stem", "stages", "last"}
    with pytest.warns(DataWarning, match="the attention starts from random numbers, and heads.epochs is 5"):
        start_from(network, path, frozen_epochs=5)


def test_other_weights_in_the_file_are_said_to_be_left_out(published_state: State, write: Any) -> None:
    path = write({"model": published_state, "ema": {key: value + 1 for key, value in published_state.items()}})
    with pytest.warns(DataWarning, match="'model' are used, not 'ema'. `abawkit import-weights --key`"):
        load_starting_weights(path)


def test_what_torch_wrote_is_not_taken_for_damaged_weights_of_abawkit(published_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"torch\.save wrote this file; .* `abawkit import-weights "):
        load_weights(published_file)
    (tmp_path / "lfs.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 3\n")
    with pytest.raises(DataError, match="is a Git LFS pointer"):
        load_weights(tmp_path / "lfs.safetensors")
