"""Files of weights whose names are not UTF-8 are read as any others."""

import os
import shutil
from pathlib import Path

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.published import import_published
from abawkit.models.weights import digest_state, load_weights, save_weights


def test_published_weights_are_read_under_any_name(published_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / os.fsdecode(b"caf\xe9.pth")
    shutil.copyfile(published_file, copy)
    assert import_published(copy).digest == import_published(published_file).digest


def test_own_weights_are_written_and_read_under_any_name(tmp_path: Path) -> None:
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    path = tmp_path / os.fsdecode(b"\xff.safetensors")
    save_weights(path, network.config, network.state_dict())
    assert digest_state(load_weights(path).state) == digest_state(network.state_dict())
