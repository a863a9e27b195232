"""Reads files of `torch.save` without running the code that such a file can contain.

Torch's restricted unpickler (``weights_only=True``) builds tensors, numbers, text and containers. Many public
checkpoints also contain NumPy scalars and arrays, and the options of a training script (`argparse.Namespace`): inert
classes of this module replace them, so that no function of NumPy is called with a file's values. Everything else is
refused.
"""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import torch
from torch import Tensor

from abawkit.errors import DataError, printable
from abawkit.models.weight_files import Container, detect_container, name_state_dict

STATE_DICTS: Final = (
    "model_state_dict",
    "state_dict",
    "model",
    "net",
    "network",
    "ema",
    "state_dict_ema",
    "model_ema",
    "params",
    "weights",
)
"""Keys under which checkpoints keep a state dict, most frequent first; for advice only, as all keys are searched."""

_NUMBERS: Final = re.compile(r"[<>|=]?(f2|f4|f8|i1|i2|i4|i8|u1|b1)")
_MODULE: Final = frozenset({"_parameters", "_buffers", "_modules"})
"""Attributes of every `torch.nn.Module`: a pickle with these names contains one."""

_NOT_NETWORKS: Final = ("torch.", "collections.", "builtins.", "__builtin__.", "numpy.", "argparse.")
"""Prefixes of classes that are no networks."""

_MAX_PICKLE: Final = 1 << 28


class _NumpyType:
    """Replaces ``numpy.dtype``: its code, and the order of bytes."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = str(state[1])


class _NumpyArray:
    """Replaces ``numpy._core.multiarray._reconstruct``, which makes an array that its state fills."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _NumpyScalar:
    """Replaces ``numpy._core.multiarray.scalar``."""

    def __init__(self, kind: object = None, content: object = b"") -> None:
        self.kind, self.content = kind, content


class _Inert:
    """Replaces a class whose content is not needed."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_INERT: Final[list[Any]] = [
    *((_NumpyArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_NumpyScalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_NumpyType, "numpy.dtype"),
    (_Inert, "numpy.ndarray"),
    (_Inert, "argparse.Namespace"),
]
"""Names that a file may contain beyond torch's own list, and the class of this module that replaces each."""


def load_torch_file(path: Path) -> Any:
    """Reads a file that `torch.save` wrote, tensors on the CPU.

    NumPy scalars and arrays are objects that `as_tensor` understands.

    Args:
        path: The file, as a zip archive or in the form before torch 1.6.

    Raises:
        DataError: If the file is absent, damaged or something else, or holds what only code could load, none of which
            was run. For a whole network the message has two lines of Python that save its state dict.
    """
    container = detect_container(path)
    if container == "safetensors":
        raise DataError(f"{path}: is a safetensors file, not one that torch.save wrote")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_INERT):
            warnings.simplefilter("ignore")  # torch's advice about formats, which a user can't act on
            with path.open("rb") as file:  # not by its name, which need not be UTF-8
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in any of Python's exceptions
        raise DataError(f"{path}: {_explain_failure(path, container, error)}") from error


def as_tensor(value: object) -> Tensor | None:
    """A tensor, or a NumPy scalar or array, as a dense CPU tensor without gradients; None for anything else."""
    if isinstance(value, Tensor):
        plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
        return value.detach() if plain else None
    if isinstance(value, _NumpyScalar):
        return _make_tensor(value.kind, (), value.content, fortran=False)
    if isinstance(value, _NumpyArray) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, fortran, content = value.state
        return _make_tensor(kind, shape, content, fortran=bool(fortran))
    return None


def describe_value(value: object) -> str:
    """The kind of a value, for messages."""
    if isinstance(value, _NumpyArray | _NumpyScalar):
        return "a NumPy array that holds other things than real numbers"
    if isinstance(value, _Inert):
        return "an object of a class"
    if isinstance(value, Tensor):
        return "a tensor that is sparse, quantised or without values"
    return f"a {type(value).__name__}"


def _make_tensor(kind: object, shape: object, content: object, *, fortran: bool) -> Tensor | None:
    """The tensor of an array's bytes; None where they are not numbers or not of this shape."""
    if not isinstance(kind, _NumpyType) or not isinstance(content, bytes | bytearray) or not isinstance(shape, tuple):
        return None
    code = kind.code if kind.code[:1] in "<>|=" else kind.order + kind.code
    if not _NUMBERS.fullmatch(code) or not all(type(side) is int and side >= 0 for side in shape):
        return None
    dtype = np.dtype(code)
    count = 1
    for side in shape:
        count *= side
    if count * dtype.itemsize != len(content):
        return None
    try:
        array = np.frombuffer(bytes(content), dtype).reshape(shape, order="F" if fortran else "C")
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C", copy=True))
    except ValueError:  # more dimensions, or longer ones, than an array can have
        return None


