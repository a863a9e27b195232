"""Inspects networks that run without abawkit: programs of `torch.export` and ONNX files, its own and others'."""

import json
import zipfile
from pathlib import Path
from typing import Any, Final

from abawkit.errors import ConfigError, DataError
from abawkit.inspection.report import Inspection, Record
from abawkit.system.files import sha256_of

NOTES_FILE: Final = "/abawkit.json"
"""How the name of the notes ends, in the archive of a program."""

NOTES_KEY: Final = "abawkit"
"""Key of the notes in the metadata of an ONNX file."""

_PROGRAM: Final = "/models/"
"""Programs of `torch.export` are archives with a folder of this name; what `torch.save` writes has a pickle instead."""


def is_program(path: Path, head: bytes) -> bool:
    """Whether a file is a program that `torch.export.save` wrote.

    Args:
        path: The file.
        head: Its first bytes.
    """
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_PROGRAM in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix == ".pt2"


def inspect_program(path: Path) -> Inspection:
    """Inspects a program of `torch.export`; a damaged archive is a problem, not an error. Nothing in it is loaded."""
    found = _begin(path, "a program of torch.export")
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                found.problems.append(f"{path}: {damaged} in it is damaged; export the network again")
            notes = [name for name in archive.namelist() if name.endswith(NOTES_FILE)]
            content = archive.read(notes[0]) if len(notes) == 1 and not damaged else b""
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        found.problems.append(f"{path}: the archive can't be read ({error}); export the network again")
        return found
    if content:
        _note_network(found, content)
    return found


def inspect_onnx(path: Path) -> Inspection:
    """Inspects an ONNX file; a model that breaks ONNX's rules is a problem.

    Raises:
        ConfigError: If the package onnx is not installed.
        DataError: If it is no ONNX file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConfigError(f"{path}: needs the package onnx; pip install 'abawkit[onnx]'") from error
    found = _begin(path, "an ONNX network")
    try:
        model: Any = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise DataError(f"{path}: is no ONNX file ({str(error).splitlines()[0]})") from error
    if not model.graph.node:
        raise DataError(f"{path}: is no ONNX file, or one without operators")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        found.problems.append(f"{path}: breaks the rules of ONNX ({str(error).strip().splitlines()[0]})")
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    found.note("opset", opsets.pop("ai.onnx", None))
    found.note("other_opsets", opsets or None)
    found.note("producer", f"{model.producer_name} {model.producer_version}".strip() or None)
    weights = {tensor.name for tensor in model.graph.initializer}
    found.note("inputs", [_describe_value(value) for value in model.graph.input if value.name not in weights])
    found.note("outputs", [_describe_value(value) for value in model.graph.output])
    for entry in model.metadata_props:
        if entry.key == NOTES_KEY:
            _note_network(found, entry.value.encode())
    return found


def _begin(path: Path, what: str) -> Inspection:
    found = Inspection(path, "exported network", what)
    found.note("bytes", path.stat().st_size)
    found.digests["file"] = sha256_of(path)
    return found


def _describe_value(value: Any) -> str:
    sizes = [str(side.dim_param or side.dim_value or "?") for side in value.type.tensor_type.shape.dim]
    return f"{value.name} ({', '.join(sizes)})"


def _note_network(found: Inspection, content: bytes) -> None:
    """Adds what `abawkit export` noted about the network."""
    try:
        notes = json.loads(content)
    except ValueError:
        notes = None
    if not isinstance(notes, dict):
        found.problems.append(f"{found.path}: its notes of abawkit are not a JSON object")
        return
    record = Record(str(found.path), notes, found.problems)
    network, tasks = record.get("network", str), record.get("tasks", list)
    for name in ("network", "tasks", "size", "input", "columns", "abawkit", "torch"):
        found.note(name, notes.get(name))
    if digest := record.get("digest", str):
        found.digests["weights"] = digest
    if network and tasks:
        found.summary += f" of {network}, for {', '.join(map(str, tasks))}; made by abawkit export"
