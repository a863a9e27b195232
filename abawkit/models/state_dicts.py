"""Finding state dicts of a known network in what a checkpoint holds: under any key, behind any prefix.

Checkpoints keep weights as ``model_state_dict``, ``state_dict``, ``model``, ``net``, ``ema``, and name each tensor with
what wrapped the network: ``module.`` (DataParallel), ``model.`` (Lightning), ``_orig_mod.`` (torch.compile). Both are
told by the names of the tensors themselves.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from abawkit.models.torch_files import as_tensor

_DEPTH: Final = 4
_PLACES: Final = 10_000
"""Mappings that are looked at; a file can hold one in itself, and so without end."""

_AVERAGED: Final = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)([._\d]|$)", flags=re.IGNORECASE)


@dataclass(frozen=True)
class StateDict:
    """A state dict that was found.

    Attributes:
        name: Keys that lead to it, with dots between them, and the prefix of its tensors where there are several at the
            same place; empty for that of the file itself.
        values: What it holds, without the prefix: tensors, and whatever else stands among them.
        beside: Keys at the same place that do not have the prefix.
    """

    name: str
    values: dict[str, Any]
    beside: list[str]

    @property
    def averaged(self) -> bool:
        """Whether its name says that it is a moving average of the weights beside it."""
        return bool(_AVERAGED.search(self.name))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors."""
        return {key: found for key, value in self.values.items() if (found := as_tensor(value)) is not None}

    def same_values(self, other: "StateDict") -> bool:
        """Whether another one has the same tensors, bit for bit."""
        mine, others = self.tensors, other.tensors
        return mine.keys() == others.keys() and all(
            a.dtype == b.dtype and a.shape == b.shape and a.equal(b)
            for a, b in ((value, others[key]) for key, value in mine.items())
        )


def find_state_dicts(content: Any, layouts: Sequence[AbstractSet[str]]) -> list[StateDict]:
    """All state dicts of a network in what a file holds, in its order.

    Args:
        content: What `torch_files.load_torch_file` returned.
        layouts: The names of a network's tensors; several where it has several forms.

    Returns:
        Those that have at least half of the names of a layout.
    """
    found = []
    for path, place in _mappings(content):
        prefixes = _prefixes(place, layouts)
        for prefix in prefixes:
            name = ".".join([*path, *([prefix.rstrip(".")] if len(prefixes) > 1 and prefix else [])])
            found.append(_cut(name, place, prefix))
    return found


def largest_state_dict(content: Any) -> StateDict | None:
    """The mapping with the most tensors, of those that hold nothing else, else of all; None where there is no tensor.

    It is a state dict of whatever network.
    """
    found: StateDict | None = None
    most = (False, 0)
    for path, place in _mappings(content):
        count = sum(as_tensor(value) is not None for value in place.values())
        rank = (count == len(place), count)
        if count and rank > most:
            prefix = "module." if all(key.startswith("module.") for key in place) else ""
            found, most = _cut(".".join(path), place, prefix), rank
    return found


def _mappings(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The mappings within each other, the outer ones first, with the keys that lead to them."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    for _ in range(_PLACES):
        if not waiting:
            return
        path, value = waiting.popleft()
        if not isinstance(value, Mapping) or not value:
            continue
        place = {_name_key(key): inner for key, inner in value.items()}
        yield path, place
        if len(path) < _DEPTH:
            waiting += [((*path, key), inner) for key, inner in place.items() if isinstance(inner, Mapping)]


def _name_key(key: object) -> str:
    """A key as text; one of another kind than text or a number by its type, as its own text can have any length."""
    if isinstance(key, str):
        return key
    return str(key) if type(key) is int and abs(key) < 2**63 else f"<{type(key).__name__}>"


def _prefixes(place: Mapping[str, Any], layouts: Sequence[AbstractSet[str]]) -> list[str]:
    """What stands before at least half of the names of a layout, in the order of the place."""
    found: dict[str, None] = {}
    for layout in layouts:
        counts: Counter[str] = Counter()
        for key in place:
            for start in [0, *(match.end() for match in re.finditer(r"\.", key))]:
                if key[start:] in layout:
                    counts[key[:start]] += 1
        found |= {prefix: None for prefix, count in counts.items() if 2 * count >= len(layout)}
    return list(found)


def _cut(name: str, place: Mapping[str, Any], prefix: str) -> StateDict:
    values = {key.removeprefix(prefix): value for key, value in place.items() if key.startswith(prefix)}
    return StateDict(name, values, [key for key in place if not key.startswith(prefix)])
