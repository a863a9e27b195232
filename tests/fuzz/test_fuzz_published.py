"""Published weights: whatever bytes and values a file of `torch.save` has, it is imported or refused by name."""

import argparse
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from abawkit.errors import DataError
from abawkit.models.published import import_published

Fuzz = Callable[..., None]

KEYS = ["model", "ema", "state_dict", "module.features.0.conv.weight", "features.0.conv.weight", "fc.bias", "fc.weight"]
KEYS += ["cat_head0.CoordAtt.a", "cat_head7.b", "cat_head99999999999.b", "conv_6_sep.conv.weight", ".", "", "a..b"]
KEYS += ["\x1b[2J"]
NUMBERS = [np.float64(3), np.zeros((0, 3)), np.zeros(3, ">i2"), np.array("a"), np.array([None]), np.zeros(2, "m8[s]")]
TENSORS = [
    torch.zeros(()),
    torch.zeros(64, 3, 3, 3),
    torch.zeros(8),
    torch.zeros(2, dtype=torch.complex64),
    torch.zeros(0),
]
TENSORS += [torch.zeros(3).to_sparse(), torch.zeros(3, device="meta"), torch.zeros(2, dtype=torch.float8_e5m2)]
OTHERS: list[Any] = [None, True, 3, 10**30, 0.5, "text", (1, 2), [1], {1, 2}, argparse.Namespace(a=1), torch.float32]
keys = st.sampled_from(KEYS) | st.text(max_size=3) | st.integers() | st.booleans() | st.tuples(st.integers())
leaves = st.sampled_from([*NUMBERS, *TENSORS, *OTHERS])
states = st.dictionaries(keys, st.sampled_from(TENSORS[:5]), min_size=1, max_size=4)
contents = st.recursive(
    leaves | states, lambda inner: st.dictionaries(keys, inner | states, max_size=4) | st.lists(inner, max_size=2)
)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        import_published(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert all(line.isprintable() for line in said.split("\n"))
    return said


def test_values_that_are_no_state_dict_are_refused(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(given: tuple[Any, bool]) -> str:
        content, legacy = given
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        said = refused(tmp_path / "w.pth")
        return "no state dict" if "holds no state dict" in said else "differences" if "difference" in said else "other"

    found = st.tuples(contents, st.booleans())
    fuzz(check, found, outcomes=("no state dict", "differences", "other"), examples=150)


def pickle_of(content: Any) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The pickle in a file of `torch.save`, and the file with another one in its place."""
    whole = io.BytesIO()
    torch.save(content, whole)
    with zipfile.ZipFile(whole) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (place,) = (name for name in entries if name.endswith("/data.pkl"))

    def replaced(pickled: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, entry in entries.items():
                archive.writestr(name, pickled if name == place else entry)
        return out.getvalue()

    return entries[place], replaced


def test_changed_bytes_of_a_pickle_are_refused(fuzz: Fuzz, tmp_path: Path) -> None:
    values = {"a": np.float64(1), "b": np.arange(3), "args": argparse.Namespace(c=1), "d": torch.zeros(2)}
    pickled, replaced = pickle_of({"model": {"features.0.conv.weight": torch.zeros(2)}, "more": values})

    def check(changes: list[tuple[int, int]]) -> str:
        changed = bytearray(pickled)
        for position, value in changes:
            changed[position % len(changed)] = value
        (tmp_path / "w.pth").write_bytes(replaced(bytes(changed)))
        return "differences" if "difference" in refused(tmp_path / "w.pth") else "not read"

    changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3)
    fuzz(check, changes, outcomes=("differences", "not read"), examples=300)
