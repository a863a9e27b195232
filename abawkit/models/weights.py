"""Weights as safetensors files, with the configuration of their network and a digest that shows damage."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from abawkit.errors import ConfigError, DataError, printable
from abawkit.models.config import NetworkConfig
from abawkit.models.devices import to_host
from abawkit.models.network import ATTENTION, HEADS
from abawkit.models.sequence import AnyNetwork, build_network
from abawkit.models.sequence_config import AnyConfig, SequenceConfig, parse_config
from abawkit.models.weight_files import detect_container
from abawkit.system.files import sha256, write_bytes

FORMAT: Final = "abawkit.network.2"
_FROM_ZERO: Final = "abawkit.network.1"
"""The format before it, which is read too; its metadata counts epochs from 0."""

HEADER: Final = "abawkit"
"""The metadata entry of a safetensors file by which abawkit recognises its own files."""

_MAX_LINES = 10
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32)


class Weights(NamedTuple):
    """The content of a file of weights of a network that sees frames.

    Attributes:
        config: The network that the weights belong to.
        state: Its state dict, on the CPU.
        metadata: Further notes of the writer.
    """

    config: NetworkConfig
    state: dict[str, Tensor]
    metadata: dict[str, str]


class AnyWeights(NamedTuple):
    """As `Weights`, of any network."""

    config: AnyConfig
    state: dict[str, Tensor]
    metadata: dict[str, str]


def digest_state(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 digest of the names, types, shapes and values of a state dict, in any order."""
    lines = []
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        values = sha256(tensor.reshape(-1).view(torch.uint8).numpy().data)
        lines.append(f"{name} {tensor.dtype} {list(tensor.shape)} {values}")
    return sha256("\n".join(lines).encode())


def _digest_content(state: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    return sha256((digest_state(state) + json.dumps(header, sort_keys=True)).encode())


def check_state(config: AnyConfig, state: Mapping[str, Tensor], source: str, *, heads_optional: bool) -> None:
    """Checks that a state dict is complete, finite and made for a network.

    Args:
        config: The network.
        state: Its state dict.
        source: Where the state comes from, for the message.
        heads_optional: Whether all parameters of the three heads may be absent, and with them the attention's, as in
            the published backbone.

    Raises:
        DataError: If keys are missing or unexpected, or a tensor has another shape, another kind of numbers, or
            values that are not finite; the message names them.
    """
    blocks = config.layers if isinstance(config, SequenceConfig) else sum(1 + stage.depth for stage in config.stages)
    if blocks > len(state):  # to build it would take minutes, if a damaged file has thousands
        raise DataError(f"{source}: a network of {blocks:,} blocks has more than these {len(state):,} tensors")
    expected = _list_shapes(config)
    if heads_optional and not any(key.startswith(HEADS) for key in state):
        absent = (HEADS,) if any(key.startswith(ATTENTION) for key in state) else (HEADS, ATTENTION)
        expected = {key: shape for key, shape in expected.items() if not key.startswith(absent)}
    problems = describe_differences(expected, state)
    problems += [f"{key}: holds NaN or infinity" for key, value in state.items() if not _is_finite(value)]
    if problems:
        raise DataError(
            f"{source}: these are not weights of this network, {len(problems)} differences:\n"
            + format_list(problems)
            + "\ngive weights of the same network, or the network's own configuration; nothing was loaded"
        )


def _is_finite(value: Tensor) -> bool:
    """Whether there is no NaN and no infinity; other types than those of weights are refused elsewhere."""
    return value.dtype not in _TYPES or bool(value.float().isfinite().all())


@cache
def _list_shapes(config: AnyConfig) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build_network(config).state_dict().items()}


