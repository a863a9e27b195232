"""A network's configuration survives JSON, and a wrong one is named key by key."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from abawkit.errors import ConfigError
from abawkit.models.config import NETWORKS, NetworkConfig, Split, StageConfig


@pytest.mark.parametrize("name", NETWORKS)
def test_a_configuration_survives_json(name: str) -> None:
    text = json.dumps(NETWORKS[name].to_dict())
    assert NetworkConfig.from_dict(json.loads(text)) == NETWORKS[name]


def test_features_are_the_input_halved_once_and_once_a_stage() -> None:
    assert NETWORKS["ddamfn"].feature_size == 7
    stage = StageConfig(width=4, entry=(Split(3, 4),), depth=0, residual=(Split(3, 4),))
    assert NetworkConfig(4, (stage,), 8, 2, resolution=45).feature_size == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem": 0}, "stem: Input should be greater than or equal to 1, got 0"),
        ({"stem": "8"}, "stem: Input should be a valid integer, got '8'"),
        ({"stem": True}, "stem: Input should be a valid integer, got True"),
        ({"heads": 2}, "heads: .*got 2"),
        ({"stages": []}, "stages: .*at least 1 item"),
        ({"attention_heads": 10**9}, "attention_heads: .*less than or equal to 16"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkConfig.from_dict(NETWORKS["ddamfn-nano"].to_dict() | change)


def test_every_wrong_value_is_named() -> None:
    arguments = json.loads(json.dumps(NETWORKS["ddamfn-nano"].to_dict()))
    arguments["stages"][1]["entry"][0] = [4, 16]
    del arguments["embedding"]
    with pytest.raises(ConfigError, match=r"stages\.1\.entry\.0\.0: .*must be odd(?s:.*)embedding: Field required\n"):
        NetworkConfig.from_dict(arguments)


def test_a_configuration_built_in_code_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="odd"):
        StageConfig(width=4, entry=(Split(2, 4),), depth=0, residual=(Split(3, 4),))
