"""Finds the file of weights for a path, and detects the kind of a file by its content, without torch.

A file that should hold weights is often something else: a Git LFS pointer, a web page, an archive. The error says
which, and how to get the weights.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Final, Literal, NoReturn

from abawkit.errors import DataError, format_count, printable
from abawkit.run_names import BEST, CHECKPOINTS, NETWORK

Container = Literal["safetensors", "zip", "legacy", "pickle"]
"""Safetensors, the containers of `torch.save` (``zip``, before torch 1.6 ``legacy``), or a bare pickle."""

_HEAD_BYTES: Final = 1 << 16
LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number that `torch.save` began a file with before torch 1.6. Source: torch/serialization.py."""

_COMPRESSIONS: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pth.tar", ".pkl")


def find_weights(path: Path) -> Path:
    """The file of weights for a path: the file itself, or the best weights of a run folder.

    Raises:
        DataError: If it does not exist, the folder holds no finished run, or the file is recognised as something else
            than weights; the message says what it is.
    """
    if path.is_dir():
        return _find_in_folder(path)
    detect_container(path)
    return path


def _find_in_folder(folder: Path) -> Path:
    if (folder / BEST).is_file():
        return folder / BEST
    if (folder / NETWORK).is_file():
        raise DataError(f"{folder}: is a checkpoint of a run; give its weights, {folder / NETWORK}")
    if (folder / CHECKPOINTS).is_dir():
        raise DataError(
            f"{folder}: this run has not ended, it holds no {BEST}; continue it with "
            f"`abawkit train --resume --out {folder}`, or give {NETWORK} of one of its {CHECKPOINTS}"
        )
    raise DataError(f"{folder}: this folder holds no {BEST}; give the folder of a finished run, or a file of weights")


def detect_container(path: Path) -> Container:
    """The container of a file of weights, by its content.

    Returns:
        The container. An unknown file counts as a ``pickle``, and fails when it is read.

    Raises:
        DataError: If there is no such file, or it is recognised as something else than weights: a Git LFS or git-annex
            pointer, a web page, text, an archive, a TorchScript network. The message says what it is and what to do.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a file of weights")
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a file of weights, or the folder of a run")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise DataError(f"{path}: is empty; download it again")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "safetensors"
    if head.startswith(b"PK"):
        return _detect_zip(path)
    if head.startswith(LEGACY):
        return "legacy"
    _refuse_text(path, head)
    _refuse_binary(path, head)
    return "pickle"


def _detect_zip(path: Path) -> Container:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{path}: truncated, damaged or not written by torch.save ({error}); copy or download it again"
        ) from error
    if any("/code/" in name and name.endswith(".py") for name in names):
        _refuse_file(
            path,
            "is a TorchScript network, which is code. Nothing was run. On a machine where you trust the file, two "
            "lines of Python make its state dict, which can be imported:\n"
            f'  import torch; network = torch.jit.load({path.name!r}, map_location="cpu")\n'
            f"  torch.save(network.state_dict(), {name_state_dict(path)!r})",
        )
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "zip"
    if any(name.endswith((".npy", ".npy/")) for name in names):
        _refuse_file(path, "is an archive of NumPy arrays (.npz), not weights that torch.save or safetensors wrote")
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        _refuse_file(
            path, "is a program that torch.export wrote, not a state dict; give the weights that it was made of"
        )
    inside = [name for name in names if name.endswith(_SUFFIXES)]
    if inside:
        _refuse_file(path, f"is a zip archive that holds {printable(inside[0][:200])}; unpack it and give that file")
    count = format_count(len(names), "file")
    return _refuse_file(path, f"is a zip archive of {count} without weights that torch.save wrote")


def _refuse_text(path: Path, head: bytes) -> None:
    """Refuses text: pointers of Git LFS and git-annex, web pages, XML, JSON."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start[:1000].lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"^size (\d+)", start, flags=re.MULTILINE)
        whole = f" ({int(size[1]):,} bytes)" if size and len(size[1]) < 19 else ""
        _refuse_file(
            path,
            f"is a Git LFS pointer of {path.stat().st_size:,} bytes, not the file itself{whole}; run `git lfs pull` in "
            "its repository, or download the file from the repository's page",
        )
    if b"annex/objects/" in head[:1000] and len(head) < _HEAD_BYTES:
        _refuse_file(path, "is a git-annex pointer, not the file itself; run `git annex get` in its repository")
    if lower.startswith((b"<!doctype html", b"<html", b"<head")) or (lower.startswith(b"<") and b"<html" in lower):
        title = re.search(rb"<title[^>]*>(.*?)</title>", head, flags=re.DOTALL | re.IGNORECASE)
        name = " ".join(title[1].decode(errors="replace").split())[:100] if title else ""
        _refuse_file(
            path,
            f"is a web page (HTML{f', {printable(name)!r}' if name else ''}), not weights: the server answered the "
            "download with a page; open the link in a browser and save what it offers",
        )
    if lower.startswith(b"<"):
        _refuse_file(
            path, f"is XML, not weights: {_quote_start(start)}; the server answered the download with a message"
        )
    if lower.startswith((b"{", b"[")):
        _refuse_json(path, start)
    if _is_text(head):
        _refuse_file(path, f"is text, not weights: {_quote_start(start)}")


def _refuse_json(path: Path, start: bytes) -> None:
    if b'"weight_map"' in start:
        _refuse_file(path, "is the index of weights in several files, not weights; give the .safetensors file itself")
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        if not _is_text(start):
            return
    _refuse_file(path, f"is JSON, not weights: {_quote_start(start)}")


def _refuse_binary(path: Path, head: bytes) -> None:
    for magic, name in _COMPRESSIONS.items():
        if head.startswith(magic):
            _refuse_file(path, f"is compressed ({name}); unpack it and give the file of weights in it")
    if head[257:262] == b"ustar":
        _refuse_file(path, "is a tar archive; unpack it and give the file of weights in it")
    if head.startswith(b"\x89HDF"):
        _refuse_file(path, "is an HDF5 file, as Keras writes it, not weights of PyTorch")
    if head.startswith(b"\x93NUMPY"):
        _refuse_file(path, "is a NumPy array (.npy), not weights that torch.save or safetensors wrote")
    if path.suffix.lower() == ".onnx":
        _refuse_file(path, "is an ONNX graph, not a state dict; give the weights that it was made of (.pth)")


def _is_text(content: bytes) -> bool:
    """Whether the first bytes of a file are text, except for a last character that is cut off."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if len(content) < _HEAD_BYTES or error.start < _HEAD_BYTES - 4:
            return False
        text = content[: error.start].decode()
    # a pickle of the oldest protocol is letters too, and whoever unpickles must refuse it for what it does
    return not re.match(r"c\w[\w.]*\n\w+\n|\(", text) and all(c.isprintable() or c in "\t\r\n\f" for c in text)


def _quote_start(start: bytes) -> str:
    return f"it begins with {' '.join(start[:200].decode(errors='replace').split())[:60]!r}"


def _refuse_file(path: Path, reason: str) -> NoReturn:
    raise DataError(f"{path}: {reason}")


def name_state_dict(path: Path) -> str:
    """A file name for the state dict of a file, for advice."""
    return f"{path.name.split('.')[0] or 'network'}-state-dict.pth"
