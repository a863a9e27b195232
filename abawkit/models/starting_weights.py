"""Weights that training starts from: files of abawkit, or published weights as they were downloaded."""

import warnings
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError

from abawkit.errors import DataError, DataWarning, printable
from abawkit.models.config import NetworkConfig, name_network
from abawkit.models.network import ATTENTION, DDAMFN
from abawkit.models.published import import_published
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import SequenceConfig, name_any_network
from abawkit.models.weight_files import detect_container, find_weights
from abawkit.models.weights import HEADER, Weights, apply_weights, load_any_weights, load_weights, open_safetensors


def load_starting_weights(path: Path) -> Weights:
    """Reads weights to start from; the content of the file decides which they are, not its name.

    Args:
        path: A file that abawkit wrote, published weights, or the folder of a run, whose best weights are taken.

    Raises:
        DataError: If the file is absent, damaged or not weights of DDAMFN.

    Warns:
        DataWarning: If a published file holds other weights of the network too, which are not used.
    """
    path = find_weights(path)
    if is_abawkit_weights(path):
        return load_weights(path, heads_optional=True)
    imported = import_published(path)
    if imported.others:
        names = ", ".join(f"'{printable(name)}'" for name in imported.others)
        taken = f"'{printable(imported.key)}'" if imported.key else "those of the file itself"
        warnings.warn(
            f"{path}: holds several sets of weights; {taken} are used, not {names}. `abawkit import-weights --key` "
            "takes another",
            DataWarning,
            stacklevel=2,
        )
    return Weights(imported.config, imported.state, {"source": f"sha256:{imported.digest}"})


def start_from(network: DDAMFN, path: Path, *, frozen_epochs: int) -> None:
    """Copies weights to start from into a network; parts that the file lacks keep their random values.

    Args:
        network: Changed in place.
        path: As of `load_starting_weights`.
        frozen_epochs: Epochs in which only the heads are trained.

    Raises:
        DataError: As `load_starting_weights`, or if the weights are those of another network, which is named.

    Warns:
        DataWarning: As `load_starting_weights`, or if heads would be trained on a random attention.
    """
    weights = load_starting_weights(path)
    backbone = not any(key.startswith(ATTENTION) for key in weights.state)
    config = replace(weights.config, attention_heads=network.config.attention_heads) if backbone else weights.config
    if config != network.config:
        raise DataError(f"{path}: {_describe_mismatch(weights.config, network.config)}")
    apply_weights(network, weights.state, str(path), heads_optional=True)
    if backbone and frozen_epochs:
        warnings.warn(
            f"{path}: holds the backbone only, so that the attention starts from random numbers, and heads.epochs is "
            f"{frozen_epochs}: in that stage the heads learn on it as it is; --set heads.epochs=0 trains all at once",
            DataWarning,
            stacklevel=2,
        )


def start_sequence_from(network: SequenceNetwork, path: Path) -> None:
    """Copies the weights of a sequence network, and what it normalises features by, into another one.

    Args:
        network: Changed in place.
        path: A file that abawkit wrote, or the folder of a run, whose best weights are taken.

    Raises:
        DataError: If the file is absent or damaged, or the weights are those of another network.
    """
    path = find_weights(path)
    found, wanted = load_any_weights(path), network.config
    same = isinstance(found.config, SequenceConfig) and found.config == replace(
        wanted, dropout=found.config.dropout, context=found.config.context
    )
    if not same:
        raise DataError(
            f"{path}: these are not weights of this network: they are those of {name_any_network(found.config)}, and "
            f"the recipe's network is {name_any_network(wanted)}; kind, width, layers and features must be the same"
        )
    apply_weights(network, found.state, str(path))


def _describe_mismatch(found: NetworkConfig, wanted: NetworkConfig) -> str:
    name = name_network(found)
    if replace(found, attention_heads=wanted.attention_heads) == wanted:
        return (
            f"these are weights with {found.attention_heads} attention heads, and the recipe's network has "
            f"{wanted.attention_heads}; --set network={name} trains that one"
        )
    return (
        f"these are not weights of this network: they are those of {name}, and the recipe's network is "
        f"{name_network(wanted)}; give weights of that one, or --set network={name}"
    )


def is_abawkit_weights(path: Path) -> bool:
    """Whether abawkit wrote a file of weights; a damaged safetensors file counts as one of abawkit.

    Raises:
        DataError: If it is recognised as something else than weights.
    """
    if detect_container(path) != "safetensors":
        return False
    try:
        with open_safetensors(path) as file:
            return HEADER in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True
