"""Files of weights and checkpoints: what they say of themselves, file by file, and that nothing in them is run."""

import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from abawkit.errors import DataError
from abawkit.inspection import inspect
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import digest_state, load_weights, save_weights
from abawkit.system.files import sha256, sha256_of
from abawkit.training.run import Trained

Edit = Callable[[Path, str, Any], None]
Flip = Callable[[Path], None]

GOLDEN = Path(__file__).parent.parent / "golden"


class Code:
    """A pickle that runs code when it is loaded by whoever trusts it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def seal(folder: Path) -> None:
    """Makes a checkpoint's manifest agree with its files again, as whoever wants to deceive would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    for name, entry in manifest["files"].items():
        if (folder / name).is_file():
            entry |= {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
    manifest["sha256"] = sha256(json.dumps(manifest, sort_keys=True).encode())
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def checkpoint(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint, after the second step of a run."""
    return Path(shutil.copytree(interrupted / "checkpoints/0000-000002", tmp_path / "checkpoints/0000-000002"))


def test_weights_say_what_they_are(trained: Trained) -> None:
    path = trained.out / "best.safetensors"
    found = inspect(path)
    assert (found.kind, found.problems) == ("weights", [])
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    assert found.facts["network"] == "ddamfn-nano"
    assert found.facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert found.facts["tasks"] == ["va", "expression", "au"]
    assert (found.facts["epoch"], found.facts["heads"]) == (trained.best_epoch, True)
    assert float(found.facts["figure"]) == pytest.approx(trained.best_score, abs=1e-6)
    assert found.digests == {"file": sha256_of(path), "weights": digest_state(load_weights(path).state)}


def test_weights_without_heads_and_notes_are_weights(tmp_path: Path) -> None:
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("heads.")}
    save_weights(tmp_path / "w.safetensors", network.config, state, {"source": "sha256:12"})
    found = inspect(tmp_path / "w.safetensors")
    assert (found.facts["heads"], found.facts["source"], found.problems) == (False, "sha256:12", [])
    assert "tasks" not in found.facts


def test_a_name_does_not_make_weights(trained: Trained, tmp_path: Path) -> None:
    shutil.copy(trained.out / "best.safetensors", tmp_path / "mine.bin")
    assert inspect(tmp_path / "mine.bin").kind == "weights"


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_truncated_weights_are_a_problem(trained: Trained, tmp_path: Path, size: int) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes((trained.out / "best.safetensors").read_bytes()[:size])
    found = inspect(path)
    assert len(found.problems) == 1
    assert (found.facts["bytes"], found.digests["file"]) == (path.stat().st_size, sha256_of(path))


def test_published_weights_are_to_be_imported(tmp_path: Path) -> None:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "ddamfn_state_dict.json").read_text())
    state = {}
    for key, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(key.encode())).uniform(0.5, 1.5, shape).astype(np.float32)
        state[key] = torch.tensor(0) if key.endswith("num_batches_tracked") else torch.from_numpy(values)
    path = tmp_path / "affectnet.pth"
    torch.save({"model_state_dict": state}, path)
    found = inspect(path)
    assert (found.kind, found.digests, found.problems) == ("published weights", {"file": sha256_of(path)}, [])
    assert found.facts["next"] == f"abawkit import-weights {path} --out {tmp_path / 'affectnet.safetensors'}"


def test_weights_of_a_backbone_say_that_the_attention_is_absent(tmp_path: Path) -> None:
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    backbone = {k: v for k, v in network.state_dict().items() if not k.startswith(("heads.", "attention."))}
    save_weights(tmp_path / "w.safetensors", network.config, backbone)
    assert inspect(tmp_path / "w.safetensors").summary.endswith("its backbone alone: without attention and heads")


@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors", "w.pth.tar"])
def test_published_weights_are_told_by_their_content(tmp_path: Path, name: str) -> None:
    state = {"features.0.conv.weight": torch.zeros(64, 3, 3, 3)}
    if name == "w.safetensors":
        safetensors.torch.save_file(state, tmp_path / name, {"format": "pt"})
    else:
        torch.save({"state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=name == "w.ckpt")
    with pytest.raises(DataError, match="these are not weights of DDAMFN"):
        inspect(tmp_path / name)


def test_a_pointer_in_the_place_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 16820086\n")
    (problem,) = inspect(tmp_path / "w.safetensors").problems
    assert "is a Git LFS pointer" in problem
    (tmp_path / "w.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 16820086\n")
    with pytest.raises(DataError, match="is a Git LFS pointer"):
        inspect(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt"])
@pytest.mark.parametrize("archive", [True, False])
def test_code_in_published_weights_is_not_run(tmp_path: Path, name: str, archive: bool) -> None:
    path, marker = tmp_path / name, tmp_path / "ran"
    if archive:
        torch.save({"model_state_dict": Code(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Code(marker)))
    with pytest.raises(DataError):
        inspect(path)
    assert not marker.exists()


def test_a_checkpoint_says_where_its_run_was(checkpoint: Path, curated: Path) -> None:
    found = inspect(checkpoint)
    assert (found.kind, found.problems) == ("checkpoint", [])
    assert (found.facts["epochs_done"], found.facts["batches_done"], found.facts["steps"]) == (0, 2, 2)
    assert found.facts["whole"]
    assert found.facts["recipe"]["like"] == "demo"
    assert found.facts["data"]["folder"] == str(curated)
    files = {path.name: sha256_of(path) for path in checkpoint.iterdir() if path.name != "manifest.json"}
    assert found.digests.items() >= files.items()


@pytest.mark.parametrize("name", ["manifest.json", "state.pt"])
def test_a_file_of_a_checkpoint_stands_for_all_of_it(checkpoint: Path, name: str) -> None:
    assert inspect(checkpoint / name).kind == "checkpoint"


def test_every_damaged_file_of_a_checkpoint_is_named(checkpoint: Path, flip: Flip) -> None:
    flip(checkpoint / "network.safetensors")
    (checkpoint / "average.safetensors").unlink()
    found = inspect(checkpoint)
    assert found.facts["damaged"] == ["average.safetensors", "network.safetensors"]
    assert not found.facts["whole"]
    assert found.facts["steps"] == 2


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_truncated_state_is_not_loaded(checkpoint: Path, size: int) -> None:
    path = checkpoint / "state.pt"
    path.write_bytes(path.read_bytes()[:size])
    found = inspect(checkpoint)
    assert found.facts["damaged"] == ["state.pt"]
    assert "steps" not in found.facts


def test_code_in_a_state_is_not_run_though_every_digest_agrees(checkpoint: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"progress": Code(marker)}, checkpoint / "state.pt")
    seal(checkpoint)
    found = inspect(checkpoint)
    assert any("state.pt" in problem for problem in found.problems)
    assert not marker.exists()


@pytest.mark.parametrize("content", [[], {}, {"progress": 3}, {"recipe": 3, "progress": {"steps": "x"}}])
def test_a_state_of_other_things_is_a_problem(checkpoint: Path, content: Any) -> None:
    torch.save(content, checkpoint / "state.pt")
    seal(checkpoint)
    found = inspect(checkpoint)
    assert found.problems
    assert all("state.pt" in problem for problem in found.problems)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "", "..", "a\0b"])
def test_a_manifest_can_name_no_file_elsewhere(checkpoint: Path, edit: Edit, name: str) -> None:
    edit(checkpoint / "manifest.json", "files", {name: {"bytes": 1, "sha256": "0" * 64}})
    seal(checkpoint)
    found = inspect(checkpoint)
    assert (found.facts["whole"], found.digests) == (False, {})


@pytest.mark.parametrize("field", ["format", "epochs_done", "batches_done", "files"])
@pytest.mark.parametrize("value", [None, "x", [1], 1.5, {"state.pt": 3}])
def test_a_wrong_type_in_a_checkpoint_is_a_problem(checkpoint: Path, edit: Edit, field: str, value: Any) -> None:
    edit(checkpoint / "manifest.json", field, value)
    assert str(checkpoint) in inspect(checkpoint).problems[0]


def test_a_manifest_that_was_edited_is_damaged(checkpoint: Path, edit: Edit) -> None:
    edit(checkpoint / "manifest.json", "note", "mine")
    assert inspect(checkpoint).facts["damaged"] == ["manifest.json"]


def test_a_checkpoint_without_a_state_is_not_whole(checkpoint: Path, edit: Edit) -> None:
    (checkpoint / "state.pt").unlink()
    edit(checkpoint / "manifest.json", "files", {})
    seal(checkpoint)
    found = inspect(checkpoint)
    assert found.facts["damaged"] == ["manifest.json"]
    assert "does not say which size and digest state.pt has" in found.problems[0]


def test_a_checkpoint_under_the_name_of_another_is_a_problem(checkpoint: Path) -> None:
    moved = checkpoint.rename(checkpoint.with_name("0009-000002"))
    assert inspect(moved).problems == [
        f"{moved / 'manifest.json'}: is that of the checkpoint 0000-000002: its folder was renamed"
    ]


def test_a_checkpoint_that_was_not_finished_says_so(checkpoint: Path) -> None:
    partial = checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.partial"))
    (partial / "manifest.json").unlink()
    found = inspect(partial)
    assert "when its run was killed" in found.problems[0]
    assert str(partial / "manifest.json") in found.problems[1]
