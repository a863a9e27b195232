"""Files of weights: what was written is loaded, and anything else is refused with the difference."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import strategies as st

from abawkit.errors import DataError
from abawkit.models.network import DDAMFN
from abawkit.models.weights import Weights, apply_weights, digest_state, load_weights
from abawkit.run_names import NETWORK
from abawkit.system.files import sha256

Fuzz = Callable[..., None]
TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
TYPES += [torch.float8_e5m2, torch.float4_e2m1fn_x2, torch.uint16]
LENGTHS = [0, 1, 8, 2**31, 2**63 - 1, 2**64 - 1]


@pytest.fixture(scope="module")
def content(base: Path) -> bytes:
    return (base / "checkpoints/0001-000002" / NETWORK).read_bytes()


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the numbers behind it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def same(found: Weights, wanted: Weights) -> bool:
    return (found.config, found.metadata) == (wanted.config, wanted.metadata) and (
        digest_state(found.state) == digest_state(wanted.state)
    )


def loaded(path: Path, content: bytes) -> Weights | None:
    path.write_bytes(content)
    try:
        return load_weights(path)
    except DataError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    return None


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """The file with some of its bytes changed, lost or added; most of them in its header."""
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(draw(st.integers(1, 2))):
        i = draw(st.integers(0, min(header, len(content))) | st.integers(0, len(content)))
        edit = draw(st.sampled_from(["flip", "flip", "cut", "insert", "remove", "length"]))
        if edit == "flip" and i < len(content):
            content = content[:i] + bytes([content[i] ^ draw(st.integers(1, 255))]) + content[i + 1 :]
        elif edit == "cut":
            content = content[:i]
        elif edit == "insert":
            content = content[:i] + draw(st.binary(min_size=1, max_size=8)) + content[i:]
        elif edit == "remove":
            content = content[:i] + content[i + draw(st.integers(1, 8)) :]
        elif edit == "length":
            length = draw(st.sampled_from(LENGTHS) | st.integers(0, 2 * len(content)))
            content = struct.pack("<Q", length) + content[8:]
    return content


def test_damaged_bytes_are_refused_or_say_what_they_said(fuzz: Fuzz, content: bytes, tmp_path: Path) -> None:
    whole = loaded(tmp_path / "whole.safetensors", content)
    assert whole

    def check(damaged: bytes) -> str:
        found = loaded(tmp_path / "damaged.safetensors", damaged)
        if found:
            assert same(found, whole)
            return "as it was"
        return "refused"

    fuzz(check, edited(content), outcomes=("refused",), examples=200)


def test_a_forged_list_of_tensors_is_refused_or_says_what_it_said(
    fuzz: Fuzz, content: bytes, forged: Callable[..., Any], json_values: Any, tmp_path: Path
) -> None:
    whole = loaded(tmp_path / "whole.safetensors", content)
    header, numbers = split(content)
    types = st.sampled_from(["F64", "F32", "BF16", "F8_E4M3", "F4", "C64", "BOOL", "U64", "I8"])
    values = json_values | types | st.lists(st.integers(0, len(numbers)), max_size=4)

    def check(header: Any) -> str:
        found = loaded(tmp_path / "forged.safetensors", joined(header, numbers))
        if found:
            assert whole
            assert same(found, whole)
            return "as it was"
        return "refused"

    fuzz(check, forged(header, values), outcomes=("refused",), examples=200)


@st.composite
def states(draw: st.DrawFn, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a network, some of other types or shapes, or under other names; most often as they were."""
    found = dict(state)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name, other = draw(st.sampled_from(sorted(state))), draw(st.sampled_from(sorted(state)) | st.text(max_size=3))
        dtype = draw(st.sampled_from(TYPES))
        width = dtype.itemsize
        value = torch.zeros(2 * width, dtype=torch.uint8).view(dtype)
        found[draw(st.sampled_from([name, other]))] = draw(st.sampled_from([value, state[name].clone(), value.clone()]))
        if draw(st.booleans()):
            found.pop(name, None)
    return found


def test_forged_tensors_and_notes_with_a_matching_digest_are_refused_or_make_a_network(
    fuzz: Fuzz, content: bytes, forged: Callable[..., Any], json_values: Any, tmp_path: Path
) -> None:
    tensors = safetensors.torch.load(content)
    notes = json.loads(split(content)[0]["__metadata__"]["abawkit"])
    del notes["digest"]
    numbers = st.integers(1, 9) | st.sampled_from([256, 1024, 8192])

    def check(given: tuple[dict[str, torch.Tensor], Any]) -> str:
        state, notes = given
        if isinstance(notes, dict):
            digest = sha256((digest_state(state) + json.dumps(notes, sort_keys=True)).encode())
            notes = {**notes, "digest": digest}
        text = notes if isinstance(notes, str) else json.dumps(notes)
        found = loaded(tmp_path / "forged.safetensors", safetensors.torch.save(state, {"abawkit": text}))
        if found:
            apply_weights(DDAMFN(found.config), found.state)
            assert all(isinstance(text, str) for note in found.metadata.items() for text in note)
            return "loaded"
        return "refused"

    texts = st.sampled_from(["", "[" * 100_000, '{"network": ' * 100_000, "9" * 5000])
    good = st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(lambda found: {**notes, "metadata": found})
    changed = good | forged(notes, json_values | numbers) | texts
    fuzz(check, st.tuples(states(tensors), changed), outcomes=("loaded", "refused"), examples=150)