def _explain_failure(path: Path, container: Container, error: Exception) -> str:
    """Why a file could not be read, and what to do."""
    if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return (
            f"refused: it holds more than tensors, a '{wanted[1]}', which loads only by running code that the file "
            f"names. Nothing was run; {_advise_conversion(path, container)}"
        )
    if container == "pickle":
        return (
            f"not written by torch.save, or truncated, damaged ({type(error).__name__}); give weights that torch.save "
            "or safetensors wrote"
        )
    if (protocol := _read_protocol(path, container)) > 2:
        return (
            f"refused: it was saved with pickle protocol {protocol}; only 2, which torch.save uses unless told "
            "otherwise, is read without running code. On a machine where you trust the file, two lines of Python save "
            "it again:\n"
            f'  import torch; content = torch.load({path.name!r}, map_location="cpu", weights_only=False)\n'
            f"  torch.save(content, {name_state_dict(path)!r})"
        )
    cause = re.search(r"WeightsUnpickler error: (.{1,200})", str(error))
    what = printable(cause[1].strip().rstrip(".")) if cause else type(error).__name__
    if "DTensor" in what:
        return "holds tensors that several processes share (DTensor); save the whole state dict from one of them"
    return f"truncated, damaged, or not written by torch.save ({what}); copy or download it again"


def _advise_conversion(path: Path, container: Container) -> str:
    """How to get a state dict out of a file that holds more, as far as its pickle shows."""
    ask = "ask whoever made it for its state dict alone"
    root, names = _outline_pickle(path, container)
    found = {text for kind, text in names if kind == "text"}
    if root and found >= _MODULE:
        value, what = "network.state_dict()", "it is a whole network"
    elif found >= _MODULE and (key := _find_network_key(names)):
        value, what = f"network[{key!r}].state_dict()", f"it holds a whole network as {key!r}"
    elif not root and (key := next((key for key in STATE_DICTS if key in found), "")):
        value, what = f"network[{key!r}]", f"it seems to hold a state dict as {key!r}"
    else:
        return ask
    return (
        f"{ask}. Or, as {what}, make it on a machine where you trust the file and have the code that it names, with "
        "two lines of Python:\n"
        f'  import torch; network = torch.load({path.name!r}, map_location="cpu", weights_only=False)\n'
        f"  torch.save({value}, {name_state_dict(path)!r})"
    )


def _outline_pickle(path: Path, container: Container) -> tuple[bool, list[tuple[str, str]]]:
    """Whether a pickle's outermost value is an object of a class, and its texts and classes in order.

    Only the pickle's operations are read; nothing is built.
    """
    names: list[tuple[str, str]] = []
    try:
        for operation, argument, _ in _read_operations(path, container):
            if operation.name in ("GLOBAL", "STACK_GLOBAL"):
                names.append(("class", str(argument or "").replace(" ", ".")))
            elif "UNICODE" in operation.name or "STRING" in operation.name:
                names.append(("text", str(argument)))
            elif operation.name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "MARK"):
                names.append(("container", operation.name))
    except Exception:  # noqa: S110 - of a damaged pickle, what came before the damage
        pass
    if container == "legacy":  # which stores the class of each module as ('module', class, file, source)
        names = _drop_sources(names)
    first = names[0] if names else ("", "")
    return first[0] == "class" and not first[1].startswith("collections."), names


def _drop_sources(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names without the mark and the text that precede the class of a module in the form before torch 1.6."""
    kept: list[tuple[str, str]] = []
    for name in names:
        if name[0] == "class" and kept[-2:] == [("container", "MARK"), ("text", "module")]:
            del kept[-2:]
        kept.append(name)
    return kept


def _find_network_key(names: list[tuple[str, str]]) -> str:
    """The text before the first class that is neither torch's own nor a container: the key of a whole network."""
    for (kind, key), (following, name) in pairwise(names):
        other = name.startswith("torch.nn.modules.") or not name.startswith(_NOT_NETWORKS)
        if kind == "text" and following == "class" and other:
            return printable(key[:100])
    return ""


def _read_protocol(path: Path, container: Container) -> int:
    try:
        operation, argument, _ = next(_read_operations(path, container))
        return int(argument) if operation.name == "PROTO" else 0
    except Exception:
        return 0


def _read_operations(path: Path, container: Container) -> Iterator[Any]:
    """The operations of the pickle that holds a file's values."""
    if container == "zip":
        with zipfile.ZipFile(path) as archive:
            (name,) = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
            with archive.open(name) as file:
                yield from pickletools.genops(file.read(_MAX_PICKLE))
        return
    with path.open("rb") as file:
        for _ in range(3 if container == "legacy" else 0):  # a number, a version, the sizes of C types
            _skip_pickle(file)
        yield from pickletools.genops(file)


def _skip_pickle(file: IO[bytes]) -> None:
    for _ in pickletools.genops(file):
        pass
