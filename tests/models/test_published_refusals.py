"""What lies under the name of weights and is none: each is named, nothing of it is run, and the next step is said."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.errors import DataError
from abawkit.models.published import import_published
from abawkit.models.weight_files import find_weights

Write = Callable[..., Path]

LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 16820086\n"
)
PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan\n warning</title></head><body></body></html>"


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return content.getvalue()


def tarred(name: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return content.getvalue()


def arrays() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.zeros(2))
    return content.getvalue()


OTHERS = {
    "empty": (b"", "is empty; download it again"),
    "LFS": (LFS, r"is a Git LFS pointer of 133 bytes, not the file itself \(16,820,086 bytes\); run `git lfs pull`"),
    "LFS on Windows": (LFS.replace(b"\n", b"\r\n"), r"is a Git LFS pointer of 136 bytes"),
    "annex": (b"/annex/objects/SHA256E-s16820086--00.pth\n", "is a git-annex pointer, .* `git annex get`"),
    "annex link": (b"../.git/annex/objects/a/b/SHA256E-s1--00.pth", "is a git-annex pointer"),
    "page": (PAGE, r"is a web page \(HTML, 'Google Drive - Virus scan warning'\), not weights: the server answered"),
    "page with blanks": (b"\xef\xbb\xbf\n  <HTML>\n<body>404</body>", r"is a web page \(HTML\)"),
    "page after a comment": (b"<!-- a --><html lang='en'>", r"is a web page \(HTML\)"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", r"is XML, not weights: .*AccessDenied"),
    "JSON": (b'{"message": "Not Found"}', r"is JSON, not weights: it begins with '{\"message\": \"Not Found\"}'"),
    "index": (
        b'{"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}',
        "is the index of weights in several files",
    ),
    "text": (b"Too many requests\n", "is text, not weights: it begins with 'Too many requests'"),
    "escapes": (b"\x1b[2Jhello\n", "not written by torch.save"),
    "gzip": (gzip.compress(b"x"), r"is compressed \(gzip\); unpack it"),
    "bzip2": (bz2.compress(b"x"), r"is compressed \(bzip2\)"),
    "xz": (lzma.compress(b"x"), r"is compressed \(xz\)"),
    "tar": (tarred("a.pth"), "is a tar archive; unpack it"),
    "zip of weights": (
        zipped("readme", "new/affecnet8.pth"),
        "is a zip archive that holds new/affecnet8.pth; unpack it",
    ),
    "zip of pictures": (zipped("a.jpg", "b.jpg"), "is a zip archive of 2 files without weights"),
    "npz": (arrays(), r"is an archive of NumPy arrays \(\.npz\)"),
    "npy": (b"\x93NUMPY\x01\x00", r"is a NumPy array \(\.npy\)"),
    "Keras": (b"\x89HDF\r\n\x1a\n\0", "is an HDF5 file, as Keras writes it"),
    "a pickle": (pickle.dumps({"a": 1}), "not written by torch.save"),
    "an old pickle": (pickle.dumps({"a": 1}, protocol=2), "not written by torch.save"),
    "half a zip": (zipped("archive/data.pkl")[:-30], "truncated, damaged or not written by torch.save"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_file_of_weights_is_named(tmp_path: Path, name: str) -> None:
    content, said = OTHERS[name]
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as refusal:
        import_published(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["LFS", "page", "gzip", "empty"])
def test_what_is_given_to_start_from_is_named_before_torch_is_needed(tmp_path: Path, name: str) -> None:
    content, said = OTHERS[name]
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=said):
        find_weights(tmp_path / "w.safetensors")


def test_a_folder_and_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; give a file of weights"):
        import_published(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        import_published(tmp_path / "absent.pth")


def test_a_torchscript_network_is_refused_with_the_lines_that_make_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(DataError, match="is a TorchScript network, which is code") as refusal:
        import_published(path)
    assert "torch.jit.load('net.pt'" in str(refusal.value)


class Options:
    """What a script keeps in its checkpoints."""


class Net(torch.nn.Module):
    """A network of a user."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 2, 3)


