"""Finds the state dicts of a known network in a checkpoint: under any key, with any prefix.

Checkpoints keep weights under ``model_state_dict``, ``state_dict``, ``model``, ``net``, ``ema``, and the names of
tensors have the prefix of a wrapper: ``module.`` (DataParallel), ``model.`` (Lightning), ``_orig_mod.``
(torch.compile). The names of the tensors show both.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from abawkit.models.torch_files import as_tensor

_MAX_DEPTH: Final = 4
_MAX_MAPPINGS: Final = 10_000
"""Mappings that are searched at most; one can contain itself."""

_AVERAGED: Final = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)([._\d]|$)", flags=re.IGNORECASE)


@dataclass(frozen=True)
class StateDict:
    """A state dict in a file.

    Attributes:
        name: Its keys, with dots between them, and the prefix of its tensors where one mapping has several; empty where
            the file itself is the state dict.
        values: Its values without the prefix: tensors, and anything else among them.
        beside: Keys of the same mapping that do not have the prefix.
    """

    name: str
    values: dict[str, Any]
    beside: list[str]

    @property
    def averaged(self) -> bool:
        """Whether it is a moving average, by its name."""
        return bool(_AVERAGED.search(self.name))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors."""
        return {key: found for key, value in self.values.items() if (found := as_tensor(value)) is not None}

    def has_same_values(self, other: "StateDict") -> bool:
        """Whether another one has the same tensors, bit for bit."""
        mine, others = self.tensors, other.tensors
        return mine.keys() == others.keys() and all(
            a.dtype == b.dtype and a.shape == b.shape and a.equal(b)
            for a, b in ((value, others[key]) for key, value in mine.items())
        )


def find_state_dicts(content: Any, layouts: Sequence[AbstractSet[str]]) -> list[StateDict]:
    """All state dicts of a network in the content of a file, in its order.

    Args:
        content: From `torch_files.load_torch_file`.
        layouts: The names of a network's tensors, for each of its forms.

    Returns:
        The state dicts that have at least half of the names of a layout.
    """
    found = []
    for path, mapping in _walk_mappings(content):
        prefixes = _find_prefixes(mapping, layouts)
        for prefix in prefixes:
            name = ".".join([*path, *([prefix.rstrip(".")] if len(prefixes) > 1 and prefix else [])])
            found.append(_strip_prefix(name, mapping, prefix))
    return found


def find_largest_state_dict(content: Any) -> StateDict | None:
    """The mapping with the most tensors, of any network; mappings of tensors only come first."""
    found: StateDict | None = None
    most = (False, 0)
    for path, mapping in _walk_mappings(content):
        count = sum(as_tensor(value) is not None for value in mapping.values())
        rank = (count == len(mapping), count)
        if count and rank > most:
            prefix = "module." if all(key.startswith("module.") for key in mapping) else ""
            found, most = _strip_prefix(".".join(path), mapping, prefix), rank
    return found


def _walk_mappings(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All nested mappings with their keys, the outer ones first."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    for _ in range(_MAX_MAPPINGS):
        if not waiting:
            return
        path, value = waiting.popleft()
        if not isinstance(value, Mapping) or not value:
            continue
        mapping = {_name_key(key): inner for key, inner in value.items()}
        yield path, mapping
        if len(path) < _MAX_DEPTH:
            waiting += [((*path, key), inner) for key, inner in mapping.items() if isinstance(inner, Mapping)]


def _name_key(key: object) -> str:
    """A key as text; the type of one that is neither text nor a number, as its own text can have any length."""
    if isinstance(key, str):
        return key
    return str(key) if type(key) is int and abs(key) < 2**63 else f"<{type(key).__name__}>"


def _find_prefixes(mapping: Mapping[str, Any], layouts: Sequence[AbstractSet[str]]) -> list[str]:
    """The prefixes of at least half of the names of a layout, in the order of the mapping."""
    found: dict[str, None] = {}
    for layout in layouts:
        counts: Counter[str] = Counter()
        for key in mapping:
            for start in [0, *(match.end() for match in re.finditer(r"\.", key))]:
                if key[start:] in layout:
                    counts[key[:start]] += 1
        found |= {prefix: None for prefix, count in counts.items() if 2 * count >= len(layout)}
    return list(found)


def _strip_prefix(name: str, mapping: Mapping[str, Any], prefix: str) -> StateDict:
    values = {key.removeprefix(prefix): value for key, value in mapping.items() if key.startswith(prefix)}
    return StateDict(name, values, [key for key in mapping if not key.startswith(prefix)])