def describe_differences(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> list[str]:
    """A line for each key that is missing, unexpected, of another shape or of another kind of numbers.

    Args:
        expected: Shape by key. Counts of batches are integers, everything else is real.
        state: The tensors to check.
    """
    problems = [f"missing: {key} {list(shape)}" for key, shape in expected.items() if key not in state]
    problems += [f"unexpected: {printable(key)} {list(state[key].shape)}" for key in sorted(state.keys() - expected)]
    for key, shape in expected.items():
        if key in state and state[key].shape != shape:
            problems.append(f"{key}: got shape {list(state[key].shape)}, expected {list(shape)}")
        elif key in state and state[key].is_floating_point() == key.endswith("num_batches_tracked"):
            problems.append(f"{key}: got numbers of type {state[key].dtype}")
        elif key in state and state[key].dtype not in _TYPES:
            problems.append(f"{key}: got numbers of type {state[key].dtype}, expected float32")
    return problems


def format_list(lines: list[str]) -> str:
    """The first ten lines, and how many more there are."""
    more = [f"... and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return "\n".join([*lines[:_MAX_LINES], *more])


def apply_weights(
    network: AnyNetwork, state: Mapping[str, Tensor], source: str = "state dict", *, heads_optional: bool = False
) -> None:
    """Copies a state dict into a network: all of it, or nothing.

    Args:
        network: Changed in place; keeps its device and types.
        state: A state dict, as `Weights.state`.
        source: Where the state comes from, for the message.
        heads_optional: Accept a state without heads, or without heads and attention; the network keeps its own.

    Raises:
        DataError: If the state is not this network's; see `check_state`.
    """
    check_state(network.config, state, source, heads_optional=heads_optional)
    network.load_state_dict(state, strict=not heads_optional)


def save_weights(
    path: Path, config: AnyConfig, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes weights with their network's configuration and a digest; replaces an existing file in one step.

    The same arguments give the same bytes.

    Args:
        path: The safetensors file to write.
        config: The network.
        state: Its state dict, with or without heads.
        metadata: Further notes.

    Raises:
        DataError: If `state` is not the network's; see `check_state`.
    """
    state = to_host(state)
    check_state(config, state, str(path), heads_optional=True)
    tensors = {key: value.contiguous() for key, value in state.items()}
    header = {"format": FORMAT, "network": config.to_dict(), "metadata": dict(metadata or {})}
    header["digest"] = _digest_content(tensors, header)
    # One entry, as safetensors writes several in random order.
    write_bytes(path, safetensors.torch.save(tensors, {HEADER: json.dumps(header, sort_keys=True)}))


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Opens a safetensors file, whose name need not be UTF-8, though the library takes no other."""
    name = os.fsencode(path)
    if name == name.decode(errors="replace").encode():
        with safe_open(str(path), "pt") as opened:
            yield opened
    else:
        with path.open("rb") as file, safe_open(f"/proc/self/fd/{file.fileno()}", "pt") as opened:
            yield opened


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file.

    Raises:
        DataError: If the file is damaged, or not a safetensors file.
    """
    try:
        with open_safetensors(path) as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path}: truncated, damaged or not a safetensors file ({error}); copy or download it again"
        ) from error


def load_weights(path: Path, *, heads_optional: bool = False) -> Weights:
    """Reads and checks a file of `save_weights` with a network that sees frames.

    Args:
        path: The safetensors file.
        heads_optional: Accept a file without heads, as of imported weights, or without heads and attention, as of an
            imported backbone.

    Raises:
        DataError: If the file is absent, damaged, of another format, or incomplete; the difference is named. If it is a
            sequence network.
    """
    config, state, metadata = load_any_weights(path, heads_optional=heads_optional)
    if isinstance(config, SequenceConfig):
        raise DataError(
            f"{path}: is a sequence network, whose input is features and not frames; give a network that sees frames"
        )
    return Weights(config, state, metadata)


def load_any_weights(path: Path, *, heads_optional: bool = False) -> AnyWeights:
    """Reads and checks a file of `save_weights` with any network; the rest is as in `load_weights`."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; give a safetensors file of weights")
    if path.stat().st_size and detect_container(path) in ("zip", "legacy"):
        raise DataError(
            f"{path}: torch.save wrote this file; abawkit reads its own: convert published weights with "
            f"`abawkit import-weights {path} --out {path.with_suffix('.safetensors')}`, and train heads on them"
        )
    notes, state = read_safetensors(path)
    text = notes.get(HEADER)
    if text is None:
        raise DataError(
            f"{path}: holds tensors, but not in the format {FORMAT}; give a file that abawkit wrote, or convert "
            "published weights with `abawkit import-weights`"
        )
    try:
        header = json.loads(text)
        found, digest = header["format"], header.pop("digest")
        config = parse_config(header["network"])
        metadata = {str(key): str(value) for key, value in header["metadata"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ConfigError) as error:
        raise DataError(f"{path}: its header is damaged ({error}); copy the file again") from error
    if found not in (FORMAT, _FROM_ZERO):
        raise DataError(f"{path}: got format {found!r}, expected {FORMAT!r}; use the abawkit that wrote it")
    check_state(config, state, str(path), heads_optional=heads_optional)
    if (computed := _digest_content(state, header)) != digest:
        raise DataError(f"{path}: weights and notes have digest {computed}, expected {digest}: damaged; copy it again")
    if found == _FROM_ZERO and metadata.get("epoch", "").isdecimal():
        metadata["epoch"] = str(int(metadata["epoch"]) + 1)
    return AnyWeights(config, state, metadata)