def run_lines(error: DataError, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the two lines of Python that a message has at its end, as a user would who trusts the file."""
    first, second = str(error).split("\n")[-2:]
    assert first.startswith("  import torch; ")
    assert second.startswith("  torch.save(")
    monkeypatch.chdir(folder)
    exec(f"{first.strip()}\n{second.strip()}\n", {})  # noqa: S102


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Net, "as it is a whole network"),
        (lambda: torch.nn.DataParallel(Net()), "as it is a whole network"),
        (lambda: {"epoch": 3, "net": Net()}, "as it holds a whole network as 'net'"),
        (
            lambda: {"options": Options(), "state_dict": Net().state_dict()},
            "to hold a state dict as 'state_dict'",
        ),
    ],
    ids=["network", "DataParallel", "in a dict", "beside options"],
)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_the_two_lines_of_a_refusal_make_a_state_dict_where_the_file_is_trusted(
    write: Write, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], what: str, legacy: bool
) -> None:
    path = write(make(), "MFN_msceleb.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"holds more than tensors, a '\S+', which loads only by running") as refusal:
        import_published(path)
    assert "Nothing was run" in str(refusal.value)
    assert what in str(refusal.value)
    run_lines(refusal.value, path.parent, monkeypatch)
    state = torch.load(path.with_name("MFN_msceleb-state-dict.pth"), weights_only=True)
    assert {key.removeprefix("module.") for key in state} == {"conv1.weight", "conv1.bias"}


@pytest.mark.parametrize("protocol", [4, 5])
def test_another_pickle_protocol_is_refused_with_the_lines_that_save_it_anew(
    write: Write, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    path = write({"a": torch.zeros(2)}, pickle_protocol=protocol)
    with pytest.raises(DataError, match=rf"was saved with pickle protocol {protocol}; only 2") as refusal:
        import_published(path)
    run_lines(refusal.value, path.parent, monkeypatch)
    assert torch.load(path.with_name("weights-state-dict.pth"), weights_only=True)["a"].equal(torch.zeros(2))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["in options", "in an array", "as a key"])
def test_code_within_what_is_let_through_is_refused_and_not_run(tmp_path: Path, write: Write, place: str) -> None:
    import argparse

    bomb = Bomb(tmp_path / "ran")
    array = np.empty(1, object)
    array[0] = bomb
    content = {"in options": argparse.Namespace(a=bomb), "in an array": array, "as a key": {bomb: 1}}[place]
    path = write({"model": {}, "more": content})
    with pytest.raises(DataError, match="refused: it holds more than tensors"):
        import_published(path)
    assert not (tmp_path / "ran").exists()


def test_nothing_of_numpy_is_called_with_what_a_file_says(write: Write) -> None:
    """An array whose state NumPy itself would refuse is only no tensor: its state was never given to NumPy."""
    path = write({"model": {"a": np.zeros(3)}})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in entries if name.endswith("data.pkl"))
    entries[name] = re.sub(rb"(X\x02\x00\x00\x00)f8", rb"\1O8", entries[name])
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    with pytest.raises(DataError, match="holds no state dict"):
        import_published(path)


def test_other_networks_are_said_to_be_others(write: Write) -> None:
    state = {
        "conv_stem.weight": torch.zeros(32, 3, 3, 3),
        "bn1.weight": torch.zeros(32),
        "classifier.weight": torch.ones(2),
    }
    with pytest.raises(DataError, match=r"another network's: 3 tensors, the first conv_stem\.weight \[32, 3, 3, 3\]"):
        import_published(write(state))


def test_an_onnx_graph_is_named_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07\x12\x07pytorch\xff\x00")
    with pytest.raises(DataError, match="is an ONNX graph"):
        import_published(tmp_path / "net.onnx")


def test_the_shards_of_the_index_are_not_looked_for(tmp_path: Path) -> None:
    index = {"weight_map": {f"features.{i}": "model-00001-of-00002.safetensors" for i in range(5000)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="is the index of weights in several files"):
        import_published(tmp_path / "model.safetensors.index.json")
