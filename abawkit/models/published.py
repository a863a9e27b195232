"""Import of published weights of DDAMFN and of its backbone, without running code from the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from abawkit.errors import DataError, format_count, printable
from abawkit.models.config import NETWORKS, NetworkConfig
from abawkit.models.published_keys import (
    CLASSIFIER,
    HEAD_COUNTS,
    UNUSED,
    UNUSED_BACKBONE,
    count_heads,
    list_published_names,
    make_published_config,
    map_backbone_sources,
    map_sources,
)
from abawkit.models.state_dicts import StateDict, find_largest_state_dict, find_state_dicts
from abawkit.models.torch_files import as_tensor, describe_value, load_torch_file
from abawkit.models.weight_files import detect_container
from abawkit.models.weights import HEADER, describe_differences, format_list, read_safetensors, save_weights
from abawkit.system.files import sha256_of

AFFECTNET_EXPRESSIONS: Final = (
    "Neutral",
    "Happiness",
    "Sadness",
    "Surprise",
    "Fear",
    "Disgust",
    "Anger",
    "Contempt",
)
"""Class order of an 8-class AffectNet classifier, which is not that of `labels.EXPRESSIONS`.

Source: Mollahosseini et al., https://arxiv.org/abs/1708.03985, and the labels of its release.
"""

CLASSES: Final = (7, 8, 10)
"""Sizes of the expression classifiers in published weights."""

_BIAS = f"{CLASSIFIER}bias"


@dataclass(frozen=True)
class ImportedWeights:
    """Published weights under the names of this package.

    Attributes:
        config: Their network, with as many attention heads as the file has.
        state: Its state dict without the three heads, float32; of the published backbone without the attention too.
        classifier: `weight` (classes, 512) and `bias` (classes) of the published expression classifier; empty where
            the file has none. Its classes are those of another data set (`AFFECTNET_EXPRESSIONS` where it has eight),
            so it is kept apart and never becomes this package's expression head.
        classes: How many classes that classifier has; 0 where the file has none.
        dropped: Keys of the state dict that no forward pass of DDAMFN uses.
        digest: SHA-256 of the file.
        key: Key of the state dict in the file, as ``state_dict`` or ``state_dict.model``; empty where the file is one
            itself.
        others: Keys of other state dicts of the network in the file, which were not imported.
        beside: Keys in the same mapping that were not imported: of losses, metrics, other networks.
    """

    config: NetworkConfig
    state: dict[str, Tensor]
    classifier: dict[str, Tensor]
    classes: int
    dropped: list[str]
    digest: str
    key: str = ""
    others: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)

    @property
    def backbone(self) -> bool:
        """Whether it is the backbone only, without the attention."""
        return not any(key.startswith("attention.") for key in self.state)


def import_published(path: Path, key: str | None = None) -> ImportedWeights:
    """Reads published weights: a file of `torch.save` or safetensors that holds a state dict under whatever key.

    Tensors may have a prefix, as ``module.`` of networks that were trained on several GPUs or ``model.`` of Lightning.
    A moving average is not taken where the file has other weights too; between several others, `key` decides.

    Args:
        path: The file.
        key: Which state dict to take, where there are several: a name as of `ImportedWeights.key`.

    Raises:
        DataError: If the file is absent, damaged or not weights; holds anything that only code could load; has several
            state dicts and none was chosen; or keys, shapes or values are not those of DDAMFN. Keys are named.
    """
    chosen, others = _choose_state_dict(path, _read_content(path), key)
    state = _check_tensors(path, chosen)
    backbone = "conv_6_sep.conv.weight" in state and not any(name.startswith("features.") for name in state)
    heads = 2 if backbone else count_heads(state) or 2
    table = map_backbone_sources() if backbone else map_sources(min(heads, HEAD_COUNTS[-1]))
    expected = list_published_names(table)
    classes = state[_BIAS].numel() if _BIAS in state else 0
    if any(name.startswith(CLASSIFIER) for name in state):
        expected |= {f"{CLASSIFIER}weight": (classes, NETWORKS["ddamfn"].embedding), _BIAS: (classes,)}
    unused = UNUSED_BACKBONE if backbone else UNUSED
    dropped = [name for name in state if unused.fullmatch(name)]
    problems = describe_differences(expected, {name: state[name] for name in state.keys() - set(dropped)})
    if heads not in HEAD_COUNTS:
        problems.insert(0, f"cat_head*: {heads} attention heads, expected {HEAD_COUNTS[0]} to {HEAD_COUNTS[-1]}")
    if classes not in (0, *CLASSES):
        problems.append(f"{CLASSIFIER}*: {classes} classes, expected one of {CLASSES}")
    if not problems:
        state = {name: state[name].float() if state[name].is_floating_point() else state[name] for name in expected}
        problems = [f"{name}: holds NaN or infinity" for name in expected if not state[name].isfinite().all()]
    if problems:
        raise DataError(
            _describe_problems(path, chosen.name, problems, state, known=bool(expected.keys() & state.keys()))
        )
    return ImportedWeights(
        config=make_published_config(heads),
        state={name: source.join(state) for name, source in table.items()},
        classifier={name.removeprefix(CLASSIFIER): state[name] for name in expected if name.startswith(CLASSIFIER)},
        classes=classes,
        dropped=dropped,
        digest=sha256_of(path),
        key=chosen.name,
        others=others,
        beside=chosen.beside,
    )


def save_imported(imported: ImportedWeights, out: Path) -> None:
    """Writes imported weights, without their expression classifier, as `weights.load_weights` reads them.

    The metadata holds `source` (the digest of the published file) and `source_classes`. An existing file is replaced.
    """
    notes = {"source": f"sha256:{imported.digest}", "source_classes": str(imported.classes)}
    save_weights(out, imported.config, imported.state, notes)


def _read_content(path: Path) -> Any:
    """The content of a file of published weights.

    Raises:
        DataError: If it can't be read, or abawkit wrote it.
    """
    if detect_container(path) != "safetensors":
        return load_torch_file(path)
    notes, content = read_safetensors(path)
    if HEADER in notes:
        raise DataError(f"{path}: abawkit wrote these weights; use them as they are, import is for published ones")
    return content


def _choose_state_dict(path: Path, content: Any, key: str | None) -> tuple[StateDict, list[str]]:
    """The state dict to take, and the names of others that are left out.

    Raises:
        DataError: If there is none, none has the name, or it is not clear which one is meant.
    """
    one_head = {name for name in list_published_names(map_sources(1)) if not name.startswith("cat_head")}
    found = find_state_dicts(content, [one_head, list_published_names(map_backbone_sources()).keys()])
    names = [one.name for one in found]
    if key is not None:
        chosen = next((one for one in found if one.name == key), None)
        if chosen is None:
            there = ", ".join(f"'{printable(name)}'" for name in names if name) or "none under a key"
            raise DataError(f"{path}: no weights of DDAMFN under the key '{printable(key)}'; there are: {there}")
        return chosen, [name for name in names if name != key]
    if not found:
        if largest := find_largest_state_dict(content):
            return largest, []
        raise DataError(f"{path}: holds no state dict; expected one, alone or under a key such as 'model_state_dict'")
    likely = [one for one in found if not one.averaged] or found
    distinct = [one for i, one in enumerate(likely) if not any(one.has_same_values(before) for before in likely[:i])]
    if len(distinct) > 1:
        which = ", ".join(f"'{printable(one.name)}'" if one.name else "the file itself" for one in distinct)
        raise DataError(
            f"{path}: holds {len(distinct)} sets of weights of DDAMFN: {which}; take one of them with "
            f"`abawkit import-weights {path} --key {printable(distinct[0].name)} --out FILE`"
        )
    return distinct[0], [one.name for one in found if one is not distinct[0]]


def _check_tensors(path: Path, chosen: StateDict) -> dict[str, Tensor]:
    """The tensors of a state dict.

    Raises:
        DataError: If there is anything else among them.
    """
    state = {}
    for name, value in chosen.values.items():
        tensor = as_tensor(value)
        if tensor is None:
            under = f" of '{printable(chosen.name)}'" if chosen.name else ""
            raise DataError(
                f"{path}: {printable(repr(name))}{under} is {describe_value(value)}, expected a dense tensor; "
                "give a state dict, alone or under a key such as 'model_state_dict'"
            )
        state[name] = tensor
    return state


def _describe_problems(path: Path, key: str, problems: list[str], state: Mapping[str, Tensor], *, known: bool) -> str:
    """The problems of a state dict; for one in which no name is known, its first tensors too."""
    under = f" under '{printable(key)}'" if key else ""
    if not known:
        first = [f"{printable(name)} {list(tensor.shape)}" for name, tensor in list(state.items())[:3]]
        under += f" (another network's: {format_count(len(state), 'tensor')}, the first {', '.join(first)})"
    count = format_count(len(problems), "difference")
    return (
        f"{path}: these are not weights of DDAMFN{under}, {count}:\n{format_list(problems)}\n"
        "give weights of DDAMFN or of its backbone, as their authors publish them"
    )
